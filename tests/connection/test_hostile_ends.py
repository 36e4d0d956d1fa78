"""Peers that are slow, silent or rude at the end of a connection, on sockets of every kind, from both sides."""

from __future__ import annotations

import os
import socket
import struct
import sys
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

import pytest
import trio
from support.tls import contexts, tls_over
from trio.testing import MockClock
from wsproto.utilities import generate_accept_token

from contracts.rig import read_head, request, status_of
from trio_ws import Timeouts, WebSocket, open_websocket, serve_websocket
from trio_ws.listening import bind_tcp, bind_unix

KINDS = ["poller", "poller-tls", "stream", "stream-tls", "poller-unix", "stream-unix"]
TIMES = Timeouts(ping_interval=None, close_timeout=2.0, send_timeout=4.0, delivery_timeout=30.0, shutdown_grace=0.1)
LONG = 150.0


@pytest.fixture
def clock() -> MockClock:
    return MockClock(autojump_threshold=0.02)


@pytest.fixture(params=[f"{kind}-{side}" for kind in KINDS for side in ("server", "client")])
def end(request: pytest.FixtureRequest) -> End:
    kind, side = request.param.rsplit("-", 1)
    return End(kind, side)


class Raw:
    def __init__(self, stream: Any, sock: Any, early: bytes, client: bool) -> None:
        self.stream, self.sock, self.client = stream, sock, client
        self.buffer = early
        self.eof: str | None = None

    async def some(self, size: int) -> int:
        if self.eof is None:
            try:
                data = await self.stream.receive_some(size)
            except trio.BrokenResourceError:
                self.eof = "reset"
                return 0
            if not data:
                self.eof = "eof"
            self.buffer += data
            return len(data)
        return 0

    def frame(self, opcode: int, payload: bytes) -> bytes:
        mask = 0x80 if self.client else 0
        size = len(payload)
        if size < 126:
            head = bytes([0x80 | opcode, mask | size])
        elif size < 65536:
            head = struct.pack("!BBH", 0x80 | opcode, mask | 126, size)
        else:
            head = struct.pack("!BBQ", 0x80 | opcode, mask | 127, size)
        return head + (bytes(4) if mask else b"") + payload

    async def send(self, opcode: int, payload: bytes) -> bool:
        try:
            await self.stream.send_all(self.frame(opcode, payload))
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            return False
        return True

    def frames(self) -> list[tuple[int, bytes]]:
        found, data = [], self.buffer
        while len(data) >= 2:
            size, at = data[1] & 127, 2
            if size == 126:
                if len(data) < 4:
                    break
                size, at = int.from_bytes(data[2:4], "big"), 4
            elif size == 127:
                if len(data) < 10:
                    break
                size, at = int.from_bytes(data[2:10], "big"), 10
            key = b""
            if data[1] & 128:
                key = data[at : at + 4]
                at += 4
            if len(data) < at + size:
                break
            payload = data[at : at + size]
            if key and data[0] & 15 >= 8:
                payload = bytes(b ^ key[i % 4] for i, b in enumerate(payload))
            found.append((data[0] & 15, payload))
            data = data[at + size :]
        return found

    @property
    def sizes(self) -> list[int]:
        return [len(p) for op, p in self.frames() if op in (1, 2)]

    @property
    def closing(self) -> int | None:
        for op, p in self.frames():
            if op == 8:
                return int.from_bytes(p[:2], "big") if p else 1005
        return None

    def reset(self) -> None:
        with suppress(OSError):
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.sock.close()

    async def leave(self) -> None:
        with trio.CancelScope(shield=True):
            await trio.aclose_forcefully(self.stream)


def narrow(sock: Any) -> None:
    if sock.family != socket.AF_UNIX:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, 1400)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16384)


class End:
    def __init__(self, kind: str, side: str) -> None:
        parts = kind.split("-")
        self.poller = parts[0] == "poller"
        self.tls = "tls" in parts
        self.unix = "unix" in parts
        self.side = side
        self.gone_at = self.done_at = None
        self.code: int | None = None
        self.error: BaseException | None = None
        self.server: Any = None

    @asynccontextmanager
    async def connect(self, body: Any, **options: Any) -> AsyncIterator[Raw]:
        options = {"timeouts": TIMES, "poller": self.poller, **options}
        self.over = trio.Event()
        with trio.fail_after(LONG), tempfile.TemporaryDirectory() as folder:
            async with trio.open_nursery() as nursery:
                make = self._server if self.side == "server" else self._client
                raw = await make(nursery, folder, body, options)
                try:
                    yield raw
                finally:
                    await raw.leave()
                await self.over.wait()
                nursery.cancel_scope.cancel()

    async def _server(self, nursery: Any, folder: str, body: Any, options: Any) -> Raw:
        if self.tls:
            options["ssl_context"] = contexts()[0]
        if self.unix:
            path = os.path.join(folder, "s")
            listener = bind_unix(path)
        else:
            (listener,) = await bind_tcp("127.0.0.1", 0)

        async def handler(ws: WebSocket) -> None:
            self.ws = ws
            await body(ws)

        async def gone(ws: WebSocket, code: int) -> None:
            self.code = code
            nursery.start_soon(self._watch)

        self.server = await nursery.start(
            lambda task_status: serve_websocket(
                handler, listeners=[listener], on_disconnect=gone, task_status=task_status, **options
            )
        )
        sock: Any
        if self.unix:
            sock = trio.socket.socket(socket.AF_UNIX)
            await sock.connect(path)
        else:
            sock = trio.socket.socket()
            narrow(sock)
            await sock.connect(("127.0.0.1", self.server.port))
        stream: Any = trio.SocketStream(sock)
        if self.tls:
            stream = tls_over(stream, server=False)
        await stream.send_all(request())
        head, early = await read_head(stream)
        assert status_of(head) == 101
        return Raw(stream, sock, early, client=True)

    async def _watch(self) -> None:
        while self.server.statistics().connections:
            await trio.sleep(0.5)
        self.gone_at = trio.current_time()
        self.over.set()

    async def _client(self, nursery: Any, folder: str, body: Any, options: Any) -> Raw:
        if self.tls:
            options["ssl_context"] = contexts()[1]
        if self.unix:
            theirs, ours = socket.socketpair()
            theirs, ours = trio.socket.from_stdlib_socket(theirs), trio.socket.from_stdlib_socket(ours)
        else:
            listener = trio.socket.socket()
            narrow(listener)
            await listener.bind(("127.0.0.1", 0))
            listener.listen()
            ours = trio.socket.socket()
            await ours.connect(listener.getsockname())
            theirs, _ = await listener.accept()
            listener.close()
        options["stream"] = trio.SocketStream(ours)
        nursery.start_soon(self._open, body, f"{'wss' if self.tls else 'ws'}://localhost/", options)
        stream: Any = trio.SocketStream(theirs)
        if self.tls:
            stream = tls_over(stream, server=True)
        head, early = await read_head(stream)
        key = next(line for line in head.split(b"\r\n") if line.lower().startswith(b"sec-websocket-key:"))
        token = generate_accept_token(key.split(b":")[1].strip()).decode()
        lines = ["HTTP/1.1 101 Switching Protocols", "Upgrade: websocket", "Connection: Upgrade"]
        await stream.send_all("\r\n".join([*lines, f"Sec-WebSocket-Accept: {token}", "", ""]).encode())
        return Raw(stream, theirs, early, client=False)

    async def _open(self, body: Any, url: str, options: Any) -> None:
        try:
            async with open_websocket(url, **options) as ws:
                self.ws = ws
                await body(ws)
        except Exception as error:
            self.error = error
        self.code = self.ws.close_code
        self.gone_at = trio.current_time()
        self.over.set()


COUNT, SIZE = 8, 100_000


async def send_all(ws: WebSocket) -> None:
    for _ in range(COUNT):
        await ws.send(bytes(SIZE))


async def finish(end: End, raw: Raw) -> None:
    """Answer the close frame, and leave as a peer does."""
    code = raw.closing
    assert code is not None, (raw.sizes, raw.eof)
    await raw.send(8, code.to_bytes(2, "big"))
    if not raw.client:
        await raw.leave()


async def test_drip(end: End, clock: MockClock) -> None:
    """One byte a second for ever is bounded by delivery_timeout."""
    async def body(ws: WebSocket) -> None:
        await ws.send(bytes(COUNT * SIZE))

    async with end.connect(body) as raw:
        began = trio.current_time()
        while raw.eof is None and not end.over.is_set():
            await raw.some(1)
            await trio.sleep(1)
        await end.over.wait()
    assert end.gone_at - began < 30 + 2 + 1 + 4, end.gone_at - began


async def test_kib_drip(end: End, clock: MockClock) -> None:
    """2 KiB a second, never enough."""
    async def body(ws: WebSocket) -> None:
        await ws.send(bytes(COUNT * SIZE))

    async with end.connect(body) as raw:
        began = trio.current_time()
        while raw.eof is None and not end.over.is_set():
            await raw.some(4096)
            await trio.sleep(1)
        await end.over.wait()
    took = end.gone_at - began
    assert 28 < took < 30 + 2 + 1 + 4, took


@pytest.mark.parametrize("ending", ["return", "stay"])
async def test_bursts_below(end: End, clock: MockClock, ending: str) -> None:
    async def body(ws: WebSocket) -> None:
        await send_all(ws)
        if ending == "stay":
            await trio.sleep(40)

    async with end.connect(body, timeouts=Timeouts(ping_interval=None, close_timeout=2.0, send_timeout=4.0, delivery_timeout=60.0)) as raw:
        while raw.closing is None and raw.eof is None:
            got = 0
            with trio.move_on_after(0.3):
                while got < 150_000 and raw.closing is None and raw.eof is None:
                    got += await raw.some(65536)
            await trio.sleep(3.5)
        assert raw.sizes == [SIZE] * COUNT
        await finish(end, raw)
        await end.over.wait()


async def test_bursts_above(end: End, clock: MockClock) -> None:
    async def body(ws: WebSocket) -> None:
        await send_all(ws)

    async with end.connect(body) as raw:
        await trio.sleep(0.1)
        began = trio.current_time()
        while raw.closing is None and raw.eof is None and trio.current_time() - began < 200:
            got = 0
            with trio.move_on_after(0.3):
                while got < 100_000 and raw.eof is None:
                    got += await raw.some(65536)
            await trio.sleep(7)
        await end.over.wait()
    assert end.gone_at - began < 20


@pytest.mark.parametrize("code", ["return", "fail"])
async def test_reads_never_answers(end: End, clock: MockClock, code: str) -> None:
    async def body(ws: WebSocket) -> None:
        await send_all(ws)
        if code == "fail":
            raise RuntimeError("ours")

    async with end.connect(body) as raw:
        while raw.closing is None and raw.eof is None:
            await raw.some(65536)
        began = trio.current_time()
        await end.over.wait()
        assert raw.sizes == [SIZE] * COUNT
        assert end.gone_at - began <= 2 + 1 + 1, end.gone_at - began


async def test_talks_for_ever_while_reading_slowly(end: End, clock: MockClock) -> None:
    async def body(ws: WebSocket) -> None:
        await send_all(ws)

    async with end.connect(body) as raw, trio.open_nursery() as nursery:
        async def talk() -> None:
            while await raw.send(2, bytes(3000)):
                await trio.sleep(0.05)

        nursery.start_soon(talk)
        while raw.closing is None and raw.eof is None:
            await raw.some(20_000)
            await trio.sleep(0.4)
        nursery.cancel_scope.cancel()
        assert raw.sizes == [SIZE] * COUNT, (raw.sizes, raw.eof)


async def test_talks_for_ever_and_never_reads(end: End, clock: MockClock) -> None:
    async def body(ws: WebSocket) -> None:
        await ws.send(bytes(COUNT * SIZE))

    async with end.connect(body) as raw:
        began = trio.current_time()
        while await raw.send(2, bytes(3000)) and not end.over.is_set():
            await trio.sleep(0.05)
        await end.over.wait()
        assert end.gone_at - began < 2 + 1 + 1, end.gone_at - began


@pytest.mark.parametrize("after", ["nothing", "eof", "talk"])
async def test_closes_first_and_reads_slowly(end: End, clock: MockClock, after: str) -> None:
    """What was accepted before the peer's close frame arrives, too."""
    sent = trio.Event()

    async def body(ws: WebSocket) -> None:
        await ws.send(bytes(COUNT * SIZE))
        sent.set()
        async for _ in ws:
            pass

    async with end.connect(body) as raw:
        await sent.wait()
        await raw.send(8, b"\x03\xe8")
        if after == "eof":
            raw.sock.shutdown(socket.SHUT_WR)
        while raw.closing is None and raw.eof is None:
            await raw.some(20_000)
            await trio.sleep(0.4)
            if after == "talk":
                await raw.send(10, b"hi")
        assert raw.sizes == [COUNT * SIZE], (len(raw.buffer), raw.eof)
        assert raw.closing == 1000
        if not raw.client:
            await raw.leave()
        await end.over.wait()


@pytest.mark.parametrize("state", ["idle", "full", "paused", "closing", "closing-full", "failed"])
async def test_reset_in_each_state(end: End, clock: MockClock, state: str) -> None:
    async def body(ws: WebSocket) -> None:
        if state == "full":
            with suppress(Exception):
                while True:
                    await ws.send(bytes(SIZE))
        elif state in ("idle", "failed"):
            async for _ in ws:
                pass
        elif state == "paused":
            await trio.sleep(60)
        elif state == "closing-full":
            await ws.send(bytes(COUNT * SIZE))

    async with end.connect(body, timeouts=Timeouts(ping_interval=5.0, close_timeout=2.0, send_timeout=4.0)) as raw:
        if state == "paused":
            with trio.move_on_after(0.2):
                while True:
                    await raw.send(2, bytes(60_000))
        if state == "failed":
            await raw.stream.send_all(b"\xff\xff\xff\xff")
        await trio.sleep(0.1)
        began = trio.current_time()
        if end.unix:
            await raw.leave()
        else:
            raw.reset()
        await end.over.wait()
        assert end.gone_at - began < 8, end.gone_at - began
        if state == "idle" and not end.unix:
            assert end.code == 1006


async def test_large_then_return(end: End, clock: MockClock) -> None:
    total = 100_000_000
    if end.tls or not end.poller:
        total = 30_000_000

    async def body(ws: WebSocket) -> None:
        await ws.send(bytes(total))

    async with end.connect(body) as raw:
        tail, seen = b"", 0
        while raw.eof is None:
            seen += await raw.some(1 << 20)
            tail = (tail + raw.buffer)[-20:]
            raw.buffer = b""
            if seen >= total + 10 and (tail[-4:-2] == b"\x88\x02" or tail[-8:-6] == b"\x88\x82"):
                break
        assert seen >= total + 14 - 4, (seen, raw.eof)
        await raw.send(8, b"\x03\xe8")
        if not raw.client:
            await raw.leave()
        await end.over.wait()
    assert end.code == 1000
