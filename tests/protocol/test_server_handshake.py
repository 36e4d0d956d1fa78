"""The server's side of the upgrade: what it refuses, and the 101 that it answers."""

from __future__ import annotations

import base64
import hashlib

import attrs
import h11
import pytest
import wsproto
import wsproto.events
import wsproto.utilities
from hypothesis import given
from hypothesis import strategies as st
from wsproto.connection import ConnectionType
from wsproto.extensions import PerMessageDeflate
from wsproto.handshake import H11Handshake

from trio_ws.config import Limits
from trio_ws.errors import LocalProtocolError
from trio_ws.headers import Headers
from trio_ws.http.head import MalformedRequest
from trio_ws.http.parser import RequestHead, RequestParser, check_http, is_upgrade
from trio_ws.protocol.server_handshake import accept, parse_common_request, read_upgrade

KEY = "dGhlIHNhbXBsZSBub25jZQ=="  # the example of RFC 6455 1.3, whose answer is known
GOOD = {
    "Host": "example.org",
    "Upgrade": "websocket",
    "Connection": "Upgrade",
    "Sec-WebSocket-Key": KEY,
    "Sec-WebSocket-Version": "13",
}


def head_of(*changes, method="GET", version="1.1", without=(), target="/"):
    """A good request with `changes` added or put in the place of the header of that name."""
    changed = {name.lower() for name, _ in changes} | {name.lower() for name in without}
    pairs = [pair for pair in GOOD.items() if pair[0].lower() not in changed] + list(changes)
    return RequestHead(method, target, version, Headers(pairs))


def refusal(*changes, **options):
    with pytest.raises(MalformedRequest) as caught:
        read_upgrade(head_of(*changes, **options))
    assert caught.value.message.isascii()
    assert caught.value.message.isprintable()
    assert len(caught.value.message) < 450
    return caught.value


# --- requests that pass -------------------------------------------------------------------------------------


def test_a_good_request_is_read():
    head = head_of(
        ("Connection", "keep-alive, upgrade"),
        ("Upgrade", "WebSocket"),
        ("Sec-WebSocket-Protocol", "chat,\tsuperchat"),
        ("Sec-WebSocket-Protocol", ", v2"),
        ("Sec-WebSocket-Extensions", "a; b=1"),
        ("Sec-WebSocket-Extensions", "c"),
        ("Cookie", "na\xefve=1"),
    )
    upgrade = read_upgrade(head)
    assert upgrade.key == KEY.encode()
    assert upgrade.subprotocols == ("chat", "superchat", "v2")
    assert upgrade.extensions == "a; b=1, c"
    assert upgrade.head is head


def test_without_offers_there_are_none():
    upgrade = read_upgrade(head_of())
    assert (upgrade.subprotocols, upgrade.extensions) == ((), "")


def test_connection_may_be_spread_over_several_headers():
    read_upgrade(head_of(("Connection", "keep-alive"), ("Connection", "Upgrade")))


# --- requests that are refused ------------------------------------------------------------------------------


@pytest.mark.parametrize("version", ["8", "0", "14", "13, 8", "013", "", "x" * 9000])
def test_another_version_is_426_and_told_ours(version):
    error = refusal(("Sec-WebSocket-Version", version))
    assert error.status == 426
    assert ("Sec-WebSocket-Version", "13") in error.headers
    assert ("Upgrade", "websocket") in error.headers


def test_another_method_than_get_is_405():
    error = refusal(method="HEAD")
    assert (error.status, error.headers) == (405, (("Allow", "GET"),))


@pytest.mark.parametrize("name", ["Upgrade", "Connection", "Sec-WebSocket-Key", "Sec-WebSocket-Version"])
def test_a_missing_header_is_400(name):
    assert refusal(without=[name]).status == 400


@pytest.mark.parametrize("name", ["Sec-WebSocket-Key", "Sec-WebSocket-Version", "Origin"])
def test_a_repeated_header_is_400_even_with_one_value(name):
    value = GOOD.get(name, "http://example.org")
    assert refusal((name, value), (name, value)).status == 400


@pytest.mark.parametrize(
    "key",
    [
        "",
        "x",
        "dGhlIHNhbXBsZSBub25jZQ",
        "dGhlIHNhbXBsZSBub25jZQ== ",
        "dGhlIHNhbXBsZSBub25jZQ==\n",
        "dGhlIHNhbXBsZSBub25j",
        "dGhlIHNhbXBsZSBub25jZSE=",
        "dGhlIHNhbXBsZSBub25j-Q==",
        "\xff" * 24,
        "A" * 8000,
    ],
)
def test_a_key_that_is_not_16_bytes_of_base64_is_400(key):
    """Only the bits of the last character that say nothing are free."""
    assert refusal(("Sec-WebSocket-Key", key)).status == 400


@pytest.mark.parametrize(
    "header",
    [
        ("Upgrade", "h2c"),
        ("Upgrade", "websocket/13"),
        ("Upgrade", "\xff"),
        ("Connection", "keep-alive"),
        ("Connection", "upgraded"),
        ("Connection", "\xe9"),
        ("Sec-WebSocket-Protocol", "ch\xe4t"),
        ("Sec-WebSocket-Protocol", "two words"),
        ("Sec-WebSocket-Protocol", "chat/2"),
        ("Sec-WebSocket-Protocol", "chat, v2, chat"),
        ("Sec-WebSocket-Extensions", "perm\xe9ssage"),
        ("Sec-WebSocket-Extensions", "a\x01"),
        ("Sec-WebSocket-Whatever", "\xff"),
        ("Sec-WebSocket-Version", "\xff"),
    ],
)
def test_a_bad_header_is_400(header):
    assert refusal(header).status == 400


def test_http_1_0_is_400():
    assert refusal(version="1.0").status == 400


# --- the 101 ------------------------------------------------------------------------------------------------


def answer_of(data):
    """The 101 as h11 reads it."""
    client = h11.Connection(h11.CLIENT)
    client.send(h11.Request(method="GET", target="/", headers=list(GOOD.items())))
    client.receive_data(data)
    response = client.next_event()
    assert response.status_code == 101
    assert client.trailing_data[0] == b""
    return dict(response.headers)


def test_the_answer_to_the_example_of_the_rfc():
    answer = answer_of(accept(read_upgrade(head_of()), subprotocol=None, extensions=None))
    assert answer == {
        b"upgrade": b"websocket",
        b"connection": b"Upgrade",
        b"sec-websocket-accept": b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo=",
    }


def test_subprotocol_extension_and_headers_are_in_the_answer():
    upgrade = read_upgrade(
        head_of(
            ("Sec-WebSocket-Protocol", "a, b"),
            ("Sec-WebSocket-Extensions", 'x; y="\\",", permessage-deflate'),
        )
    )
    parameters = "permessage-deflate; server_no_context_takeover; client_max_window_bits=12"
    answer = answer_of(accept(upgrade, subprotocol="b", extensions=parameters, headers={"Set-Cookie": "a=\xe9"}))
    assert answer[b"sec-websocket-protocol"] == b"b"
    assert answer[b"sec-websocket-extensions"] == parameters.encode()
    assert answer[b"set-cookie"] == b"a=\xe9"
    bare = answer_of(accept(upgrade, subprotocol=None, extensions="permessage-deflate"))
    assert bare[b"sec-websocket-extensions"] == b"permessage-deflate"


def test_a_subprotocol_that_was_not_offered_is_an_error_of_ours():
    with pytest.raises(LocalProtocolError, match="'c' was not offered"):
        accept(read_upgrade(head_of(("Sec-WebSocket-Protocol", "a, b"))), subprotocol="c", extensions=None)


@pytest.mark.parametrize(
    "name",
    [
        "Upgrade",
        "CONNECTION",
        "Sec-WebSocket-Accept",
        "sec-websocket-protocol",
        "Content-Length",
        "Transfer-Encoding",
    ],
)
def test_headers_of_the_handshake_cannot_be_set(name):
    with pytest.raises(ValueError, match=name):
        accept(read_upgrade(head_of()), subprotocol=None, extensions=None, headers={name: "1"})


@pytest.mark.parametrize("value", ["a\r\nX: y", "a\n", "\0", "€"])
def test_no_header_can_add_lines_to_the_answer(value):
    with pytest.raises(ValueError, match="X-Bad"):
        accept(read_upgrade(head_of()), subprotocol=None, extensions=None, headers={"X-Bad": value})


# --- arbitrary requests, and wsproto as a witness -----------------------------------------------------------

VALUES = st.sampled_from(
    [
        "websocket",
        "WebSocket",
        "Upgrade",
        "keep-alive, Upgrade",
        "13",
        "8",
        "",
        KEY,
        "a, b",
        "a,a",
        "ÿ",
        "a b",
        "h",
        "permessage-deflate; client_max_window_bits",
        "permessage-deflate; client_max_window_bits=99",
        ",",
        "0" * 300,
    ]
) | st.text(st.characters(max_codepoint=255, blacklist_characters="\r\n\0\t\v\f "), max_size=8)
NAMES = st.sampled_from([*GOOD, "Sec-WebSocket-Protocol", "Sec-WebSocket-Extensions", "Origin", "Cookie", "X"])
CHANGES = st.lists(st.tuples(NAMES, VALUES), max_size=4)


@given(CHANGES, st.sampled_from(["GET", "HEAD", "POST", "\xff"]), st.sampled_from(["1.1", "1.1", "1.0", "9.9"]))
def test_any_headers_give_an_upgrade_or_a_bad_request(changes, method, version):
    try:
        upgrade = read_upgrade(head_of(*changes, method=method, version=version))
    except MalformedRequest as error:
        refused = error
    else:
        check_accepted(upgrade)
        return
    assert refused.status in (400, 405, 426)
    assert refused.message.isascii()
    assert refused.message.isprintable()


def check_accepted(upgrade):
    answer = answer_of(accept(upgrade, subprotocol=None, extensions=None))
    digest = hashlib.sha1(upgrade.key + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest()
    assert answer[b"sec-websocket-accept"] == base64.b64encode(digest)
    assert upgrade.extensions.isascii()


def wsproto_answer(data):
    """The 101 of wsproto's own server, None if it refuses or fails."""
    server = H11Handshake(ConnectionType.SERVER)
    try:
        server.receive_data(data)
        next(server.events())
        return server.send(wsproto.events.AcceptConnection())
    except (wsproto.utilities.ProtocolError, UnicodeError, StopIteration):
        return None


@given(CHANGES, st.binary(max_size=4))
def test_what_wsproto_and_we_accept_gets_the_same_answer(changes, behind):
    lines = "".join(f"{name}: {value}\r\n" for name, value in head_of(*changes).headers.pairs)
    data = f"GET /x HTTP/1.1\r\n{lines}\r\n".encode("latin-1")
    reader = RequestParser(Limits())
    try:
        head = reader.feed(data + behind)
        check_http(head)
        ours = accept(read_upgrade(head), subprotocol=None, extensions=None)
    except MalformedRequest:
        return
    assert reader.leftover == behind
    theirs = wsproto_answer(data)
    if theirs is not None:
        assert ours in (theirs, theirs.replace(b"101 ", b"101 Switching Protocols", 1))  # wsproto 1.2 gives no reason


def test_wsproto_client_accepts_our_complete_answer():
    """wsproto's client accepts our answer with everything in it."""
    client = H11Handshake(ConnectionType.CLIENT)
    request = client.send(
        wsproto.events.Request(
            host="example.org", target="/", subprotocols=["a", "b"], extensions=[PerMessageDeflate()]
        )
    )
    head = RequestParser(Limits()).feed(request)
    check_http(head)
    upgrade = read_upgrade(head)
    agreed = "permessage-deflate; server_no_context_takeover"
    client.receive_data(accept(upgrade, subprotocol="b", extensions=agreed, headers={"X": "1"}))
    event = next(client.events())
    assert isinstance(event, wsproto.events.AcceptConnection)
    assert event.subprotocol == "b"
    assert event.extensions[0].server_no_context_takeover


# --- the ordinary request -------------------------------------------------------------------------------------------


MORE = st.lists(
    st.tuples(
        st.sampled_from(["Host", "Content-Length", "Transfer-Encoding", "Sec-WebSocket-Other", "X", "Origin"]),
        VALUES | st.sampled_from(["h:65536", "h:59999", "h:0", "[::1]:80", "a b", "0", "chunked", "\xff", "\t", ""]),
    ),
    max_size=2,
)


@given(CHANGES | MORE, st.sampled_from(["/", "/x?y", "*", "x", "/#"]), st.sampled_from(["1.1", "1.0"]))
def test_what_is_taken_for_ordinary_is_what_a_closer_look_says(changes, target, version):
    for changed in [(), changes]:
        head = head_of(*changed, target=target, version=version)
        upgrade = parse_common_request(head)
        if upgrade is not None:
            check_http(head)
            assert is_upgrade(head)
            assert read_upgrade(head) == upgrade


@pytest.mark.parametrize(
    "change",
    [
        (),
        ("Connection", "keep-alive, Upgrade"),
        ("Origin", "https://example.org"),
        ("Sec-WebSocket-Extensions", "permessage-deflate; client_max_window_bits"),
        ("Host", "localhost:54321"),
    ],
)
def test_what_browsers_send_is_ordinary(change):
    head = head_of(*([change] if change else []))
    assert parse_common_request(head) == read_upgrade(head)


@pytest.mark.parametrize(
    "change",
    [("X", "\xff"), ("X", "a\tb"), ("Sec-WebSocket-Protocol", "chat"), ("Content-Length", "0"), ("Host", "[::1]")],
)
def test_what_is_rare_is_looked_at_more_closely(change):
    assert parse_common_request(head_of(change)) is None


def test_a_key_with_pad_bits_set_is_16_bytes_too():
    """RFC 6455 4.1 prints one; it is answered for its text, as every key is."""
    for key in ("AQIDBAUGBwgJCgsMDQ4PEC==", "dGhlIHNhbXBsZSBub25jZR=="):
        upgrade = read_upgrade(head_of(("Sec-WebSocket-Key", key)))
        digest = hashlib.sha1(key.encode() + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest()
        for subprotocol in (None, "a"):
            answer = accept(attrs.evolve(upgrade, subprotocols=("a",)), subprotocol=subprotocol, extensions=None)
            assert base64.b64encode(digest) in answer
