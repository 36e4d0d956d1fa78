"""A server and clients without the application layer, for the type checkers. `test_usage` runs them."""
# pyright: strict

from collections.abc import AsyncIterator
from typing import Any, assert_type

import trio

from trio_ws import (
    BackoffSettings,
    CloseCode,
    CloseInfo,
    Compression,
    ConnectionRejected,
    Headers,
    Limits,
    Reject,
    Server,
    SocketAddress,
    Timeouts,
    UnexpectedMessage,
    WebSocket,
    WebSocketDisconnect,
    WebSocketMessage,
    open_websocket,
    reconnect,
    serve_websocket,
)


async def echo(ws: WebSocket) -> None:
    """Iterate, and answer in kind."""
    assert_type(ws.headers, Headers)
    assert_type(ws.query_parameters.get("name"), str | None)
    assert_type(ws.client, SocketAddress | str | None)
    if isinstance(ws.client, SocketAddress):
        assert_type(ws.client.port, int)
    async for message in ws:
        await ws.send(message)


async def greet(ws: WebSocket) -> None:
    """Answer the handshake by hand, with a part of the work in the connection's nursery."""
    if ws.request.method != "GET":
        raise Reject(405, headers={"Allow": "GET"})
    await ws.accept("greeting", headers=[("X-Greeting", "yes")])
    ws.nursery.start_soon(ws.send_text, "hello")
    try:
        assert_type(await ws.receive_text(), str)
    except UnexpectedMessage as error:
        assert_type(error.message, str | bytes)
        await ws.close(CloseCode.UNSUPPORTED_DATA, "text, please")


async def describe(ws: WebSocket) -> None:
    """Look at messages with their kinds, and at the parts of one."""
    message = await ws.recv()
    assert_type(message, WebSocketMessage | None)
    if message is not None and message.is_text():
        assert_type(message.text, str | None)
        assert_type(message.data, bytes | None)
        await ws.send(WebSocketMessage.text(f"you said {message.text}"))
    async for part in ws.receive_stream():
        assert_type(part, str | bytes)
    await ws.send_stream(_letters())
    await ws.send_json({"seconds": await ws.ping()})


async def _letters() -> AsyncIterator[str]:
    for letter in "abc":
        yield letter


async def note_end(ws: WebSocket, code: int) -> None:
    """Be told of the end."""
    assert_type(ws.close_info, CloseInfo | None)


async def run_server(nursery: trio.Nursery) -> Server:
    """Start a server, with many options."""
    server: Server = await nursery.start(serve_websocket, echo, "127.0.0.1", 0)
    assert_type(server.urls, tuple[str, ...])
    assert_type(server.statistics().connections, int)
    return server


async def serve_with_options() -> None:
    """Serve until cancelled."""
    await serve_websocket(
        describe,
        uds="/tmp/example.sock",
        limits=Limits(max_message_size=1_000_000),
        timeouts=Timeouts(idle_timeout=60),
        compression=Compression(),
        origins=["https://example.com"],
        on_disconnect=note_end,
    )


async def exchange(url: str) -> Any:
    """Connect once."""
    try:
        async with open_websocket(url, headers={"X-Token": "t"}, subprotocols=["v1"], receive_type="json") as ws:
            assert_type(ws, WebSocket)
            assert_type(ws.subprotocol, str | None)
            await ws.send_bytes(memoryview(b"[1]"))
            return await ws.receive()
    except ConnectionRejected as error:
        assert_type(error.status, int)
        assert_type(error.headers, Headers)
    except WebSocketDisconnect as error:
        assert_type(error.code, int)
        assert_type(error.reason, str)


async def follow(url: str, send: trio.MemorySendChannel[str]) -> None:
    """Connect again and again."""
    async for connection in reconnect(url, backoff=BackoffSettings()):
        async with connection as ws:
            assert_type(ws, WebSocket)
            while True:
                await send.send(await ws.receive_text())
