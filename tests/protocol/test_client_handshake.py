"""The client's side of the opening handshake: what it sends, and which answers it takes."""

from __future__ import annotations

from itertools import pairwise
from unittest.mock import patch

import pytest
import wsproto.events
import wsproto.utilities
from hypothesis import given
from hypothesis import strategies as st
from wsproto.connection import ConnectionType
from wsproto.extensions import PerMessageDeflate
from wsproto.handshake import H11Handshake

from trio_ws.config import Limits
from trio_ws.errors import RemoteProtocolError
from trio_ws.http.parser import RequestParser, check_http
from trio_ws.http.response import response
from trio_ws.http.url import URL
from trio_ws.protocol.client_handshake import MAX_BODY, AcceptedHandshake, ClientHandshake, RejectedHandshake
from trio_ws.protocol.server_handshake import accept, read_upgrade
from trio_ws.testing.strategies import damaged

WHERE = URL.parse("ws://example.org/chat")


def request_of(handshake):
    return RequestParser(Limits()).feed(handshake.request())


def answer_to(handshake, **options):
    """A server's good answer."""
    head = request_of(handshake)
    check_http(head)
    return accept(read_upgrade(head), **{"subprotocol": None, "extensions": None, **options})


def altered(handshake, *lines, without=()):
    """A good answer with lines added, and without the headers of these names."""
    first, *headers = answer_to(handshake).decode().split("\r\n")[:-2]
    kept = [line for line in headers if line.split(":")[0].lower() not in without]
    return "\r\n".join([first, *kept, *lines, "", ""]).encode("latin-1")


# --- the request --------------------------------------------------------------------------------------------


def test_the_request_holds_what_the_server_needs():
    handshake = ClientHandshake(
        URL.parse("wss://example.org:8443/ch%20at?x=ö"),
        headers=[("X-A", "1"), ("X-A", "2")],
        subprotocols=["v2", "v1"],
        extensions="permessage-deflate; client_max_window_bits, permessage-deflate",
    )
    head = request_of(handshake)
    check_http(head)
    upgrade = read_upgrade(head)
    assert head.target == "/ch%20at?x=%C3%B6"
    assert head.headers["host"] == "example.org:8443"
    assert head.headers.get_list("x-a") == ["1", "2"]
    assert upgrade.subprotocols == ("v2", "v1")
    assert upgrade.extensions == "permessage-deflate; client_max_window_bits, permessage-deflate"
    assert "authorization" not in head.headers


def test_each_attempt_has_its_own_key():
    keys = {request_of(ClientHandshake(WHERE)).headers["sec-websocket-key"] for _ in range(3)}
    assert len(keys) == 3


@pytest.mark.parametrize(
    ("url", "host"),
    [
        ("ws://h:80/", "h"),
        ("wss://h:443/", "h"),
        ("wss://h:80/", "h:80"),
        ("ws://[::1]:8000/", "[::1]:8000"),
        ("ws://[::1]/", "[::1]"),
        ("ws://bücher.example/", "xn--bcher-kva.example"),
        (f"ws://{'a' * 63}:8000/", f"{'a' * 63}:8000"),
    ],
)
def test_the_host_header_has_brackets_and_no_default_port(url, host):
    assert request_of(ClientHandshake(URL.parse(url))).headers.get_list("host") == [host]


def test_a_host_of_ones_own_replaces_that_of_the_url():
    head = request_of(ClientHandshake(URL.parse("ws://127.0.0.1:9/"), headers={"HOST": "virtual.example"}))
    assert head.headers.get_list("host") == ["virtual.example"]


def test_userinfo_becomes_basic_auth_unless_header_is_given():
    """Username and password become basic authentication unless it is given."""
    url = URL.parse("ws://Aladdin:open%20sesame@h/")  # the example of RFC 7617
    assert request_of(ClientHandshake(url)).headers["authorization"] == "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ=="
    own = ClientHandshake(url, headers={"authorization": "Bearer x"})
    assert request_of(own).headers.get_list("authorization") == ["Bearer x"]
    assert request_of(ClientHandshake(URL.parse("ws://é@h/"))).headers["authorization"] == "Basic w6k6"


@pytest.mark.parametrize(
    ("headers", "problem"),
    [
        ({"X-Bad": "a\r\nb"}, "X-Bad"),
        ({"X-Bad": "\0"}, "X-Bad"),
        ({"X Bad": "1"}, "X Bad"),
        ({"Sec-WebSocket-Key": "x"}, "Sec-WebSocket-Key"),
        ({"upgrade": "h2c"}, "upgrade"),
        ({"Content-Length": "5"}, "Content-Length"),
        ({"Host": "a b"}, "Host"),
        ({"Host": "\xff"}, "Host"),
        ([("Host", "a"), ("host", "a")], "Host"),
    ],
)
def test_unsendable_headers_are_refused_before_sending(headers, problem):
    """Headers that cannot be sent are refused before anything is."""
    with pytest.raises(ValueError, match=problem):
        ClientHandshake(WHERE, headers=headers)


@pytest.mark.parametrize("subprotocols", [["two words"], [""], ["é"], ["a,b"], ["a\r\n"], ["a", "a"]])
def test_subprotocols_that_cannot_be_offered_are_refused(subprotocols):
    with pytest.raises(ValueError, match="subprotocol"):
        ClientHandshake(WHERE, subprotocols=subprotocols)


def test_one_string_is_no_list_of_subprotocols():
    with pytest.raises(TypeError, match="one string"):
        ClientHandshake(WHERE, subprotocols="chat")


# --- answers that open the connection -----------------------------------------------------------------------


def test_our_server_answer_is_accepted_and_trailing_bytes_kept():
    """Our server's answer is accepted and what is behind it is left over."""
    handshake = ClientHandshake(WHERE, subprotocols=["a", "b"], extensions="permessage-deflate")
    agreed = "permessage-deflate; server_max_window_bits=12"
    data = answer_to(handshake, subprotocol="b", extensions=agreed, headers={"X": "1"})
    answer = handshake.feed(data + b"\x81\x02hi")
    assert isinstance(answer, AcceptedHandshake)
    assert (answer.subprotocol, answer.extensions, answer.headers["x"]) == ("b", agreed, "1")
    assert handshake.leftover == b"\x81\x02hi"


def test_an_answer_without_subprotocol_and_extension():
    handshake = ClientHandshake(WHERE, subprotocols=["a"], extensions="permessage-deflate")
    answer = handshake.feed(answer_to(handshake))
    assert (answer.subprotocol, answer.extensions) == (None, "")


def test_wsprotos_server_answers_our_request():
    handshake = ClientHandshake(WHERE, subprotocols=["a", "b"], extensions="permessage-deflate")
    server = H11Handshake(ConnectionType.SERVER)
    server.receive_data(handshake.request())
    request = next(server.events())
    assert (request.host, request.target, request.subprotocols) == ("example.org", "/chat", ["a", "b"])
    answer = handshake.feed(
        server.send(wsproto.events.AcceptConnection(subprotocol="a", extensions=[PerMessageDeflate()]))
    )
    assert (answer.subprotocol, answer.extensions) == ("a", "permessage-deflate")


def test_informational_responses_are_skipped():
    handshake = ClientHandshake(WHERE)
    early = b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\nHTTP/1.1 100 Continue\r\n\r\n"
    assert isinstance(handshake.feed(early + answer_to(handshake)), AcceptedHandshake)


def test_but_not_for_ever():
    handshake = ClientHandshake(WHERE)
    with pytest.raises(RemoteProtocolError, match="informational"):
        handshake.feed(b"HTTP/1.1 100 Continue\r\n\r\n" * 17)


def test_the_cases_of_names_and_values_do_not_matter():
    handshake = ClientHandshake(WHERE)
    data = altered(
        handshake, "UPGRADE: WebSocket", "connection: keep-alive, UPGRADE", without=["upgrade", "connection"]
    )
    assert isinstance(handshake.feed(data), AcceptedHandshake)


# --- answers that break a rule ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("lines", "without", "problem"),
    [
        ([], ["upgrade"], "Upgrade"),
        (["Upgrade: h2c"], ["upgrade"], "Upgrade"),
        (["Upgrade: \xff"], ["upgrade"], "Upgrade"),
        (["Upgrade: websocket"], [], "upgrade occurs"),
        ([], ["connection"], "Connection"),
        (["Connection: close"], ["connection"], "Connection"),
        ([], ["sec-websocket-accept"], "accept token"),
        (["Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo="], ["sec-websocket-accept"], "accept token"),
        (["Sec-WebSocket-Accept: \xff"], ["sec-websocket-accept"], "printable ASCII"),
        (["Sec-WebSocket-Accept: x"], [], "occurs more than once"),
        (["Sec-WebSocket-Protocol: c"], [], "subprotocol"),
        (["Sec-WebSocket-Protocol:"], [], "subprotocol"),
        (["Sec-WebSocket-Protocol: a, b"], [], "subprotocol"),
        (["Sec-WebSocket-Protocol: a", "Sec-WebSocket-Protocol: a"], [], "occurs more than once"),
        (["Sec-WebSocket-Protocol: \xe9"], [], "printable ASCII"),
        (["Sec-WebSocket-Extensions: permessage-deflate"], [], "none was offered"),
        (["Sec-WebSocket-Extensions: \x01"], [], "printable ASCII"),
        (["Folded: a", " b"], [], "folded"),
        (["no colon"], [], "malformed"),
    ],
)
def test_a_101_that_breaks_a_rule_is_refused(lines, without, problem):
    handshake = ClientHandshake(WHERE, subprotocols=["a", "b"])
    with pytest.raises(RemoteProtocolError, match=problem):
        handshake.feed(altered(handshake, *lines, without=without))


@pytest.mark.parametrize(
    "data",
    [
        b"SSH-2.0-x\r\n",
        b"\x15\x03\x01",
        b"HTTP/2.0 200 OK\r\n\r\n",
        b"HTTP/1.1 abc\r\n\r\n",
        b"HTTP/1.1 000 x\r\n\r\n",
        b"HTTP/1.1 403 x\r\nContent-Length: a\r\n\r\n",
        b"HTTP/1.1 403 x\r\nTransfer-Encoding: gzip\r\n\r\n",
        b"\r\n",
    ],
)
def test_what_is_no_http_response_is_refused(data):
    with pytest.raises(RemoteProtocolError, match="malformed"):
        ClientHandshake(WHERE).feed(data)


def test_http_1_0_cannot_switch_protocols():
    handshake = ClientHandshake(WHERE)
    with pytest.raises(RemoteProtocolError, match="HTTP version"):
        handshake.feed(answer_to(handshake).replace(b"HTTP/1.1", b"HTTP/1.0"))


@pytest.mark.parametrize(
    "data",
    [
        b"HTTP/1.1 " + b"2" * 9000,
        b"HTTP/1.1 403 x\r\nX: " + b"a" * 9000,
        b"HTTP/1.1 403 x\r\n" + b"a: b\r\n" * 101,
    ],
)
def test_the_limits_of_a_head_hold_for_answers_too(data):
    with pytest.raises(RemoteProtocolError, match="malformed answer"):
        ClientHandshake(WHERE).feed(data)


@pytest.mark.parametrize("data", [b"", b"HT", b"HTTP/1.1 101 x\r\n", b"HTTP/1.1 100 x\r\n\r\n"])
def test_an_end_before_the_answer_is_an_error(data):
    handshake = ClientHandshake(WHERE)
    if data:
        assert handshake.feed(data) is None
    with pytest.raises(RemoteProtocolError, match="before it answered"):
        handshake.feed(b"")


# --- refusals -----------------------------------------------------------------------------------------------


def test_a_refusal_comes_with_status_headers_and_body():
    answer = ClientHandshake(WHERE).feed(response(403, {"X": "1"}, b"not you"))
    assert isinstance(answer, RejectedHandshake)
    assert (answer.status, answer.headers["x"], answer.body) == (403, "1", b"not you")


def test_a_body_may_come_later_and_in_pieces():
    handshake = ClientHandshake(WHERE)
    data = response(500, (), b"sorry")
    assert [handshake.feed(data[at : at + 1]) for at in range(len(data) - 1)] == [None] * (len(data) - 1)
    assert handshake.feed(memoryview(data)[-1:]).body == b"sorry"


def test_a_chunked_body_is_put_together():
    data = b"HTTP/1.1 404 x\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n1\r\nc\r\n0\r\n\r\n"
    assert ClientHandshake(WHERE).feed(data).body == b"abc"


def test_a_body_that_ends_with_the_connection_ends_with_it():
    handshake = ClientHandshake(WHERE)
    assert handshake.feed(b"HTTP/1.0 502 Bad Gateway\r\n\r\n") is None
    assert handshake.feed(b"some text") is None
    assert handshake.feed(b"").body == b"some text"


def test_a_body_that_is_cut_off_ends_there():
    """The status is the answer, such as a 401 that is not to be tried again."""
    handshake = ClientHandshake(WHERE)
    assert handshake.feed(response(500, (), b"sorry")[:-1]) is None
    refusal = handshake.feed(b"")
    assert (refusal.status, refusal.body) == (500, b"sorr")


def test_a_malformed_body_ends_before_it():
    data = b"HTTP/1.1 403 x\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nno\r\nzz\r\n"
    refusal = ClientHandshake(WHERE).feed(data)
    assert (refusal.status, refusal.body) == (403, b"no")


@pytest.mark.parametrize("status", [200, 204, 302, 304, 599])
def test_any_other_status_is_a_refusal(status):
    assert ClientHandshake(WHERE).feed(response(status)).status == status


def test_of_an_endless_body_64_kib_are_kept():
    handshake = ClientHandshake(WHERE)
    assert handshake.feed(b"HTTP/1.1 403 x\r\n\r\n" + b"a" * (MAX_BODY - 1)) is None
    assert handshake.feed(b"b" * 1000).body == b"a" * (MAX_BODY - 1) + b"b"


# --- arbitrary answers --------------------------------------------------------------------------------------

PIECES = st.sampled_from(
    [
        b"\r\n",
        b"\n",
        b"\r",
        b" ",
        b":",
        b",",
        b"HTTP/1.1 101 ",
        b"HTTP/1.1 403 x\r\n",
        b"HTTP/1.1 100 x",
        b"HTTP/1.0",
        b"\r\n\r\n",
        b"\xff",
        b"\x00",
        b"3\r\nabc\r\n",
        b"0\r\n\r\n",
        b"Upgrade: websocket\r\n",
        b"Connection: upgrade\r\n",
        b"Sec-WebSocket-Accept: x\r\n",
        b"Sec-WebSocket-Protocol: a\r\n",
        b"Sec-WebSocket-Extensions: x\r\n",
        b"Content-Length: 3\r\n",
        b"Transfer-Encoding: chunked\r\n",
    ]
)


def outcome(handshake, data, cuts=()):
    """What comes of `data` cut at `cuts`, and the end: an answer and what is behind it, or an error."""
    edges = [0, *sorted({cut % (len(data) + 1) for cut in cuts} - {0, len(data)}), len(data)]
    try:
        for begin, end in pairwise(edges):
            if begin < end and (answer := handshake.feed(data[begin:end])) is not None:
                return (answer, handshake.leftover + data[end:]) if isinstance(answer, AcceptedHandshake) else answer
        return handshake.feed(b"")
    except RemoteProtocolError as error:
        return str(error)


def fixed_handshake():
    """A handshake with the key of RFC 6455 1.3, so that two of them take the same answer."""
    with patch("wsproto.handshake.generate_nonce", return_value=b"dGhlIHNhbXBsZSBub25jZQ=="):
        return ClientHandshake(WHERE, subprotocols=["a"])


ALTERED = damaged(answer_to(fixed_handshake(), subprotocol="a") + b"frames", max_changes=4, pieces=PIECES)
MESSY = st.lists(PIECES | st.binary(max_size=4), max_size=14).map(b"".join)


@given(ALTERED | MESSY, st.lists(st.integers(0, 300), max_size=5))
def test_arbitrary_bytes_cut_anywhere_give_answer_or_error(data, cuts):
    """Any bytes give one answer or RemoteProtocolError wherever they are cut."""
    whole = outcome(fixed_handshake(), data)
    if isinstance(whole, str):
        assert whole.isascii()
        assert whole.isprintable()
        assert isinstance(outcome(fixed_handshake(), data, cuts), str)
    else:
        assert outcome(fixed_handshake(), data, cuts) == whole
        assert outcome(fixed_handshake(), data, range(len(data))) == whole
