"""URLs of clients and of requests, and query parameters."""

from __future__ import annotations

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trio_ws.http.url import URL, QueryParameters, split_host


def test_a_url_in_its_parts():
    url = URL.parse("wss://User:p%40ss@Example.COM:8443/a%20b/c?x=1&y=%C3%A9")
    assert (url.scheme, url.host, url.hostname, url.port) == ("wss", "example.com", "example.com", 8443)
    assert (url.raw_path, url.path, url.query) == ("/a%20b/c", "/a b/c", "x=1&y=%C3%A9")
    assert (url.username, url.password) == ("User", "p@ss")
    assert url.netloc == "example.com:8443"
    assert url.target == "/a%20b/c?x=1&y=%C3%A9"
    assert url.secure
    assert url.origin == ("https", "example.com", 8443)


def test_text_and_repr_do_not_show_the_password():
    url = URL.parse("ws://user:secret@h/p")
    assert str(url) == "ws://h/p"
    assert repr(url) == "URL('ws://h/p')"


@pytest.mark.parametrize(
    ("text", "normal"),
    [
        ("ws://h", "ws://h/"),
        ("ws://h:80/", "ws://h/"),
        ("wss://h:443", "wss://h/"),
        ("ws://h:443", "ws://h:443/"),
        ("ws://h:", "ws://h/"),
        ("HTTP://H/p", "ws://h/p"),
        ("https://h?q", "wss://h/?q"),
        ("ws://h/?", "ws://h/"),
        ("ws://[0:0::1]:9/", "ws://[::1]:9/"),
        ("ws://127.0.0.1:8000/x", "ws://127.0.0.1:8000/x"),
        ("ws://bücher.example/ä?ö=€", "ws://xn--bcher-kva.example/%C3%A4?%C3%B6=%E2%82%AC"),
        ("ws://h/a|b\\c^`{}?<\">'", "ws://h/a%7Cb%5Cc%5E%60%7B%7D?%3C%22%3E'"),
        ("ws://h/100%/%zz", "ws://h/100%/%zz"),
        ("ws://faß.example/", "ws://xn--fa-hia.example/"),
        ("ws://βόλος.example/", "ws://xn--nxasmm1c.example/"),
        ("ws://BÜCHER。example/", "ws://xn--bcher-kva.example/"),
        ("ws://b%C3%BCcher.example/", "ws://xn--bcher-kva.example/"),
        ("ws://under_score.example./", "ws://under_score.example./"),
        ("ws://u@h/", "ws://h/"),
    ],
)
def test_a_url_is_normalised_and_then_stays_as_it_is(text, normal):
    url = URL.parse(text)
    assert str(url) == normal
    assert str(URL.parse(normal)) == normal


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "looks like"),
        ("localhost:8000", "looks like"),
        ("//h/", "looks like"),
        ("ftp://h/", "scheme"),
        ("ws://h/#top", "fragment"),
        ("ws://h/#", "fragment"),
        ("ws:///path", "no host"),
        ("ws://:80/", "no host"),
        ("ws://u:p@/", "no host"),
        ("ws://h:0/", "port"),
        ("ws://h:65536/", "port"),
        ("ws://h:99999999999999999999/", "port"),
        ("ws://h:8_0/", "host must be"),
        ("ws://h:٨٠/", "host must be"),
        ("ws://h:-1/", "host must be"),
        ("ws://[::1", "host must be"),
        ("ws://[::1]x/", "host must be"),
        ("ws://[1:2]/", "IPv6"),
        ("ws://[fe80::1%25eth0]/", "host must be"),
        ("ws://::1/", "no host"),
        ("ws://a..b/", "domain name"),
        (f"ws://{'a' * 64}/", "domain name"),
        (f"ws://{'ä.' * 200}/", "at most 255"),
        ("ws://ex ample/", "spaces"),
        ("ws://h/a b", "spaces"),
        ("ws://h/\r\nX: y", "spaces"),
        ("ws://h/\0", "spaces"),
        ("ws://h/\x85", "spaces"),
        ("ws://h/\u2028", "spaces"),
        ("ws://h/\ud800", "spaces"),
        ("ws://h\n", "spaces"),
        ("ws://a,b/", "host must be"),
        ("ws://a\\b/", "host must be"),
        ("ws://a%20b/", "host must be"),
        ("ws://℀.com/", "domain name"),
        ("ws://☃.example/", "domain name"),
        ("ws://a%3A80/", "domain name"),
        ("ws://a%2Fb/", "host must be"),
        ("ws://%FF/", "domain name"),
    ],
)
def test_what_is_no_websocket_url_is_refused_with_the_reason(text, problem):
    with pytest.raises(ValueError, match=problem):
        URL.parse(text)


@given(st.text(max_size=40) | st.from_regex(r"(ws|https)://[^/]{0,12}(/.{0,10})?(\?.{0,5})?", fullmatch=True))
def test_any_text_is_a_url_in_plain_ascii_or_a_value_error(text):
    try:
        url = URL.parse(text)
    except ValueError:
        return
    assert str(url).isascii()
    assert str(url).isprintable()
    assert " " not in str(url)
    assert URL.parse(str(url)) == attrs.evolve(url, username=None, password=None)


def test_a_url_cannot_be_changed():
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        URL.parse("ws://h").host = "other"


# --- of a request -------------------------------------------------------------------------------------------


def test_the_url_of_a_request_keeps_its_target_as_it_came():
    url = URL.of_request("Example.com:8000", "//x/%FF?a=b?c", secure=False)
    assert str(url) == "ws://example.com:8000//x/%FF?a=b?c"
    assert url.raw_path == "//x/%FF"
    assert url.path == "//x/\ufffd"
    assert url.query == "a=b?c"


def test_the_default_port_of_a_request_depends_on_tls():
    assert URL.of_request("h", "/", secure=True).port == 443
    assert URL.of_request("h", "/", secure=False).port == 80
    assert URL.of_request("[::1]:7", "/", secure=False).hostname == "::1"


@pytest.mark.parametrize("host", ["", "a b", "u@h", "h:x", "a,b", "a/b", "h\n", "x" * 300, "[::g]", "[]", "é"])
def test_a_malformed_host_is_a_value_error(host):
    with pytest.raises(ValueError, match="host"):
        split_host(host)


@given(st.text(max_size=20))
def test_no_host_raises_anything_else(host):
    try:
        name, port = split_host(host)
    except ValueError:
        return
    assert name.isascii()
    assert port is None or 1 <= port <= 65535


# --- redirects ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("location", "target"),
    [
        ("/other", "wss://h:1/other"),
        ("next?q", "wss://h:1/a/next?q"),
        ("//elsewhere/x", "wss://elsewhere/x"),
        ("https://h:1/new#part", "wss://h:1/new"),
        ("ws://h/", "ws://h/"),
        ("", "wss://h:1/a/b?c"),
    ],
)
def test_a_redirect_is_resolved_against_the_url(location, target):
    assert str(URL.parse("wss://h:1/a/b?c").join(location)) == target


def test_credentials_follow_a_redirect_on_their_own_origin_only():
    url = URL.parse("ws://user:secret@h/")
    assert url.join("/next").username == "user"
    assert url.join("ws://h:80/next").password == "secret"
    assert url.join("wss://h/next").username is None
    assert url.join("ws://other/").username is None
    assert url.join("ws://me@h/").username == "me"


@pytest.mark.parametrize("location", ["mailto:x", "/a b", "/a\nb", "ws://[", "ftp://h/", "ws://h:0/"])
def test_a_redirect_to_what_is_no_websocket_url_is_a_value_error(location):
    with pytest.raises(ValueError, match=r"."):
        URL.parse("ws://h/").join(location)


@given(st.text(st.characters(max_codepoint=255), max_size=30))
def test_no_location_raises_anything_else(location):
    try:
        URL.parse("ws://h/").join(location)
    except ValueError:
        pass


# --- query parameters ---------------------------------------------------------------------------------------


def test_the_last_value_of_a_name_is_looked_up_and_all_are_kept():
    query = QueryParameters("a=1&b=&a=2&c")
    assert query["a"] == "2"
    assert query.get_list("a") == ["1", "2"]
    assert (query["b"], query["c"]) == ("", "")
    assert query.pairs == (("a", "1"), ("b", ""), ("a", "2"), ("c", ""))
    assert list(query) == ["a", "b", "c"]
    assert len(query) == 3
    assert query.get("none") is None
    with pytest.raises(KeyError):
        query["none"]


def test_a_query_is_decoded_and_what_is_not_utf8_is_replaced():
    assert dict(QueryParameters("n=J%C3%BCrgen+X&bad=%ff%&%zz=1")) == {
        "n": "Jürgen X",
        "bad": "\ufffd%",
        "%zz": "1",
    }


def test_made_of_pairs_mappings_and_themselves():
    query = QueryParameters([("a", "1"), ("a", "2")])
    assert QueryParameters(query) == query
    assert QueryParameters({"a": "1 2"}) == {"a": "1 2"}
    assert query != QueryParameters("a=1")
    assert hash(query) == hash(QueryParameters("a=1&a=2"))
    assert str(query) == "a=1&a=2"
    assert repr(query) == "QueryParameters([('a', '1'), ('a', '2')])"


def test_query_parameters_cannot_be_changed():
    with pytest.raises(AttributeError, match="immutable"):
        QueryParameters().pairs = ()


@given(st.text(st.characters(max_codepoint=127), max_size=60))
def test_no_query_makes_the_parser_fail(query):
    assert all(isinstance(part, str) for pair in QueryParameters(query).pairs for part in pair)
