"""The checks of openings, each with heads that pass and heads that do not."""

from __future__ import annotations

import base64

import pytest

from trio_ws.conformance.finding import Finding
from trio_ws.conformance.opening import OpeningHead, accept_token
from trio_ws.conformance.opening_checks import REQUEST_CHECKS, RESPONSE_CHECKS, check_response

KEY = base64.b64encode(bytes(range(16))).decode()
GET = "GET / HTTP/1.1"
PROTOCOL = "sec-websocket-protocol"
EXTENSIONS = "sec-websocket-extensions"
ANSWER = {"upgrade": "websocket", "connection": "Upgrade", "sec-websocket-accept": accept_token(KEY)}


def head_of(line, *fields):
    return OpeningHead(line, tuple(fields))


RIGHT = {
    "GET": [head_of(GET), head_of("GET /a?b HTTP/1.1")],
    "target": [head_of(GET), head_of("GET /a?b HTTP/1.1")],
    "Host": [head_of(GET, ("host", "a"))],
    "Host first": [head_of(GET, ("host", "a"), ("upgrade", "websocket"))],
    "Upgrade": [head_of(GET, ("upgrade", "WebSocket")), head_of(GET, ("upgrade", "a, websocket"))],
    "Connection": [head_of(GET, ("connection", "keep-alive, Upgrade"))],
    "key": [head_of(GET, ("sec-websocket-key", KEY))],
    "version": [head_of(GET, ("sec-websocket-version", "13"))],
    "no accept": [head_of(GET)],
    "no body": [head_of(GET), head_of(GET, ("content-length", "0"))],
    "subprotocols": [head_of(GET), head_of(GET, (PROTOCOL, "a, b"))],
    "extensions": [head_of(GET), head_of(GET, (EXTENSIONS, "a, permessage-deflate; client_max_window_bits"))],
    "no content": [head_of("HTTP/1.1 101 So")],
    "HTTP/1.1": [head_of("HTTP/1.1 101 So")],
    "names versions": [head_of("HTTP/1.1 426 So", ("sec-websocket-version", "8, 13"))],
    "allow": [head_of("HTTP/1.1 405 So", ("allow", "GET")), head_of("HTTP/1.1 404 So")],
}
WRONG = {
    "GET": [head_of("POST / HTTP/1.1"), head_of("GET / HTTP/1.0"), head_of("GET  / HTTP/1.1"), head_of("GET /")],
    "target": [head_of("GET a HTTP/1.1"), head_of("GET http://a/ HTTP/1.1"), head_of("GET /#a HTTP/1.1")],
    "Host": [head_of(GET), head_of(GET, ("host", "")), head_of(GET, ("host", "a"), ("host", "a"))],
    "Host first": [head_of(GET, ("upgrade", "websocket"), ("host", "a"))],
    "Upgrade": [head_of(GET), head_of(GET, ("upgrade", "websocket2"))],
    "Connection": [head_of(GET), head_of(GET, ("connection", "upgrades"))],
    "key": [
        head_of(GET),
        head_of(GET, ("sec-websocket-key", KEY), ("sec-websocket-key", KEY)),
        head_of(GET, ("sec-websocket-key", base64.b64encode(bytes(15)).decode())),
        head_of(GET, ("sec-websocket-key", base64.b64encode(bytes(17)).decode())),
        head_of(GET, ("sec-websocket-key", KEY[:-1])),
        head_of(GET, ("sec-websocket-key", f"{'A' * 21}B==")),
    ],
    "version": [head_of(GET), head_of(GET, ("sec-websocket-version", "8, 13"))],
    "no accept": [head_of(GET, ("sec-websocket-accept", accept_token(KEY)))],
    "no body": [
        head_of(GET, ("content-length", "1")),
        head_of(GET, ("transfer-encoding", "chunked")),
        head_of(GET, ("content-length", "0"), ("transfer-encoding", "chunked")),
    ],
    "subprotocols": [head_of(GET, (PROTOCOL, "a, a")), head_of(GET, (PROTOCOL, "a b")), head_of(GET, (PROTOCOL, " "))],
    "extensions": [head_of(GET, (EXTENSIONS, "permessage-deflate; x")), head_of(GET, (EXTENSIONS, "a;"))],
    "no content": [
        head_of("HTTP/1.1 101 So", ("content-length", "0")),
        head_of("HTTP/1.1 101 So", ("transfer-encoding", "chunked")),
    ],
    "HTTP/1.1": [head_of("HTTP/1.0 101 So")],
    "names versions": [head_of("HTTP/1.1 426 So"), head_of("HTTP/1.1 426 So", ("sec-websocket-version", "8"))],
    "allow": [head_of("HTTP/1.1 405 So")],
}
CHECKS = {**REQUEST_CHECKS, **RESPONSE_CHECKS}


def test_each_check_has_right_and_wrong_heads():
    assert RIGHT.keys() == WRONG.keys() == CHECKS.keys()


@pytest.mark.parametrize("name", CHECKS)
def test_right_heads_pass_and_wrong_heads_do_not(name):
    for head in RIGHT[name]:
        CHECKS[name](head)
    for head in WRONG[name]:
        with pytest.raises(Finding):
            CHECKS[name](head)


@pytest.mark.parametrize(
    ("change", "section"),
    [
        ({}, None),
        ({"upgrade": "WebSocket", PROTOCOL: "b", EXTENSIONS: "y, x"}, None),
        ({"upgrade": "websocket2"}, "RFC 6455 4.2.2"),
        ({"connection": "close"}, "RFC 6455 4.2.2"),
        ({"sec-websocket-accept": KEY}, "RFC 6455 4.2.2"),
        ({PROTOCOL: "c"}, "RFC 6455 4.2.2"),
        ({EXTENSIONS: "z"}, "RFC 6455 9.1"),
        ({EXTENSIONS: "x, x"}, "RFC 7692 5.1"),
    ],
    ids=str,
)
def test_a_response_is_checked_as_by_a_client(change, section):
    head = OpeningHead("HTTP/1.1 101 So", tuple({**ANSWER, **change}.items()))
    if section is None:
        check_response(head, KEY, ["x", "y"], ["a", "b"])
        return
    with pytest.raises(Finding) as caught:
        check_response(head, KEY, ["x", "y"], ["a", "b"])
    assert caught.value.section == section
