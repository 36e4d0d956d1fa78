"""Peers that are slow, silent or rude at the end of a connection, on sockets of every kind, from both sides."""

from __future__ import annotations

import os
import socket
import struct
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import attrs
import pytest
import trio
from contracts.rig import read_head, request, status_of
from support.tls import contexts, tls_over
from trio.testing import MockClock
from wsproto.utilities import generate_accept_token

from trio_ws import Timeouts, WebSocket, WebSocketDisconnect, open_websocket, serve_websocket
from trio_ws.transport.listeners import bind_tcp
from trio_ws.transport.unix_sockets import bind_unix

SMALL_BUFFER = 16 * 1024
SEGMENT = 1400
ENDS = ["poller-server", "poller-client", "poller-tls-client", "stream-server", "stream-client", "poller-unix-server"]
SAME_CODE = [
    "poller-tls-server",
    "poller-unix-client",
    "stream-tls-server",
    "stream-tls-client",
    "stream-unix-server",
    "stream-unix-client",
]
"""Run by `make repetitions`: each side and each transport is among the others, and streams are Trio's own."""
TIMES = Timeouts(ping_interval=None, close_timeout=2.0, send_timeout=4.0, delivery_timeout=10.0, shutdown_grace=0.1)
BOUND = 6.0
"""Seconds of a closing handshake in vain, what a kernel that fills adds to it, and how coarse the tests look."""
LONG = 150.0
"""Seconds of virtual time after which a test has hung."""
COUNT, SIZE = 8, 100_000


@pytest.fixture
def clock() -> MockClock:
    """A clock that jumps once nothing has moved on the sockets for a moment."""
    return MockClock(autojump_threshold=0.01)


@pytest.fixture(params=[*ENDS, *(pytest.param(each, marks=pytest.mark.repetition) for each in SAME_CODE)])
def end(request: pytest.FixtureRequest) -> End:
    kind, side = request.param.rsplit("-", 1)
    return End(kind, side)


class Raw:
    """A peer that speaks in frames, and reads as little or as late as a test wants."""

    def __init__(self, stream: Any, sock: Any, early: bytes, client: bool) -> None:
        self.stream, self.sock, self.client = stream, sock, client
        self.buffer = early
        self.over: str | None = None

    async def some(self, size: int) -> int:
        if self.over is None:
            try:
                data = await self.stream.receive_some(size)
            except trio.BrokenResourceError:
                self.over = "reset"
                return 0
            if not data:
                self.over = "eof"
            self.buffer += data
            return len(data)
        return 0

    async def more(self, size: int) -> None:
        """Read so much, or what comes within a moment."""
        until = len(self.buffer) + size
        with trio.move_on_after(0.3):
            while len(self.buffer) < until and self.closing is None and await self.some(65536):
                pass

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

    async def answer(self) -> None:
        """Answer the close frame, and leave as a peer does."""
        await self.send(8, struct.pack("!H", self.closing))
        if not self.client:
            await self.leave()

    async def reset(self) -> None:
        """End the connection with a reset; a Unix socket, which has none, in the middle of everything."""
        if self.sock.family != socket.AF_UNIX:
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        await self.leave()

    async def leave(self) -> None:
        with trio.CancelScope(shield=True):
            await trio.aclose_forcefully(self.stream)


def narrow(sock: Any) -> None:
    if sock.family != socket.AF_UNIX:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, SEGMENT)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, SMALL_BUFFER)


class End:
    """Our end of a connection, on one side and one kind of socket."""

    def __init__(self, kind: str, side: str) -> None:
        parts = kind.split("-")
        self.poller = parts[0] == "poller"
        self.tls = "tls" in parts
        self.unix = "unix" in parts
        self.side = side
        self.gone_at = 0.0
        self.code: int | None = None
        self.ws: WebSocket
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
        except WebSocketDisconnect:
            pass  # it is the peer's doing
        self.code = self.ws.close_code
        self.gone_at = trio.current_time()
        self.over.set()


async def send_all(ws: WebSocket) -> None:
    for _ in range(COUNT):
        await ws.send(bytes(SIZE))


async def send_at_once(ws: WebSocket) -> None:
    await ws.send(bytes(COUNT * SIZE))


@pytest.mark.slow
async def test_peer_that_pauses_below_send_timeout_gets_all(end: End, clock: MockClock) -> None:
    """It was seen to take something while the handler sent: the end waits as long for it as `send` did."""
    async with end.connect(send_all, timeouts=attrs.evolve(TIMES, delivery_timeout=60.0)) as raw:
        while raw.closing is None and raw.over is None:
            await raw.more(150_000)
            await trio.sleep(3.5)
        assert raw.sizes == [SIZE] * COUNT
        assert raw.closing == 1000
        await raw.answer()


@pytest.mark.slow
async def test_peer_that_pongs_after_its_close_frame_gets_all(end: End, clock: MockClock) -> None:
    """A close frame forbids data frames only (RFC 6455 5.5.1); a socket closed under them would answer with a reset."""
    sent = trio.Event()
    size = 400_000

    async def body(ws: WebSocket) -> None:
        await ws.send(bytes(size))
        sent.set()
        async for _ in ws:
            pass

    async with end.connect(body) as raw:
        await sent.wait()
        await raw.send(8, b"\x03\xe8")
        while raw.closing is None and raw.over is None:
            await raw.more(20_000)
            await trio.sleep(0.4)
            await raw.send(10, b"")
        assert raw.sizes == [size]
        assert raw.closing == 1000


@pytest.mark.slow
async def test_peer_that_reads_for_ever_is_bounded(end: End, clock: MockClock) -> None:
    async with end.connect(send_at_once) as raw:
        began = trio.current_time()
        while raw.over is None and not end.over.is_set():
            await raw.some(4096)
            await trio.sleep(1)
        await end.over.wait()
    assert end.gone_at - began < TIMES.delivery_timeout + BOUND


async def test_peer_that_reads_but_never_answers_is_bounded(end: End, clock: MockClock) -> None:
    async with end.connect(send_all) as raw:
        while raw.closing is None and raw.over is None:
            await raw.some(65536)
        began = trio.current_time()
        await end.over.wait()
    assert raw.sizes == [SIZE] * COUNT
    assert end.gone_at - began < BOUND


@pytest.mark.slow
async def test_peer_that_talks_but_never_reads_is_bounded(end: End, clock: MockClock) -> None:
    async with end.connect(send_at_once) as raw:
        began = trio.current_time()
        while await raw.send(2, bytes(12_000)) and not end.over.is_set():
            await trio.sleep(0.2)
        await end.over.wait()
    assert end.gone_at - began < BOUND


@pytest.mark.parametrize("state", ["idle", "full", "paused", "ending", "failed"])
async def test_reset_leaves_nothing(end: End, clock: MockClock, state: str) -> None:
    async def body(ws: WebSocket) -> None:
        if state == "full":
            await ws.send(bytes(COUNT * SIZE))
            await ws.send(b"")
        elif state == "ending":
            await ws.send(bytes(COUNT * SIZE))
        elif state == "paused":
            await trio.sleep_forever()
        else:
            async for _ in ws:
                pass

    async with end.connect(body, timeouts=attrs.evolve(TIMES, ping_interval=5.0)) as raw:
        if state == "paused":
            with trio.move_on_after(0.2):
                while True:
                    await raw.send(2, bytes(60_000))
        elif state == "failed":
            await raw.stream.send_all(b"\xff\xff\xff\xff")
        await trio.sleep(0.1)
        began = trio.current_time()
        await raw.reset()
        await end.over.wait()
    assert end.gone_at - began < 5.0 + BOUND
