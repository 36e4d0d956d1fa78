"""`serve_messages`: a server whose connections call a plain function with each message."""

from __future__ import annotations

import logging

import pytest
import trio

from trio_ws import WebSocket, WebSocketDisconnect, WebSocketException, open_websocket, serve_messages


async def wait(ws: WebSocket, message: object) -> None: ...


@pytest.mark.parametrize("given", [wait, "text", None])
async def test_what_would_wait_is_refused(given: object) -> None:
    with pytest.raises(TypeError, match="on_message takes a plain function"):
        await serve_messages(given, "127.0.0.1", 0)  # type: ignore[arg-type]


async def test_options_that_make_no_sense_are_refused() -> None:
    with pytest.raises(ValueError, match="when_full"):
        await serve_messages(print, "127.0.0.1", 0, when_full="drop")  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="no option 'unknown'"):
        await serve_messages(print, "127.0.0.1", 0, unknown=1)


@pytest.mark.parametrize(("error", "code"), [(WebSocketException(4003, "why"), 4003), (KeyError("x"), 1011)])
async def test_an_error_closes_with_the_code_of_a_handlers(
    error: Exception, code: int, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(ws: WebSocket, message: object) -> None:
        ws.offer("one moment")
        raise error

    caplog.set_level(logging.CRITICAL, "trio_ws")
    async with trio.open_nursery() as nursery:
        server = await nursery.start(serve_messages, refuse, "127.0.0.1", 0)
        async with open_websocket(f"ws://127.0.0.1:{server.port}") as ws:
            await ws.send("a")
            assert await ws.receive() == "one moment"
            with pytest.raises(WebSocketDisconnect) as caught:
                await ws.receive()
            assert caught.value.code == code
        nursery.cancel_scope.cancel()


async def test_many_messages_are_answered_in_order() -> None:
    async with trio.open_nursery() as nursery:
        server = await nursery.start(serve_messages, WebSocket.offer, "127.0.0.1", 0)
        async with open_websocket(f"ws://127.0.0.1:{server.port}") as ws:
            for number in range(500):
                await ws.send(str(number))
            for number in range(500):
                assert await ws.receive() == str(number)
        nursery.cancel_scope.cancel()
