"""Headers as received, headers as sent, and cookies."""

from __future__ import annotations

import gc
import sys

import h11
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trio_ws.headers import Headers, is_token, parse_cookies, validate_headers

LATIN = st.text(st.characters(max_codepoint=255), max_size=20)
PAIRS = st.lists(st.tuples(LATIN, LATIN), max_size=12)


def test_lookup_ignores_case_and_gives_the_first_value():
    headers = Headers([("Set-Cookie", "a=1"), ("X-Real-IP", "::1"), ("set-cookie", "b=2")])
    assert headers["SET-COOKIE"] == headers.get("set-cookie") == "a=1"
    assert headers.get_list("Set-Cookie") == ["a=1", "b=2"]
    assert headers.get_list("none") == []
    assert headers.get("none") is None
    with pytest.raises(KeyError, match="None-Such"):
        headers["None-Such"]


def test_each_name_once_in_lower_case_and_in_order():
    headers = Headers([("B", "1"), ("A", "2"), ("b", "3")])
    assert list(headers) == ["b", "a"]
    assert dict(headers) == {"b": "1", "a": "2"}
    assert len(headers) == 2
    assert "B" in headers
    assert "c" not in headers
    assert 7 not in headers
    assert headers.pairs == (("b", "1"), ("a", "2"), ("b", "3"))


def test_bytes_are_decoded_as_latin_1_and_come_back_as_they_were():
    headers = Headers([(b"X-Name", b"J\xfcrgen")])
    assert headers["x-name"] == "Jürgen"
    assert headers.raw == ((b"x-name", b"J\xfcrgen"),)


def test_headers_from_mapping_or_other_headers_keep_all_pairs():
    """Made from a mapping or from other headers nothing is lost."""
    assert Headers({"Host": "h"}) == Headers([(b"host", b"h")])
    twice = Headers([("a", "1"), ("a", "2")])
    assert Headers(twice).get_list("a") == ["1", "2"]


def test_headers_compare_and_hash_by_pairs_and_equal_mappings():
    """Equal and hashed by their pairs and comparable to mappings."""
    one, same = Headers([("A", "1"), ("a", "2")]), Headers([("a", "1"), ("A", "2")])
    assert one == same
    assert hash(one) == hash(same)
    assert one != Headers([("a", "1")])
    assert Headers({"A": "1"}) == {"a": "1"}
    assert Headers() != 1


def test_the_repr_shows_every_pair():
    assert repr(Headers([("A", "1"), ("a", "\n")])) == "Headers([('a', '1'), ('a', '\\n')])"


@pytest.mark.parametrize("pairs", [[], [("A", "1")], [("A", "1"), ("a", ""), ("b", "\x85")], [("a", "1\n2")]])
def test_packed_they_are_the_same(pairs):
    headers, packed = Headers(pairs), Headers(pairs)
    packed.pack()
    packed.pack()
    assert packed == headers
    assert hash(packed) == hash(headers)
    assert packed.pairs == headers.pairs
    assert packed.get("a") == headers.get("a")
    assert Headers(packed) == headers


def test_packed_they_are_one_object():
    headers = Headers([(f"name-{number}", "value" * number) for number in range(10)])
    headers.pack()
    assert len(gc.get_referents(headers)) == 1 + 1  # the text, and the class
    assert sum(map(sys.getsizeof, gc.get_referents(headers)[:1])) < 500


def test_they_cannot_be_changed():
    headers = Headers({"a": "1"})
    with pytest.raises(TypeError):
        headers["a"] = "2"
    with pytest.raises(AttributeError):
        headers.extra = 1


@given(PAIRS)
def test_any_headers_agree_with_a_plain_list(pairs):
    headers = Headers(pairs)
    lowered = [(name.lower(), value) for name, value in pairs]
    assert list(headers.pairs) == lowered
    for name, _ in pairs:
        assert headers.get_list(name) == [value for key, value in lowered if key == name.lower()]
        assert headers[name] == headers.get_list(name)[0]


# --- what we send -------------------------------------------------------------------------------------------


def test_sent_headers_become_bytes_without_surrounding_spaces():
    assert validate_headers({"X-Name": " Jürgen\t"}) == [(b"X-Name", b"J\xfcrgen")]
    assert validate_headers([("a", "1"), ("a", "")]) == [(b"a", b"1"), (b"a", b"")]
    assert validate_headers(Headers([("a", "1"), ("a", "2")])) == [(b"a", b"1"), (b"a", b"2")]


@pytest.mark.parametrize("value", ["a\r\nb: c", "a\n", "a\r", "a\0", "\x01", "\x7f", "€", "\ud800", b"bytes", 7, None])
def test_value_that_breaks_the_message_is_refused_with_the_name(value):
    """A value that could break the message is refused with the name."""
    with pytest.raises(ValueError, match="X-Bad"):
        validate_headers([("X-Bad", value)])


@pytest.mark.parametrize("name", ["", "a b", "a:", "a\r\n", "a\n", "ä", "a\0", "(a)", b"a", None])
def test_a_name_that_is_no_token_is_refused(name):
    with pytest.raises(ValueError, match="not the name of a header"):
        validate_headers([(name, "1")])


@given(st.lists(st.tuples(st.text(max_size=8), st.text(max_size=12)), max_size=4))
def test_what_passes_is_sent_by_h11_and_read_back_unchanged(pairs):
    try:
        checked = validate_headers(pairs)
    except ValueError:
        return
    free = [pair for pair in checked if pair[0].lower() not in (b"content-length", b"transfer-encoding", b"host")]
    data = h11.Connection(h11.CLIENT).send(h11.Request(method="GET", target="/", headers=[("Host", "x"), *free]))
    server = h11.Connection(h11.SERVER)
    server.receive_data(data)
    read = server.next_event().headers
    assert list(read)[1:] == [(name.lower(), value) for name, value in free]


def test_tokens():
    assert is_token("graphql-ws.v1")
    assert not is_token("")
    assert not is_token("a,b")
    assert not is_token("a\n")


# --- cookies ------------------------------------------------------------------------------------------------


def test_cookies_of_all_headers_are_read_and_the_first_wins():
    """Cookies are read from all headers and the first of a name wins."""
    assert parse_cookies(["a=1; b=2", "a=3;c=4"]) == {"a": "1", "b": "2", "c": "4"}


@pytest.mark.parametrize(
    ("header", "cookies"),
    [
        ('a="quoted value"', {"a": "quoted value"}),
        ('a="', {"a": '"'}),
        ("a=x=y==", {"a": "x=y=="}),
        ("a=", {"a": ""}),
        ("=1; novalue; ;; b=2;", {"b": "2"}),
        ("  a  =  1  ", {"a": "1"}),
        ("a=%20é", {"a": "%20é"}),
        ("", {}),
    ],
)
def test_cookies_that_are_odd(header, cookies):
    assert parse_cookies([header]) == cookies


@given(st.lists(st.text(), max_size=4))
def test_no_cookie_header_makes_the_parser_fail(values):
    assert all(name == name.strip() != "" for name in parse_cookies(values))
