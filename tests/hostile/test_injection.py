"""CR, LF and NUL in anything that we send: it raises before a byte is written, and the connection is as it was."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trio

from hostile.arena import Arenas, echo
from hostile.attacker import TEXT, attack, close_frame, frames_of, request
from trio_ws import LocalProtocolError, Reject, Server, WebSocket, open_websocket
from trio_ws.handler.service import Response, Service
from trio_ws.http.request import Request
from trio_ws.transport.listeners import bind_tcp

BAD = ["a\r\nX-Injected: 1", "a\nb", "a\rb", "a\0b", "\r\n\r\nHTTP/1.1 200 OK", "a\x7fb", "a\x0bb", "☃"]
"""Values of headers: line ends, NUL, other controls, and what is not latin-1."""
BAD_NAMES = ["X Y", "X\r\nY", "X:", "", "X\0", "ü"]


async def refused(action: Any, *arguments: Any, error: type[Exception] = ValueError, **options: Any) -> None:
    with pytest.raises(error):
        await action(*arguments, **options)


async def test_bad_accept_headers_are_refused_and_good_accept_works(arenas: Arenas) -> None:
    """Bad headers of an accept are refused and a good accept still works."""

    async def handler(ws: WebSocket) -> None:
        for value in BAD:
            await refused(ws.accept, headers={"X-Bad": value})
            await refused(ws.accept, headers=[("Set-Cookie", value)])
            await refused(ws.accept, value, error=LocalProtocolError)
        for name in BAD_NAMES:
            await refused(ws.accept, headers={name: "x"})
        await ws.accept("good", headers={"X-Good": "yes"})
        await ws.send("clean")

    async with arenas.open(handler, auto_accept=False) as arena, arena.attack() as attacker:
        await attacker.send(request(("Sec-WebSocket-Protocol", "good")) + close_frame())
        answer = await attacker.answer()
        assert answer.status == 101
        assert set(answer.headers) == {
            "upgrade",
            "connection",
            "sec-websocket-accept",
            "sec-websocket-protocol",
            "x-good",
        }


async def test_bad_reject_headers_are_refused_and_good_reject_works(arenas: Arenas) -> None:
    """Bad headers of a reject are refused and a good reject still works."""

    async def handler(ws: WebSocket) -> None:
        for value in BAD:
            await refused(ws.reject, 403, headers={"X-Bad": value})
        for name in BAD_NAMES:
            await refused(ws.reject, 403, headers={name: "x"})
        for status in (0, 99, 101, 200, 600):
            await refused(ws.reject, status)
        await ws.reject(418, headers={"X-Good": "yes"}, body=b"\r\n\r\n\0")

    async with arenas.open(handler, auto_accept=False) as arena:
        answer = await arena.ask(request())
        assert answer.status == 418
        assert set(answer.headers) == {"x-good", "content-length", "connection"}
        assert answer.rest == b"\r\n\r\n\0"


async def test_bad_headers_of_a_raised_rejection_end_in_a_500(arenas: Arenas) -> None:
    """There is nobody to raise to any more: the client gets a clean 500, the log one record."""

    async def handler(ws: WebSocket) -> None:
        raise Reject(403, headers={"X-Bad": "a\r\nX-Injected: 1"})

    async with arenas.open(handler, auto_accept=False, errors=1) as arena:
        answer = await arena.ask(request())
        assert answer.status == 500
        assert "x-injected" not in answer.headers


async def test_rejection_that_http_does_not_allow_ends_in_a_500(arenas: Arenas) -> None:
    """A 304 has no body; whoever raises one with a body learns it from the log, and the server lives."""

    async def handler(ws: WebSocket) -> None:
        raise Reject(304, body=b"not modified")

    async with arenas.open(handler, auto_accept=False, errors=1) as arena:
        assert (await arena.ask(request())).status == 500


async def test_peer_text_that_is_sent_back_as_a_header_cannot_inject(arenas: Arenas) -> None:
    """The classic: a query parameter, decoded, put into a header."""

    async def handler(ws: WebSocket) -> None:
        await ws.accept(headers={"X-Echo": ws.query_parameters["q"]})

    async with arenas.open(handler, auto_accept=False, errors=1) as arena:
        answer = await arena.ask(request(line="GET /attack?q=a%0d%0aX-Injected:%201 HTTP/1.1"))
        assert answer.status == 500
        assert "x-injected" not in answer.headers


async def test_messages_may_hold_anything(arenas: Arenas) -> None:
    """Frames have no line ends to inject: CR, LF and NUL in messages and reasons pass."""

    async def handler(ws: WebSocket) -> None:
        await ws.send("\r\n\0")
        await ws.close(3000, "\r\n\0")

    async with arenas.open(handler) as arena, arena.websocket() as (attacker, rest):
        assert frames_of(await attacker.at_least(12, rest)) == [(TEXT, b"\r\n\0"), (8, b"\x0b\xb8\r\n\0")]


class Careless:
    """A responder whose answers cannot be sent, or that fails."""

    async def page(self, request: Request) -> Response:
        return Response(headers={"X-Echo": request.query_parameters["q"]})

    def route(self, request: Request) -> tuple[Request, Service] | Response:
        if request.path == "/echo":
            return request, Service(handler=echo)
        raise LookupError(request.path)


async def test_failing_responder_is_answered_500_and_server_goes_on(
    arenas: Arenas, caplog: pytest.LogCaptureFixture
) -> None:
    """A page whose header would inject, a route that raises: one record each, and a clean 500."""
    server = Server(Careless(), poller=arenas.poller)
    async with trio.open_nursery() as nursery:
        await nursery.start(server.serve, await bind_tcp("127.0.0.1", 0))
        async with open_websocket(f"ws://127.0.0.1:{server.port}/echo") as ws:
            page = b"GET /?q=a%0d%0aX-Injected:%201 HTTP/1.1\r\nHost: a\r\n\r\n"
            for data in (page, request()):
                async with attack(server.port) as attacker:
                    await attacker.send(data)
                    answer = await attacker.answer()
                assert answer.status == 500
                assert "x-injected" not in answer.headers
            await ws.send("still there?")
            assert await ws.receive() == "still there?"
        assert len([record for record in caplog.records if record.levelname == "ERROR"]) == 2
        nursery.cancel_scope.cancel()


# --- the client's side ---


@asynccontextmanager
async def silent_listener() -> AsyncIterator[tuple[str, list[bytes]]]:
    """Accept connections, and keep what comes; yield the URL and the bytes."""
    came: list[bytes] = []

    async def handle(stream: trio.SocketStream) -> None:
        while part := await stream.receive_some():
            came.append(part)

    async with trio.open_nursery() as nursery:
        listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
        nursery.start_soon(trio.serve_listeners, handle, listeners)
        yield f"127.0.0.1:{listeners[0].socket.getsockname()[1]}", came
        nursery.cancel_scope.cancel()


async def dial(url: str, **options: Any) -> None:
    async with open_websocket(url, **options):
        pass


@pytest.mark.parametrize("value", BAD)
async def test_client_refuses_to_send_a_bad_value(arenas: Arenas, value: str) -> None:
    """Headers, cookies, subprotocols, Origin: a ValueError, and the server has not received a byte."""
    async with arenas.open(), silent_listener() as (address, came):
        url = f"ws://{address}/"
        for options in (
            {"headers": {"X-Bad": value}},
            {"headers": [("Cookie", value)]},
            {"headers": {"Host": value}},
            {"cookies": {"session": value}},
            {"cookies": {value: "x"}},
            {"subprotocols": [value]},
            {"subprotocols": ["good", value]},
            {"origin": value},
        ):
            await refused(dial, url, poller=arenas.poller, **options)
        assert not came


@pytest.mark.parametrize("name", BAD_NAMES)
async def test_client_refuses_to_send_a_bad_name(arenas: Arenas, name: str) -> None:
    async with arenas.open(), silent_listener() as (address, came):
        for options in ({"headers": {name: "x"}}, {"cookies": {name: "x"}}, {"subprotocols": [name]}):
            if options == {"cookies": {"ü": "x"}}:
                continue
            await refused(dial, f"ws://{address}/", poller=arenas.poller, **options)
        assert not came


@pytest.mark.parametrize("path", ["/a\r\nX-Injected: 1", "/a?b=\r\nc", "/\0", "/a\nb", "/a b", "/a\tb"])
async def test_client_refuses_a_url_with_what_would_end_a_line(arenas: Arenas, path: str) -> None:
    """Also a space, which would end the request target."""
    async with arenas.open(), silent_listener() as (address, came):
        await refused(dial, f"ws://{address}{path}", poller=arenas.poller)
        assert not came
