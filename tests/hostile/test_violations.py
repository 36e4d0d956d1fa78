"""Peers that break RFC 6455's framing: a close frame that says which rule, then the end of that connection alone."""

from __future__ import annotations

import zlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial

import pytest
import trio

from hostile.arena import Arenas, sees_end, until
from hostile.attacker import MASK, TEXT, Attacker, close_codes, frame
from hostile.violations import compressed_violations, violations
from trio_ws import Limits, WebSocket, WebSocketDisconnect, open_websocket
from trio_ws.protocol.decoder import Decoder

OFFER = ("Sec-WebSocket-Extensions", "permessage-deflate")
AGREED = "Sec-WebSocket-Extensions: permessage-deflate; server_no_context_takeover; client_no_context_takeover"
CUTS = [1 << 20, 1]
"""Bytes in a packet: whole, and one by one."""


@pytest.mark.parametrize("cut", CUTS, ids=["whole", "bytewise"])
@pytest.mark.parametrize("compression", [False, True], ids=["plain", "deflate"])
async def test_server_ends_connection_of_client_on_protocol_error(arenas: Arenas, compression: bool, cut: int) -> None:
    """The message before it is answered, a close frame names the code, handler and on_disconnect see the same."""
    ends: dict[str, list[int]] = {}
    names: dict[int, str] = {}

    async def note(ws: WebSocket) -> None:
        name = names[id(ws)] = str(await ws.receive())
        await ws.send(name)
        await sees_end(ws, ends.setdefault(name, []))

    cases = compressed_violations(MASK) if compression else violations(MASK)
    async with arenas.open(note, compression=compression) as arena:

        async def violate(name: str, code: int, data: bytes) -> None:
            async with arena.websocket(*[OFFER] * compression) as (attacker, rest):
                await attacker.send(frame(TEXT, name.encode()))
                begun = await attacker.at_least(1, rest)
                for start in range(0, len(data), cut):
                    if not await attacker.send(data[start : start + cut]):
                        break
                    if cut == 1:
                        await trio.lowlevel.checkpoint()
                frames = await attacker.frames(begun)
            assert frames[0] == (TEXT, name.encode()), name
            assert close_codes(frames) == [code], name

        async with trio.open_nursery() as nursery:
            for name, (code, data) in cases.items():
                nursery.start_soon(violate, name, code, data)
        await until(lambda: len(arena.ended) == len(cases))
        assert ends == {name: [code] for name, (code, _) in cases.items()}
        assert {names[id(ws)]: [code] for ws, code in arena.ended} == ends


async def test_what_comes_behind_a_violation_is_dropped(arenas: Arenas) -> None:
    """No message after the breach reaches the handler, however much is sent."""
    received: list[object] = []
    ends: list[int] = []

    async with arenas.open(lambda ws: sees_end(ws, ends, received)) as arena:
        async with arena.websocket() as (attacker, _):
            await attacker.send(frame(TEXT, b"before") + b"\xff\x00" + frame(TEXT, b"after") * 1000)
            for _ in range(20):
                if not await attacker.send(frame(TEXT, b"after") * 1000):
                    break
            await attacker.rest()
        await arena.all_gone()
    assert received == ["before"]
    assert ends == [1002]


async def test_too_large_a_message_is_refused_on_its_header_alone(arenas: Arenas) -> None:
    """1009 comes without a byte of payload; a message of exactly the limit passes."""
    async with arenas.open(limits=Limits(max_message_size=1000)) as arena:
        async with arena.websocket() as (attacker, rest):
            await attacker.send(frame(TEXT, b"a" * 1000) + frame(TEXT, b"a" * 1001)[:8])
            frames = await attacker.frames(rest)
        assert close_codes(frames) == [1009]
        assert (TEXT, b"a" * 1000) in frames or len(frames) == 1


async def test_client_that_never_ends_after_a_violation_is_aborted(arenas: Arenas) -> None:
    """It has a short time to read why; then the connection ends without its help."""
    async with arenas.open() as arena, arena.websocket() as (attacker, _):
        await attacker.send(b"\xff\xff")
        began = trio.current_time()
        await arena.all_gone()
        assert trio.current_time() - began < 3


# --- the other side: a hostile server, and a client of ours ---


@asynccontextmanager
async def hostile_server(data: bytes, seen: list[bytes], *extra: str, cut: int = 1 << 20) -> AsyncIterator[str]:
    """Answer 101, say `data`, and keep all that comes; yield the URL."""
    answer = [
        "HTTP/1.1 101 Switching Protocols",
        "Upgrade: websocket",
        "Connection: Upgrade",
        *extra,
    ]

    async def handle(stream: trio.SocketStream) -> None:
        peer = Attacker(stream)
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            part = await peer.receive()
            assert part
            head += part
        await peer.send("\r\n".join([*answer, f"Sec-WebSocket-Accept: {_token(head)}", "", ""]).encode())
        for start in range(0, len(data), cut):
            await peer.send(data[start : start + cut])
        seen.append(await peer.rest())

    async with trio.open_nursery() as nursery:
        listeners = await nursery.start(partial(trio.serve_tcp, handle, 0, host="127.0.0.1"))
        yield f"ws://127.0.0.1:{listeners[0].socket.getsockname()[1]}"
        await until(lambda: seen)
        nursery.cancel_scope.cancel()


def _token(head: bytes) -> str:
    from wsproto.utilities import generate_accept_token

    key = next(line.split(b": ")[1] for line in head.split(b"\r\n") if line.lower().startswith(b"sec-websocket-key"))
    return generate_accept_token(key).decode()


def _close_codes_of_a_client(data: bytes) -> list[int]:
    items: list[object] = []
    decoder = Decoder(client=False, max_message_size=1 << 20, max_fragments=10)
    decoder.decode(data, items, 1000, 1 << 20)
    return [item.code for item in items if hasattr(item, "code")]


@pytest.mark.parametrize("cut", CUTS, ids=["whole", "bytewise"])
@pytest.mark.parametrize("compression", [False, True], ids=["plain", "deflate"])
async def test_client_ends_connection_to_server_on_protocol_error(arenas: Arenas, compression: bool, cut: int) -> None:
    """Masked frames from a server are a breach, and so is all that a client may not do either."""
    cases = compressed_violations(None) if compression else violations(None)
    agreed = [AGREED] * compression
    hello = b"\x81\x05first"

    async def meet(name: str, code: int, data: bytes) -> None:
        seen: list[bytes] = []
        ends: list[int] = []
        async with (
            hostile_server(hello + data, seen, *agreed, cut=cut) as url,
            open_websocket(url, poller=arenas.poller, compression=compression, caught_close_codes=all) as ws,
        ):
            assert await ws.receive() == "first", name
            await sees_end(ws, ends)
            assert ends == [code], name
        assert _close_codes_of_a_client(seen[0]) == [code], name

    async with arenas.open() as arena:
        with trio.fail_after(60):
            async with trio.open_nursery() as nursery:
                for name, (code, data) in cases.items():
                    nursery.start_soon(meet, name, code, data)
        assert arena.canary.trips


async def test_bomb_from_a_server_ends_the_client_with_1009(arenas: Arenas) -> None:
    deflate = zlib.compressobj(9, zlib.DEFLATED, -15)
    bomb = deflate.compress(bytes(5_000_000)) + deflate.flush(zlib.Z_SYNC_FLUSH)[:-4]
    data = b"\xc2\x7e" + len(bomb).to_bytes(2) + bomb if len(bomb) < 65536 else b""
    assert data
    seen: list[bytes] = []
    async with arenas.open(), hostile_server(data, seen, AGREED) as url:
        async with open_websocket(url, poller=arenas.poller, compression=True, caught_close_codes=all) as ws:
            with pytest.raises(WebSocketDisconnect) as caught, trio.fail_after(5):
                await ws.receive()
        assert caught.value.code == 1009
