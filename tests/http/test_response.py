"""Whole responses: what a client reads of them."""

from __future__ import annotations

import h11
import pytest

from trio_ws.http.response import response


def read(data, method="GET"):
    """The response as h11 reads it, its body, and whether the connection ends with it."""
    client = h11.Connection(h11.CLIENT)
    client.send(h11.Request(method=method, target="/", headers=[("Host", "x")]))
    client.send(h11.EndOfMessage())
    client.receive_data(data)
    head, body = client.next_event(), b""
    while isinstance(event := client.next_event(), h11.Data):
        body += event.data
    assert isinstance(event, h11.EndOfMessage)
    assert client.trailing_data[0] == b""
    return head, body, client.their_state is h11.MUST_CLOSE


def test_a_response_has_a_length_a_reason_and_closes():
    head, body, closes = read(response(403, {"Content-Type": "text/plain"}, b"no"))
    assert (head.status_code, head.reason, body) == (403, b"Forbidden", b"no")
    assert list(head.headers)[:2] == [(b"content-type", b"text/plain"), (b"content-length", b"2")]
    assert closes


def test_an_empty_response_says_so():
    head, body, _ = read(response(503, [("Retry-After", "1")]))
    assert (b"content-length", b"0") in list(head.headers)
    assert body == b""


def test_head_response_has_content_length_but_no_body():
    """The answer to head has the length of the body but not the body."""
    head, body, _ = read(response(200, (), b"12345", head_only=True), method="HEAD")
    assert (b"content-length", b"5") in list(head.headers)
    assert body == b""


@pytest.mark.parametrize("status", [204, 304])
def test_a_status_without_a_body_has_no_length(status):
    head, _, _ = read(response(status))
    assert b"content-length" not in dict(head.headers)
    with pytest.raises(ValueError, match="no body"):
        response(status, (), b"x")


def test_upgrade_is_named_in_connection():
    head, _, _ = read(response(426, [("Upgrade", "websocket")]))
    options = [value.lower() for name, value in head.headers if name == b"connection"]
    assert b"upgrade" in b", ".join(options).split(b", ")
    assert b"close" in b", ".join(options).split(b", ")


def test_a_status_without_a_name_has_an_empty_reason():
    head, _, _ = read(response(599))
    assert (head.status_code, head.reason) == (599, b"")


@pytest.mark.parametrize("status", [0, 101, 199, 600])
def test_no_status_out_of_range(status):
    with pytest.raises(ValueError, match="from 200 to 599"):
        response(status)


@pytest.mark.parametrize(
    "header",
    [
        ("Content-Length", "7"),
        ("connection", "keep-alive"),
        ("Transfer-Encoding", "chunked"),
        ("X", "a\r\nb"),
    ],
)
def test_headers_that_frame_the_response_or_break_it_are_refused(header):
    with pytest.raises(ValueError, match=header[0]):
        response(200, [header])
