"""Forwarded: a trusted proxy says who the client is, nobody else does, and nonsense says nothing."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.internals import internal

from trio_ws.connection.settings import Settings
from trio_ws.headers import Headers
from trio_ws.http import forwarded as module
from trio_ws.http.forwarded import MAX_PROXIES, forwarded, parse_trusted_proxies

PROXY = ("10.0.0.1", 5000)
TRUSTED = parse_trusted_proxies(["10.0.0.0/8", "2001:db8::/32"])


def client_of(*values: str, peer=PROXY, trusted=TRUSTED):
    return forwarded(Headers([("X-Forwarded-For", value) for value in values]), peer, False, trusted)[0]


@pytest.mark.parametrize(
    ("values", "client"),
    [
        (["192.0.2.1"], ("192.0.2.1", 0)),
        (["192.0.2.1:4711"], ("192.0.2.1", 4711)),
        (["2001:DB9::1"], ("2001:db9::1", 0)),
        (["[2001:db9::1]"], ("2001:db9::1", 0)),
        (["[2001:db9::1]:4711"], ("2001:db9::1", 4711)),
        (["::ffff:192.0.2.1"], ("192.0.2.1", 0)),
    ],
)
def test_an_address_may_have_a_port(values, client):
    assert client_of(*values) == client


@pytest.mark.parametrize(
    "values",
    [["192.0.2.66, 192.0.2.1"], ["192.0.2.66", "192.0.2.1"], ["192.0.2.66,,  192.0.2.1 , 10.1.1.1"], ["x, 192.0.2.1"]],
)
def test_the_last_one_that_is_no_proxy_of_ours_is_the_client(values):
    """What stands before it is what the client has written itself."""
    assert client_of(*values) == ("192.0.2.1", 0)


@pytest.mark.parametrize("values", [["10.0.0.3, 10.0.0.2"], ["unknown, 10.0.0.3, 10.0.0.2"]])
def test_first_named_address_is_the_client_if_all_are_proxies(values):
    """If all are proxies of ours the first that has a name is the client."""
    assert client_of(*values) == ("10.0.0.3", 0)


@pytest.mark.parametrize(
    "value",
    [
        "",
        "unknown",
        "_hidden",
        "example.org",
        "[",
        "[::1",
        "[::1]x",
        "1.2.3.4:x",
        "1.2.3.4:" + "0" * 5000,
        "1.2.3.4:00000199999",
        "1.2.3.4:000080",
        "[::1]:" + "9" * 5000,
        "fe80::1%eth0",
        "fe80::1%" + "x" * 5000,
        "1." * 4000,
        "1.2.3.4:99999",
        "1.2.3.4:²",
    ],
)
def test_nonsense_says_nothing(value):
    assert client_of(value) == PROXY


@pytest.mark.parametrize(
    "peer",
    [("192.0.2.9", 1), ("not an address", 1), "/run/socket", "", None],
    ids=["other", "name", "unix", "", "none"],
)
def test_nobody_else_is_believed(peer):
    headers = Headers([("X-Forwarded-For", "192.0.2.1"), ("X-Forwarded-Proto", "https")])
    assert forwarded(headers, peer, False, TRUSTED) == (peer, False)


@pytest.mark.parametrize("peer", ["", "/run/socket"])
def test_what_comes_over_a_unix_socket_may_be_trusted(peer):
    assert client_of("192.0.2.1", peer=peer, trusted=parse_trusted_proxies(["unix"])) == ("192.0.2.1", 0)
    assert client_of("192.0.2.1", peer=PROXY, trusted=parse_trusted_proxies(["unix"])) == PROXY


def test_ipv4_mapped_ipv6_address_matches_the_ipv4_proxy():
    """A proxy that is reached over IPv6 with an address of IPv4 is the same one."""
    assert client_of("192.0.2.1", peer=("::ffff:10.0.0.1", 1)) == ("192.0.2.1", 0)


@pytest.mark.parametrize(
    ("values", "before", "after"),
    [
        (["https"], False, True),
        (["WSS"], False, True),
        (["http"], True, False),
        (["ws"], True, False),
        (["http, https"], False, True),
        (["https", "http"], False, False),
        (["gopher"], True, True),
        ([""], True, True),
        ([], False, False),
    ],
)
def test_the_last_proxy_says_whether_it_was_tls(values, before, after):
    headers = Headers([("X-Forwarded-Proto", value) for value in values])
    assert forwarded(headers, PROXY, before, TRUSTED) == (PROXY, after)


def test_forwarded_and_others_of_its_kind_are_not_read():
    names = ("Forwarded", "X-Real-IP", "X-Forwarded-Host", "CF-Connecting-IP")
    headers = Headers([(name, "for=192.0.2.1;proto=https") for name in names])
    assert forwarded(headers, PROXY, False, TRUSTED) == (PROXY, False)


@given(st.lists(st.text(st.characters(max_codepoint=255))), st.text(), st.booleans())
def test_whatever_comes_is_no_error_and_gives_an_address(values, proto, secure):
    headers = Headers([*(("X-Forwarded-For", value) for value in values), ("X-Forwarded-Proto", proto)])
    (host, port), _ = forwarded(headers, PROXY, secure, TRUSTED)
    assert (host, port) == PROXY or (0 <= port <= 65535 and any(char in host for char in ".:"))


def test_the_default_trusts_nobody():
    assert Settings().trusted_proxies == ()


def test_a_single_one_is_a_type_error():
    with pytest.raises(TypeError, match=r"write trusted_proxies=\['10\.0\.0\.1'\]"):
        parse_trusted_proxies("10.0.0.1")


@pytest.mark.parametrize("value", ["localhost", "10.0.0.1/8", "*", ""])
def test_what_is_no_network_is_a_value_error(value):
    with pytest.raises(ValueError, match=r'takes addresses, networks and "unix", not'):
        parse_trusted_proxies([value])


def test_thousands_of_trusted_addresses_are_not_all_looked_at(monkeypatch):
    """A client may write as many as its head has room for, before the proxy adds the one that counts."""
    looked_at = []
    address = internal(module, "_address")
    monkeypatch.setattr(module, "_address", lambda entry: looked_at.append(entry) or address(entry))
    many = ", ".join(f"10.0.{number // 250}.{number % 250}" for number in range(3000))
    assert client_of(many)[0].startswith("10.0.")
    assert len(looked_at) == MAX_PROXIES
