"""The fuzzing peer: the opening handshake by hand, on either side, then frames out and frames in over any stream.

What it says is a case's script, what it makes of the answers is `judge`'s.
"""

from __future__ import annotations

import base64
import hashlib
import itertools
from collections.abc import Callable
from typing import Final

import trio
import trio.testing

from . import deflate
from .case import BY_FRAME, TOGETHER, Case, Chop
from .wire import BINARY, CLOSE, CONTINUATION, PONG, RSV1, TEXT, Frame, Reader, encode

__all__ = ["FuzzingPeer"]

_GUID: Final = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
_KEY: Final = base64.b64encode(b"conformance test")
_CUSHION: Final = 0.001
"""Seconds without any event after which nothing moves any more; loopback delivers within the sender's call."""
_PATIENT_PIECES: Final = 400
"""Up to so many pieces a write, each is given time to be answered; a performance case has thousands."""


def _accept_token(key: bytes) -> str:
    return base64.b64encode(hashlib.sha1(key + _GUID).digest()).decode()


class FuzzingPeer:
    """One connection to the peer under test.

    Args:
        stream: to it.
        client: whether the fuzzing peer is the client, and the server is under test.

    Attributes:
        answers: the whole messages and pongs that came, in order, each as one frame.
        closing: the close frame that came, if any.
        ended: whether the peer under test has ended its side.
    """

    def __init__(self, stream: trio.abc.Stream, *, client: bool) -> None:
        self.answers: list[Frame] = []
        self.closing: Frame | None = None
        self.ended = False
        self._stream = stream
        self._client = client
        self._keys = itertools.count(0x9E3779B9, 0x3C6EF373)
        self._deflate: deflate.Deflate | None = None
        self._message: list[Frame] = []
        self._changed = trio.Condition()
        self._reader = Reader(masked=not client, compressed=False)
        self._leftover = b""
        self._part_key: bytes | None = None

    # --- the opening handshake -----------------------------------------------------------------------------------

    async def open(self, case: Case) -> None:
        """Do the opening handshake; compression is agreed if the case wants it."""
        await (self._ask(case) if self._client else self._answer(case))
        self._reader = Reader(masked=not self._client, compressed=self._deflate is not None)

    async def _ask(self, case: Case) -> None:
        offers = ", ".join(map(deflate.offer, case.wishes))
        extension = f"Sec-WebSocket-Extensions: {offers}\r\n" if offers else ""
        await self._stream.send_all(
            f"GET /conformance HTTP/1.1\r\nHost: fuzzing.test\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            f"Sec-WebSocket-Key: {_KEY.decode()}\r\nSec-WebSocket-Version: 13\r\n{extension}\r\n".encode()
        )
        line, headers = await self._read_head()
        assert line.split()[1] == "101", line
        assert headers["sec-websocket-accept"] == _accept_token(_KEY)
        agreed = deflate.parse(headers.get("sec-websocket-extensions", ""))
        assert len(agreed) == bool(case.wishes), f"compression: {agreed}"
        if agreed:
            wish = case.wishes[0]
            assert not wish.no_context or "server_no_context_takeover" in agreed[0]
            assert not wish.bits or int(agreed[0]["server_max_window_bits"] or 0) <= wish.bits
            self._deflate = deflate.Deflate(agreed[0], client=True)

    async def _answer(self, case: Case) -> None:
        line, headers = await self._read_head()
        assert line.startswith("GET ")
        offered = deflate.parse(headers.get("sec-websocket-extensions", ""))
        assert bool(offered) is bool(case.wishes)
        extension = ""
        if offered:
            agreed = deflate.answer(offered[0], case.wishes[0])
            extension = f"Sec-WebSocket-Extensions: {agreed}\r\n"
            self._deflate = deflate.Deflate(deflate.parse(agreed)[0], client=False)
        token = _accept_token(headers["sec-websocket-key"].encode())
        await self._stream.send_all(
            f"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            f"Sec-WebSocket-Accept: {token}\r\n{extension}\r\n".encode()
        )

    async def _read_head(self) -> tuple[str, dict[str, str]]:
        received = b""
        while b"\r\n\r\n" not in received:
            data = await self._stream.receive_some()
            assert data, "the connection ended in the handshake"
            received += data
        head, _, self._leftover = received.partition(b"\r\n\r\n")
        line, *fields = head.decode("ascii").split("\r\n")
        return line, {name.lower(): value.strip() for name, _, value in (field.partition(":") for field in fields)}

    # --- out -----------------------------------------------------------------------------------------------------

    async def send(self, frames: tuple[Frame, ...], chop: Chop = TOGETHER) -> None:
        """Send frames, cut as `chop` says. When the peer under test has ended the connection, the rest is dropped."""
        pieces = [encode(frame, self._next_key()) for frame in frames]
        if chop != BY_FRAME:
            whole = b"".join(pieces)
            step = len(whole) if chop == TOGETHER else chop
            pieces = [whole[start : start + step] for start in range(0, len(whole), step)]
        await self._send_pieces(pieces)

    async def send_part(self, frame: Frame, start: int, stop: int) -> None:
        """Send the bytes of a frame's payload from `start` to `stop`, and its header with the first of them."""
        if self._client and start == 0:
            self._part_key = self._next_key()
        encoded = encode(frame, self._part_key)
        header = len(encoded) - len(frame.payload)
        await self._send_pieces([encoded[start + header if start else 0 : stop + header]])

    async def _send_pieces(self, pieces: list[bytes]) -> None:
        patient = 1 < len(pieces) <= _PATIENT_PIECES
        try:
            for piece in pieces:
                await self._stream.send_all(piece)
                if patient:
                    await self.settle()
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            await self.wait_for(lambda: self.ended)

    def _next_key(self) -> bytes | None:
        return (next(self._keys) & 0xFFFFFFFF).to_bytes(4) if self._client else None

    def compress(self, payload: bytes) -> tuple[bytes, int]:
        """Return a message's payload as it is to be sent, and the reserved bits of its first frame."""
        return (payload, 0) if self._deflate is None else (self._deflate.compress(payload), RSV1)

    async def end(self) -> None:
        """End the connection: it is the server that does it, once both close frames have passed (RFC 6455 7.1.1)."""
        if self._client:
            await self.wait_for(lambda: self.ended)
        await trio.aclose_forcefully(self._stream)

    # --- in ------------------------------------------------------------------------------------------------------

    async def read(self) -> None:
        """Take in everything that comes, until the peer under test ends its side."""
        data = self._leftover or await self._receive()
        while data:
            for frame in self._reader.feed(data):
                self._take(frame)
            await self._notify()
            data = await self._receive()
        assert not self._reader.within_frame, "the connection ended within a frame"
        self.ended = True
        await self._notify()

    async def _receive(self) -> bytes:
        try:
            return bytes(await self._stream.receive_some())
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            return b""

    def _take(self, frame: Frame) -> None:
        match frame.opcode:
            case _ if frame.opcode == CLOSE:
                self.closing = frame
            case _ if frame.opcode == PONG:
                self.answers.append(frame)
            case _ if frame.opcode in (CONTINUATION, TEXT, BINARY):
                self._message.append(frame)
                if frame.fin:
                    self.answers.append(self._join())
            case _:
                raise AssertionError(f"nobody asked for {frame}")

    def _join(self) -> Frame:
        first = self._message[0]
        payload = b"".join(frame.payload for frame in self._message)
        self._message.clear()
        if first.rsv and self._deflate is not None:
            payload = self._deflate.decompress(payload)
        if first.opcode == TEXT:
            payload.decode()
        return Frame(first.opcode, payload)

    async def _notify(self) -> None:
        async with self._changed:
            self._changed.notify_all()

    async def wait_for(self, condition: Callable[[], bool]) -> None:
        """Wait until `condition` holds, or the peer under test has ended its side."""
        async with self._changed:
            while not condition() and not self.ended:
                await self._changed.wait()

    async def settle(self) -> None:
        """Wait until nothing moves any more, on either side."""
        await trio.testing.wait_all_tasks_blocked(_CUSHION)
