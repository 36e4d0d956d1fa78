"""Networks between a test and a server of ours, and a peer that speaks raw frames over any of them.

`MemoryNetwork` is for virtual time: the server is on the stream transport. `SocketNetwork` is loopback TCP in real
time, on either transport.
"""

from __future__ import annotations

import math
import socket
import struct
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from functools import partial
from typing import Any, NamedTuple

import trio
from trio.testing import lockstep_stream_pair, memory_stream_pair

from support.tls import contexts, tls_over
from trio_ws import Server, serve_websocket
from trio_ws.protocol.frames import BINARY, CLOSE, CONTINUATION, PING, PONG, TEXT, encode_frame

KEY = b"\x11\xa2\x73\xf4"
REQUEST = (
    b"GET / HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)


class MemoryNetwork(trio.abc.Listener[trio.abc.Stream]):
    """Connections in memory.

    Args:
        bounded: nothing is buffered on the way: who sends waits until the other side has read it.
    """

    poller = False

    def __init__(self, *, bounded: bool = False) -> None:
        self._pair = lockstep_stream_pair if bounded else memory_stream_pair
        self._sender, self._receiver = trio.open_memory_channel[trio.abc.Stream](math.inf)

    @property
    def listener(self) -> Any:
        return self

    async def connect(self) -> Any:
        """Return the client's end of a new connection."""
        client, server = self._pair()
        self._sender.send_nowait(server)
        return client

    async def accept(self) -> trio.abc.Stream:
        return await self._receiver.receive()

    async def aclose(self) -> None:
        self._receiver.close()
        await trio.lowlevel.checkpoint()


class SocketNetwork:
    """Loopback TCP with small buffers, so that a test need not send much until they are full.

    Args:
        poller: the server's transport.
        tls: speak TLS on both sides.
    """

    BUFFER = 16 * 1024

    def __init__(self, *, poller: bool, tls: bool = False) -> None:
        self.poller = poller
        self.tls = tls
        self.listener = socket.socket()
        self.listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, self.BUFFER)
        self.listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, self.BUFFER)
        self.listener.bind(("127.0.0.1", 0))
        self.listener.listen()
        self.listener.setblocking(False)

    async def connect(self) -> trio.abc.Stream:
        """Return a new connection, which the caller closes."""
        sock = trio.socket.socket()
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, self.BUFFER)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, self.BUFFER)
        await sock.connect(self.listener.getsockname())
        stream = trio.SocketStream(sock)
        return tls_over(stream, server=False) if self.tls else stream

    def close(self) -> None:
        self.listener.close()


@asynccontextmanager
async def serving(network: MemoryNetwork | SocketNetwork, handler: Any, **options: Any) -> AsyncIterator[Server]:
    """Serve `handler` on `network`; an error in it, a failed assertion say, fails the test."""
    options = {"strict": True, "poller": network.poller, "listeners": [network.listener], **options}
    if isinstance(network, SocketNetwork) and network.tls:
        options["ssl_context"] = contexts()[0]
    async with trio.open_nursery() as nursery:
        server: Server = await nursery.start(partial(serve_websocket, handler, **options))
        yield server
        nursery.cancel_scope.cancel()


class Frame(NamedTuple):
    opcode: int
    payload: bytes
    fin: bool = True

    @property
    def close_code(self) -> int:
        assert self.opcode == CLOSE, self
        return int.from_bytes(self.payload[:2])


class RawPeer:
    """A client that speaks frames, and answers nothing by itself."""

    def __init__(self, stream: Any) -> None:
        self.stream = stream
        self._buffer = bytearray()

    @classmethod
    async def dial(cls, network: MemoryNetwork | SocketNetwork, *, early: bytes = b"") -> RawPeer:
        """Connect, and do the handshake; `early` goes out with the request."""
        peer = cls(await network.connect())
        try:
            await peer._shake_hands(early)
        except BaseException:
            await trio.aclose_forcefully(peer.stream)
            raise
        return peer

    async def _shake_hands(self, early: bytes) -> None:
        await self.stream.send_all(REQUEST + early)
        while (end := self._buffer.find(b"\r\n\r\n")) < 0:
            assert await self._more(), bytes(self._buffer)
        assert self._buffer.startswith(b"HTTP/1.1 101 "), bytes(self._buffer)
        del self._buffer[: end + 4]

    async def send(self, *frames: bytes) -> None:
        await self.stream.send_all(b"".join(frames))

    async def frame(self) -> Frame | None:
        """Return the server's next frame; None at the end of the connection, however it ended."""
        while (frame := self._take()) is None:
            if not await self._more():
                assert not self._buffer, f"a torn frame: {bytes(self._buffer[:100])!r}"
                return None
        return frame

    async def rest(self) -> list[Frame]:
        """Return all frames up to the end of the connection."""
        frames = []
        while (frame := await self.frame()) is not None:
            frames.append(frame)
        return frames

    async def rest_answering_close(self) -> list[Frame]:
        """Return all frames up to the close frame, answer that, and wait for the end."""
        frames = []
        while (frame := await self.frame()) is not None and frame.opcode != CLOSE:
            frames.append(frame)
        if frame is not None:
            await self.send(encode_frame(CLOSE, frame.payload, mask=KEY))
        assert await self.rest() == []
        await self.leave()
        return frames

    async def _more(self) -> bool:
        try:
            data = await self.stream.receive_some(65536)
        except trio.BrokenResourceError:
            return False
        self._buffer += data
        return bool(data)

    def _take(self) -> Frame | None:
        buffer = self._buffer
        if len(buffer) < 2:
            return None
        size, start = buffer[1], 2
        assert size < 128, "a server's frame is not masked"
        if size >= 126:
            start = 4 if size == 126 else 10
            size = int.from_bytes(buffer[2:start])
        if len(buffer) < start + size:
            return None
        frame = Frame(buffer[0] & 0x0F, bytes(buffer[start : start + size]), bool(buffer[0] & 0x80))
        del buffer[: start + size]
        return frame

    async def leave(self) -> None:
        """Close the connection without a close frame."""
        await trio.aclose_forcefully(self.stream)

    @property
    def _socket(self) -> Any:
        """What is below TLS."""
        return self.stream.transport_stream if isinstance(self.stream, trio.SSLStream) else self.stream

    async def half_close(self) -> None:
        """Send no more: of TCP, also under TLS."""
        await self._socket.send_eof()

    async def reset(self) -> None:
        """Reset the connection: a socket only."""
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        await trio.aclose_forcefully(self.stream)


def text(content: str) -> bytes:
    return encode_frame(TEXT, content.encode(), mask=KEY)


def binary(content: bytes) -> bytes:
    return encode_frame(BINARY, content, mask=KEY)


def fragment(content: bytes, *, first: bool = False, final: bool = False) -> bytes:
    """Return a frame of a binary message in fragments."""
    return encode_frame(BINARY if first else CONTINUATION, content, fin=final, mask=KEY)


def ping(payload: bytes = b"") -> bytes:
    return encode_frame(PING, payload, mask=KEY)


def pong(payload: bytes = b"") -> bytes:
    return encode_frame(PONG, payload, mask=KEY)


def close(code: int, reason: str = "") -> bytes:
    return encode_frame(CLOSE, code.to_bytes(2) + reason.encode(), mask=KEY)


class Witness:
    """Sees what becomes of a piece of code: when and why it was cancelled, or what it raised."""

    def __init__(self) -> None:
        self.began = trio.Event()
        self.ended = trio.Event()
        self.time = math.nan
        """When it ended."""
        self.cancelled: str | None = None
        """The reason of the cancellation, None if there was none."""
        self.told: BaseException | None = None

    @contextmanager
    def watch(self) -> Iterator[None]:
        try:
            yield
        except trio.Cancelled as cancelled:
            self.cancelled = cancelled.reason or ""
            raise
        finally:
            self.time = trio.current_time()
            self.ended.set()
