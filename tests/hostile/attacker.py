"""A raw client that says what it likes: bytes on a TCP connection, and what came back taken apart."""

from __future__ import annotations

import base64
import socket
import ssl
import struct
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager

import attrs
import trio
from wsproto.utilities import generate_accept_token

from trio_ws.protocol.frames import encode_frame

KEY = base64.b64encode(b"sixteen bytes ok").decode()
TOKEN = generate_accept_token(KEY.encode()).decode()
MASK = b"\x37\xfa\x21\x3d"
GOOD = (
    ("Host", "localhost"),
    ("Upgrade", "websocket"),
    ("Connection", "Upgrade"),
    ("Sec-WebSocket-Key", KEY),
    ("Sec-WebSocket-Version", "13"),
)
"""The headers of a request that is answered with 101."""
TEXT, BINARY, CLOSE, PING, PONG = 1, 2, 8, 9, 10
CONTINUATION = 0


def request(
    *extra: tuple[str, str | bytes],
    without: Iterable[str] = (),
    line: str = "GET /attack HTTP/1.1",
) -> bytes:
    """Return a request for a WebSocket, some of the good headers left out and others put in."""
    absent = {name.lower() for name in without}
    fields: list[tuple[str, str | bytes]] = [field for field in GOOD if field[0].lower() not in absent]
    lines = [line.encode()]
    for name, value in (*fields, *extra):
        lines.append(name.encode() + b": " + (value if isinstance(value, bytes) else value.encode("latin-1")))
    return b"\r\n".join([*lines, b"", b""])


def frame(opcode: int, payload: bytes = b"", *, fin: bool = True, rsv1: bool = False) -> bytes:
    """Return a client's frame."""
    return encode_frame(opcode, payload, fin=fin, rsv1=rsv1, mask=MASK)


def close_frame(code: int = 1000, reason: bytes = b"") -> bytes:
    return frame(CLOSE, code.to_bytes(2) + reason)


def frames_of(data: bytes) -> list[tuple[int, bytes]]:
    """Take a server's bytes apart, which must be whole, unmasked and uncompressed frames: opcodes and payloads."""
    frames = []
    while data:
        first, size = data[0], data[1]
        assert first & 0x80, "a fragment where none was sent"
        assert not first & 0x70, "a reserved bit"
        start = 2
        if size == 126:
            size, start = int.from_bytes(data[2:4]), 4
        elif size == 127:
            size, start = int.from_bytes(data[2:10]), 10
        assert len(data) >= start + size, "a torn frame"
        frames.append((first & 0x0F, data[start : start + size]))
        data = data[start + size :]
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
        line, *fields = head.decode("ascii").split("\r\n")
        version, status, *_ = line.split(" ")
        assert version == "HTTP/1.1"
        headers: dict[str, str] = {}
        for field in fields:
            name, value = field.split(": ", 1)
            name = name.lower()
            headers[name] = f"{headers[name]}, {value}" if name in headers else value
        return cls(int(status), headers, rest)


class Attacker:
    """One hostile client; whether the server has reset or closed the connection makes no difference to it."""

    def __init__(self, stream: trio.abc.Stream) -> None:
        self.stream = stream

    async def send(self, data: bytes) -> bool:
        """Send `data`; return False if the server has hung up on it."""
        try:
            await self.stream.send_all(data)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            return False
        return True

    async def receive(self) -> bytes:
        """Return what comes next, `b""` at the end or after a reset."""
        try:
            return await self.stream.receive_some(65536)
        except trio.BrokenResourceError:
            return b""

    async def rest(self) -> bytes:
        """Return all that comes up to the end of the connection, which must be soon."""
        parts = []
        with trio.fail_after(60):
            while part := await self.receive():
                parts.append(part)
        return b"".join(parts)

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
        assert answer.headers["sec-websocket-accept"] == TOKEN
        return answer.rest

    async def frames(self, beginning: bytes = b"") -> list[tuple[int, bytes]]:
        """Return the frames up to the end of the connection."""
        return frames_of(beginning + await self.rest())

    async def reset(self) -> None:
        """End the connection with a TCP reset."""
        assert isinstance(self.stream, trio.SocketStream)
        self.stream.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        await trio.aclose_forcefully(self.stream)


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
