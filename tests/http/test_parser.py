"""Reading a request head: whatever arrives becomes a RequestHead or a MalformedRequest, however it is cut."""

from __future__ import annotations

from itertools import pairwise

import h11
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from support.internals import internal, set_internal

from trio_ws.config import Limits
from trio_ws.headers import Headers
from trio_ws.http import parser as parser_module
from trio_ws.http.head import HeadParser, MalformedHead, check_sizes
from trio_ws.http.parser import (
    MalformedRequest,
    RequestHead,
    RequestParser,
    check_http,
    is_upgrade,
)

parse_common_request = internal(parser_module, "_parse_common_request")
read_request = internal(parser_module, "_read")

SMALL = Limits(max_request_line=64, max_header_size=64, max_head_size=256, max_headers=8)
REQUEST = b"GET /chat?x=1 HTTP/1.1\r\nHost: example.org\r\nX: 1\r\nx: 2\r\n\r\n"

# Bytes that matter in a head, and any others.
PIECES = st.sampled_from(
    [
        b"\r\n",
        b"\n",
        b"\r",
        b" ",
        b"\t",
        b":",
        b"GET / HTTP/1.1",
        b"GET",
        b"/",
        b"HTTP/1.0",
        b"HTTP/9.9",
        b"Host: h",
        b"Content-Length: 5",
        b"Content-Length: x",
        b"Transfer-Encoding: chunked",
        b"Transfer-Encoding: gzip",
        b"Upgrade: websocket",
        b"\x16\x03\x01",
        b"\x00",
        b"\xff",
        b"a" * 70,
        b"x: y",
        b"http://h/x",
        b"http://i",
        b"\r\n\r\n",
    ]
)
MESSY = st.lists(PIECES | st.binary(max_size=6), max_size=14).map(b"".join)


@st.composite
def mutated(draw):
    """A good request with some of its bytes replaced, removed or added."""
    data = bytearray(REQUEST)
    for _ in range(draw(st.integers(0, 4))):
        at = draw(st.integers(0, len(data)))
        data[at : at + draw(st.integers(0, 3))] = draw(PIECES | st.binary(max_size=3))
    return bytes(data)


HEADS = MESSY | mutated() | st.binary(max_size=80)


def outcome(data, cuts=(), limits=SMALL):
    """What comes of `data` cut at `cuts`: a head and what is behind it, an error in two parts, or None."""
    reader = RequestParser(limits)
    edges = [0, *sorted(cut % (len(data) + 1) for cut in cuts), len(data)]
    for begin, end in pairwise(edges):
        try:
            head = reader.feed(memoryview(data)[begin:end])
        except MalformedRequest as error:
            return (error.status, error.message)
        if head is not None:
            return (head, reader.leftover + data[end:])
    return None


def status_of(data, limits=SMALL):
    result = outcome(data, limits=limits)
    return result[0] if isinstance(result, tuple) and isinstance(result[0], int) else result


# --- heads that are read ------------------------------------------------------------------------------------


def test_a_head_is_read_and_what_is_behind_it_is_left_over():
    reader = RequestParser(Limits())
    head = reader.feed(REQUEST + b"\x81\x80rest")
    assert (head.method, head.target, head.http_version) == ("GET", "/chat?x=1", "1.1")
    assert head.headers.pairs == (("host", "example.org"), ("x", "1"), ("x", "2"))
    assert reader.leftover == b"\x81\x80rest"


def test_a_head_that_comes_byte_by_byte_is_read_at_its_last_byte():
    reader = RequestParser(Limits())
    answers = [reader.feed(REQUEST[at : at + 1]) for at in range(len(REQUEST))]
    assert answers[:-1] == [None] * (len(REQUEST) - 1)
    assert answers[-1].target == "/chat?x=1"
    assert reader.leftover == b""


def test_lines_may_end_in_lf_and_one_empty_line_may_lead():
    for data in (REQUEST.replace(b"\r", b""), b"\r\n" + REQUEST, b"\n" + REQUEST):
        assert outcome(data) == outcome(REQUEST)


def test_bytes_outside_ascii_in_headers_are_kept():
    head, _ = outcome(b"GET / HTTP/1.1\r\nHost: h\r\nX: \xff\x01\xe9\r\n\r\n")
    assert head.headers.raw[1] == (b"x", b"\xff\x01\xe9")


@pytest.mark.parametrize(
    ("target", "origin_form"),
    [
        (b"http://h/x?y", "/x?y"),
        (b"WS://H", "/"),
        (b"wss://h?x", "/?x"),
        (b"//h/x", "//h/x"),
        (b"*", "*"),
        (b"ftp://h/", "ftp://h/"),
    ],
)
def test_the_absolute_form_is_reduced_to_path_and_query(target, origin_form):
    head, _ = outcome(b"GET " + target + b" HTTP/1.1\r\nHost: h\r\n\r\n")
    assert head.target == origin_form


@pytest.mark.parametrize(
    ("target", "host", "counts"),
    [
        (b"http://other/", b"h", "other"),
        (b"http://h:80/", b"h", "h:80"),
        (b"http://[::1]/", b"[0:0:0:0:0:0:0:1]", "[::1]"),
        (b"http://h/", b"", "h"),
    ],
)
def test_the_host_of_an_absolute_target_counts(target, host, counts):
    """Whatever Host says (RFC 9112 3.2.2)."""
    head, _ = outcome(b"GET " + target + b" HTTP/1.1\r\nX: y\r\nHost: " + host + b"\r\n\r\n")
    check_http(head)
    assert head.headers.get_list("host") == [counts]
    assert head.headers["x"] == "y"


def test_an_absolute_target_needs_no_host_in_http_1_0():
    head, _ = outcome(b"GET http://h/ HTTP/1.0\r\n\r\n")
    check_http(head)
    assert head.headers["host"] == "h"


@pytest.mark.parametrize(
    ("target", "host"),
    [(b"http:///x", b"h"), (b"http://u:p@h/", b"h"), (b"http://h:99999/", b"h"), (b"http://h/", b"a/b")],
)
def test_an_absolute_target_or_host_that_is_malformed_is_400(target, host):
    with pytest.raises(MalformedRequest) as caught:
        check_http(RequestParser(Limits()).feed(b"GET " + target + b" HTTP/1.1\r\nHost: " + host + b"\r\n\r\n"))
    assert caught.value.status == 400


# --- heads that are refused ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "data",
    [
        b"\x16\x03\x01\x02\x00\x01",  # a TLS ClientHello
        b"\x80",
        b"\0",
        b" GET",
        b"\r\r",
        b"\r\n\r\n",
        b"\n\n",
        b"GET\t",
        b"{}",
        b"\xff\xfe",
        b"a" * 33,
    ],
)
def test_what_cannot_begin_a_request_is_400_before_its_line_ends(data):
    assert status_of(data) == 400


@pytest.mark.parametrize(
    "data",
    [
        b"GET /\r\n\r\n",  # HTTP/0.9
        b"GET / HTTP/11\r\nHost: h\r\n\r\n",
        b"GET  / HTTP/1.1\r\nHost: h\r\n\r\n",
        b"GET /\xc3\xa9 HTTP/1.1\r\nHost: h\r\n\r\n",
        b"GET / HTTP/1.1\r\n\r\n",  # no Host
        b"GET / HTTP/1.1\r\nHost: h\r\nHost: h\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: h\r\nno colon\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: h\r\nX : 1\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: h\r\n: 1\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: h\r\nX: a\0b\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: h\r\nX: a\rb\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: h\r\nX\xff: a\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: h\r\nContent-Length: -1\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: gzip\r\n\r\n",
    ],
)
def test_a_malformed_head_is_400(data):
    assert status_of(data) == 400


def test_folded_headers_are_400_as_soon_as_the_line_is_there():
    assert status_of(b"GET / HTTP/1.1\r\nHost: h\r\nX: 1\r\n 2\r\n") == 400
    assert status_of(b"GET / HTTP/1.1\r\n\tHost: h\r\n") == 400


def test_the_message_of_an_error_is_short_printable_ascii():
    _, message = outcome(b"GET / HTTP/1.1\r\nHost: h\r\n\xff\x1b[31m" + b"x" * 5000 + b"\r\n\r\n", limits=Limits())
    assert message.isascii()
    assert message.isprintable()
    assert len(message) < 200


# --- limits -------------------------------------------------------------------------------------------------


def test_request_line_at_limit_passes_and_one_byte_more_is_414():
    """A request line at its limit passes and one byte more is 414."""
    line = b"GET /" + b"a" * 50 + b" HTTP/1.1"
    assert len(line) == 64
    assert isinstance(outcome(line + b"\r\nHost: h\r\n\r\n")[0], RequestHead)
    assert status_of(line.replace(b"/a", b"/aa") + b"\r\nHost: h\r\n\r\n") == 414
    assert status_of(b"GET /" + b"a" * 60) == 414


def test_request_line_is_bounded_by_the_head_limit_too():
    """The request line is bounded by the limit of the head too."""
    limits = Limits(max_request_line=9000, max_head_size=256)
    assert status_of(b"GET /" + b"a" * 252, limits) == 414


def test_header_line_at_limit_passes_and_one_byte_more_is_431():
    """A header line at its limit passes and one byte more is 431."""

    def request(size):
        return b"GET / HTTP/1.1\r\nHost: h\r\nX: " + b"a" * (size - 3) + b"\r\n\r\n"

    assert isinstance(outcome(request(64))[0], RequestHead)
    assert status_of(request(65)) == 431
    assert status_of(request(65)[:-4]) == 431


def test_a_head_at_its_limit_passes_and_one_byte_more_is_431():
    def request(size):
        begin = b"GET / HTTP/1.1\r\nHost: h\r\n" + (b"X: " + b"a" * 55 + b"\r\n") * 3 + b"Y: "
        return begin + b"a" * (size - len(begin) - 4) + b"\r\n\r\n"

    assert len(request(256)) == 256
    assert isinstance(outcome(request(256))[0], RequestHead)
    assert status_of(request(257)) == 431
    assert status_of(request(257)[:256]) == 431


def test_headers_at_their_limit_pass_and_one_more_is_431():
    def request(count):
        return b"GET / HTTP/1.1\r\nHost: h\r\n" + b"a: b\r\n" * (count - 1) + b"\r\n"

    assert isinstance(outcome(request(8))[0], RequestHead)
    assert status_of(request(9)) == 431


@given(
    path=st.integers(0, 60),
    headers=st.lists(st.tuples(st.integers(1, 66), st.integers(1, 66)), max_size=9),
)
@example(path=50, headers=[])
@example(path=51, headers=[])
@example(path=0, headers=[(1, 61)])
@example(path=0, headers=[(1, 62)])
@example(path=0, headers=[(1, 50)] * 3 + [(1, 48)])  # 256 bytes
@example(path=0, headers=[(1, 50)] * 3 + [(1, 49)])
@example(path=0, headers=[(1, 1)] * 8)
@example(path=0, headers=[(1, 1)] * 9)
def test_a_head_read_elsewhere_has_the_same_limits(path: int, headers: list[tuple[int, int]]) -> None:
    line = b"GET /" + b"a" * path + b" HTTP/1.1"
    pairs = [(b"X" * name, b"v" * value) for name, value in headers]
    data = b"\r\n".join([line, *(name + b": " + value for name, value in pairs), b"", b""])
    parser = HeadParser(lambda begin: True, SMALL)
    ours = theirs = None
    try:
        parser.feed(data)
    except MalformedHead as error:
        ours = error.status
    try:
        check_sizes(len(line), pairs, SMALL)
    except MalformedRequest as error:
        theirs = error.status
    assert ours == theirs


def test_head_above_h11_buffer_size_is_read_within_our_limits():
    """A head larger than h11's own buffer is read if our limits allow it."""
    data = b"GET / HTTP/1.1\r\nHost: h\r\n" + (b"X: " + b"a" * 8000 + b"\r\n") * 3 + b"\r\n"
    head, _ = outcome(data, limits=Limits())
    assert len(head.headers.get_list("x")) == 3


class CountingBuffer(bytearray):
    """A buffer that counts the bytes in which something is looked for."""

    looked_at = 0

    def find(self, wanted, start):
        self.looked_at += len(self) - start
        return super().find(wanted, start)


@pytest.mark.parametrize("first", [b"GET / HTTP/1.1\r\n", b"\r\nGET / HTTP/1.1\r\n"])
def test_only_the_first_line_has_to_be_plausible(first):
    """What comes after it is held to the rules of headers."""
    seen = []
    splitter = HeadParser(lambda beginning: seen.append(beginning) or True, Limits())
    for at in range(len(first)):
        assert splitter.feed(first[at : at + 1]) is None
    assert seen == [first[:size] for size in range(1, len(first) + 1)]
    assert splitter.feed(b"X: 1\r\n") is None
    assert splitter.feed(b"\r\n") == first.lstrip() + b"X: 1\r\n\r\n"
    assert len(seen) == len(first)


def test_a_head_that_comes_byte_by_byte_is_searched_once():
    splitter = HeadParser(lambda beginning: True, Limits())
    buffer = CountingBuffer()
    set_internal(splitter, "_buffer", buffer)
    data = b"GET / HTTP/1.1\r\n" + (b"X: " + b"a" * 2000 + b"\r\n") * 10
    for at in range(len(data)):
        assert splitter.feed(data[at : at + 1]) is None
    assert buffer.looked_at <= len(data)


# --- arbitrary bytes ----------------------------------------------------------------------------------------


@given(HEADS, st.lists(st.integers(0, 500), max_size=6))
@example(b"\r\nGET / HTTP/1.1\r\nHost: h\r\n\r\nrest", [1])
@example(b"\x15\x03", [1])
@example(b"GET / HTTP/1.1\r\nHost: h\r\nX: " + b"a" * 61 + b"\r\n\r\n", [89, 90])
def test_arbitrary_bytes_cut_anywhere_give_head_or_bad_request(data, cuts):
    """Any bytes give a head or a bad request wherever they are cut."""
    whole = outcome(data)
    assert outcome(data, cuts) == whole
    assert outcome(data, range(len(data))) == whole


@given(HEADS)
def test_parser_reads_and_refuses_the_same_heads_as_h11(data):
    """What we read is what h11 reads and what h11 refuses we refuse."""
    connection = h11.Connection(h11.SERVER)
    connection.receive_data(data.removeprefix(b"\r\n") if data.startswith(b"\r\n") else data.removeprefix(b"\n"))
    result = outcome(data, limits=Limits())
    try:
        event = connection.next_event()
    except h11.RemoteProtocolError:
        assert result is None or result[0] in (400, 414, 431)
        return
    if result is not None and isinstance(result[0], RequestHead):
        head, leftover = result
        assert list(head.headers.raw) == list(event.headers)
        assert head.method.encode() == event.method
        assert event.target.endswith(head.target.encode().removeprefix(b"/"))
        assert data.endswith(leftover)


@st.composite
def nearly_ordinary(draw):
    """A request as browsers send it, with at most one thing in it that they do not send, and something behind it."""
    lines = ["GET /chat?x=1 HTTP/1.1", "Host: example.org", "Upgrade: websocket", "Connection: keep-alive, Upgrade"]
    lines += draw(st.lists(st.sampled_from(["X: a b", f"C: {'x' * 40}", "x:  y", "Y: ", "Z:z", "A: b ", "Host: x"])))
    data = bytearray("\r\n".join([*lines, "", ""]).encode())
    if draw(st.booleans()):
        at = draw(st.integers(0, len(data)))
        data[at : at + draw(st.integers(0, 2))] = draw(PIECES | st.binary(max_size=2))
    return bytes(data) + draw(st.binary(max_size=4))


@given(nearly_ordinary() | HEADS)
@example(b"GET / HTTP/1.1\r\nHost: h\r\nContent-Length: x\r\n\r\n")
@example(b"GET / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: gzip\r\n\r\n")
@example(b"GET / HTTP/1.1\r\nHost: h\r\nA: \xa0b\x85\r\n\r\n")
def test_what_is_read_without_h11_is_what_h11_reads(data):
    read = parse_common_request(memoryview(data), Limits())
    if read is not None:
        head, size = read
        assert read_request(data[:size]) == head
        assert HeadParser(lambda beginning: True, Limits()).feed(data) == data[:size]


@given(nearly_ordinary() | HEADS, st.integers(64, 150), st.integers(64, 150), st.integers(256, 300), st.integers(8, 10))
def test_without_h11_the_limits_are_the_same(data, line, header, head, count):
    limits = Limits(max_request_line=line, max_header_size=header, max_head_size=head, max_headers=count)
    read = parse_common_request(data, limits)
    if read is not None:
        assert HeadParser(lambda beginning: True, limits).feed(data) == data[: read[1]]


def test_what_all_browsers_send_is_read_without_h11():
    lines = [b"GET /chat HTTP/1.1", b"Host: h", b"Upgrade: websocket", b"Connection: keep-alive, Upgrade", b"X: a: b c"]
    assert parse_common_request(b"\r\n".join([*lines, b"", b"rest"]), Limits())[1] == len(b"\r\n".join(lines)) + 4


def test_a_long_head_without_an_end_is_searched_once():
    data = b"GET / HTTP/1.1\r\n" + b"a: b c \r\n" * 100_000 + b"x" * 1_000_000
    size = len(data)
    assert parse_common_request(data, Limits(max_request_line=size, max_header_size=size, max_head_size=size)) is None


@given(HEADS)
def test_checking_any_head_raises_nothing_but_bad_request(data):
    result = outcome(data, limits=Limits())
    if result is None or not isinstance(result[0], RequestHead):
        return
    assert is_upgrade(result[0]) in (True, False)
    try:
        check_http(result[0])
    except MalformedRequest as error:
        refused = error
    else:
        return
    assert refused.status in (400, 405)
    assert refused.message.isprintable()
    assert refused.message.isascii()


# --- what every request must satisfy ------------------------------------------------------------------------


def head_of(*headers, method="GET", target="/", version="1.1"):
    return RequestHead(method, target, version, Headers(headers or [("Host", "h")]))


def refusal(head):
    with pytest.raises(MalformedRequest) as caught:
        check_http(head)
    return caught.value


@pytest.mark.parametrize("host", ["h", "EXAMPLE.org:8000", "127.0.0.1", "[::1]:80", "a_b.c-d.", "h:", ""])
def test_a_good_host_passes(host):
    check_http(head_of(("Host", host), ("Content-Length", "00")))


@pytest.mark.parametrize(
    "host",
    [" ", "a b", "u@h", "a,b", "h:0", "h:65536", "h:x", "h/x", "[::1", "[x]", "\xff", "h\x01", "x" * 9000],
)
def test_a_bad_host_is_400(host):
    error = refusal(head_of(("Host", host)))
    assert error.status == 400
    assert len(error.message) < 450
    assert error.message.isascii()


def test_host_is_needed_once_and_by_http_1_0_not_at_all():
    assert refusal(head_of(("X", "1"))).status == 400
    assert refusal(head_of(("Host", "a"), ("Host", "a"))).status == 400
    check_http(head_of(("X", "1"), version="1.0"))
    assert refusal(head_of(("Host", "a"), ("Host", "a"), version="1.0")).status == 400


@pytest.mark.parametrize("version", ["0.9", "1.2", "2.0", "9.9", "\xff"])
def test_other_http_versions_are_400(version):
    assert refusal(head_of(version=version)).status == 400


@pytest.mark.parametrize("method", ["POST", "PUT", "OPTIONS", "CONNECT", "get", "\xff"])
def test_other_methods_are_405_and_told_which_are_allowed(method):
    error = refusal(head_of(method=method))
    assert (error.status, error.headers) == (405, (("Allow", "GET"),))


def test_head_passes_because_pages_answer_it():
    check_http(head_of(method="HEAD"))


def test_a_body_is_400():
    assert refusal(head_of(("Host", "h"), ("Content-Length", "10"))).status == 400
    assert refusal(head_of(("Host", "h"), ("Transfer-Encoding", "chunked"))).status == 400


@pytest.mark.parametrize("target", ["", "*", "x", "h:80", "ftp://h/", "/#x", "/a b", "/\xff", "/\x01", "/\n"])
def test_a_target_that_is_no_path_is_400(target):
    assert refusal(head_of(target=target)).status == 400


@pytest.mark.parametrize(
    ("headers", "answer"),
    [
        ([("Upgrade", "h2c, WebSocket")], True),
        ([("Upgrade", "x"), ("Upgrade", "websocket")], True),
        ([("Sec-WebSocket-Key", "")], True),
        ([("Sec-WebSocket-Version", "8")], True),
        ([("Upgrade", "h2c")], False),
        ([("Upgrade", "websockets"), ("Connection", "Upgrade")], False),
        ([], False),
    ],
)
def test_websocket_upgrade_is_distinguished_from_page_request(headers, answer):
    """What is meant for a websocket is told from what is meant for a page."""
    assert is_upgrade(head_of(("Host", "h"), *headers)) is answer
