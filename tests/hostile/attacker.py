"""A raw client that says what it likes: bytes on a TCP connection, and what came back taken apart."""

from __future__ import annotations

import math
import socket
import ssl
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager

import attrs
import trio

from trio_ws.testing import RawPeer, RawResponse, accept_token, frame_bytes, request_bytes
from trio_ws.testing.raw_frame import MASK_KEY as MASK
from trio_ws.testing.raw_head import HANDSHAKE_KEY as KEY
from trio_ws.testing.raw_reader import RawFrameReader, RawFrameRules

__all__ = ["KEY", "MASK"]

TEXT, BINARY, CLOSE, PING, PONG = 1, 2, 8, 9, 10
CONTINUATION = 0


def request(
    *extra: tuple[str, str | bytes],
    without: Iterable[str] = (),
    line: str = "GET /attack HTTP/1.1",
) -> bytes:
    """Return a request for a WebSocket, some of the good headers left out and others put in."""
    fields = [(name, value if isinstance(value, str) else value.decode("latin-1")) for name, value in extra]
    return request_bytes(headers=fields, without=without, line=line.encode())


def frame(opcode: int, payload: bytes = b"", *, fin: bool = True, rsv1: bool = False) -> bytes:
    """Return a client's frame."""
    return frame_bytes(opcode, payload, fin=fin, rsv1=rsv1)


def close_frame(code: int = 1000, reason: bytes = b"") -> bytes:
    return frame(CLOSE, code.to_bytes(2) + reason)


def frames_of(data: bytes) -> list[tuple[int, bytes]]:
    """Take a server's bytes apart, which must be whole, unmasked and uncompressed frames: opcodes and payloads."""
    reader = RawFrameReader(RawFrameRules(masked=False))
    reader.feed(data)
    frames = []
    while (each := reader.next_frame()) is not None:
        assert each.fin, "a fragment where none was sent"
        frames.append((each.opcode, each.payload))
    assert not reader.unread, "a torn frame"
    return frames


def close_codes(frames: list[tuple[int, bytes]]) -> list[int]:
    """Return the codes of the close frames among `frames`."""
    return [int.from_bytes(payload[:2]) if payload else 1005 for opcode, payload in frames if opcode == CLOSE]


@attrs.frozen
class Answer:
    """An HTTP response, and all that came behind its head."""

    status: int
    headers: dict[str, str]
    rest: bytes

    @classmethod
    def parse(cls, data: bytes) -> Answer:
        head, end, rest = data.partition(b"\r\n\r\n")
        assert end, f"no whole answer: {data[:200]!r}"
        response = RawResponse.parse(head + end)
        headers = {name: ", ".join(response.headers.get_list(name)) for name in response.headers}
        return cls(response.status, headers, rest)


class Attacker:
    """One hostile client; whether the server has reset or closed the connection makes no difference to it."""

    def __init__(self, stream: trio.abc.Stream) -> None:
        self.stream = stream
        self.raw = RawPeer(stream, timeout=math.inf)

    async def send(self, data: bytes) -> bool:
        """Send `data`; return False if the server has hung up on it."""
        try:
            await self.raw.send(data)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            return False
        return True

    async def receive(self) -> bytes:
        """Return what comes next, `b""` at the end or after a reset."""
        return await self.raw.receive_some()

    async def rest(self) -> bytes:
        """Return all that comes up to the end of the connection, which must be soon."""
        with trio.fail_after(60):
            return await self.raw.receive_all()

    async def answer(self) -> Answer:
        """Return the server's last answer."""
        return Answer.parse(await self.rest())

    async def handshake(self, *extra: tuple[str, str | bytes], behind: bytes = b"") -> bytes:
        """Open a WebSocket properly, with `behind` in the same packet; return what came behind the 101."""
        assert await self.send(request(*extra) + behind)
        data = b""
        with trio.fail_after(60):
            while b"\r\n\r\n" not in data:
                part = await self.receive()
                assert part, f"the connection ended after {data!r}"
                data += part
        answer = Answer.parse(data)
        assert answer.status == 101, data
        assert answer.headers["sec-websocket-accept"] == accept_token(KEY)
        return answer.rest

    async def at_least(self, size: int, beginning: bytes) -> bytes:
        """Return what has come, and what comes until there is so much."""
        while len(beginning) < size:
            part = await self.receive()
            assert part, f"the connection ended after {beginning!r}"
            beginning += part
        return beginning

    async def frames(self, beginning: bytes = b"") -> list[tuple[int, bytes]]:
        """Return the frames up to the end of the connection."""
        return frames_of(beginning + await self.rest())

    async def reset(self) -> None:
        """End the connection with a TCP reset."""
        await self.raw.reset()


@asynccontextmanager
async def attack(port: int, *, tls: ssl.SSLContext | None = None, small: bool = False) -> AsyncIterator[Attacker]:
    """Connect to a port of this machine.

    Args:
        tls: do a TLS handshake with it.
        small: keep the receive buffer small, so that a peer that does not read is soon felt.
    """
    sock = trio.socket.socket()
    if small:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    stream: trio.abc.Stream
    try:
        await sock.connect(("127.0.0.1", port))
        stream = trio.SocketStream(sock)
    except BaseException:
        sock.close()
        raise
    if tls is not None:
        stream = trio.SSLStream(stream, tls, server_hostname="localhost", https_compatible=True)
    try:
        yield Attacker(stream)
    finally:
        await trio.aclose_forcefully(stream)
