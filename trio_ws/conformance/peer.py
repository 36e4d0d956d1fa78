"""The suite's end of one connection: an opening handshake by hand on either side, then frames over any stream.

A case's script says what is sent; `judge` says what is made of the answers.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Final

import attrs
import trio

from trio_ws.conformance import deflate
from trio_ws.conformance.finding import Finding
from trio_ws.conformance.frames import RSV1, pong
from trio_ws.conformance.log import WireLog
from trio_ws.conformance.opening import HEAD_END, OpeningHead
from trio_ws.conformance.steps import BY_FRAME, TOGETHER, Chop
from trio_ws.testing.raw_frame import Opcode, RawFrame
from trio_ws.testing.raw_reader import InvalidFrame, RawFrameReader, RawFrameRules

__all__ = ["Pace", "SuitePeer"]

MAX_HEAD: Final = 64 * 1024
"""Bytes of a head that the implementation under test may send."""
NEXT_REQUEST: Final = b"GET /"
"""The beginning of a request on the same connection, which a client may use again that has refused a response."""
PATIENT_PIECES: Final = 400
"""Up to so many pieces, there is a pause after each; a performance case has thousands."""


@attrs.frozen
class Pace:
    """How long the suite waits.

    Args:
        timeout: seconds that a case may take.
        pause: seconds in which an answer would arrive, if there were one.
        octet: seconds between the octets of a frame that is sent octet by octet.
        linger: seconds that a client has to end its side, after the suite has ended its own.
    """

    timeout: float = 15.0
    pause: float = 0.05
    octet: float = 0.001
    linger: float = 1.0


class SuitePeer:
    """One connection to the implementation under test.

    Args:
        stream: to it.
        client: whether the suite is the client, and a server is under test.
        pace: how long it waits.
        log: receives what is sent and received.

    Attributes:
        messages: whole messages that arrived, each as one frame.
        pongs: likewise.
        keys: masking keys of the frames that arrived.
        closing: the close frame that arrived, if any.
        closing_first: whether it arrived before the suite sent one.
        ended: whether the other side has ended.
        reset: whether it ended with a reset, or another error of the network.
        finding: the rule that a received frame broke.
        waiting: the event that the suite waits for.
    """

    def __init__(self, stream: trio.abc.Stream, *, client: bool, pace: Pace, log: WireLog) -> None:
        self.messages: list[RawFrame] = []
        self.pongs: list[RawFrame] = []
        self.keys: list[bytes] = []
        self.closing: RawFrame | None = None
        self.closing_first: bool = False
        self.ended: bool = False
        self.reset: bool = False
        self.finding: Finding | None = None
        self.waiting: str = "the opening handshake"
        self.pace = pace
        self.log = log
        self._stream = stream
        self._client = client
        self._masks = itertools.count(0x9E3779B9, 0x3C6EF373)
        self._deflate: deflate.MessageDeflate | None = None
        self._message: list[RawFrame] = []
        self._changed = trio.Condition()
        self._rules = RawFrameRules(masked=not client)
        self._reader = RawFrameReader(self._rules)
        self._leftover = b""
        self._part_key = b""
        self._pings: set[bytes] = set()
        self._pongs: set[bytes] = set()
        """The payloads of the pongs that were sent, but for empty ones, which heartbeats have, too."""
        self.pong_answered: bool = False
        """True once the other side has sent the payload of a pong back in one."""
        self._close_sent = False
        self._stream_ended = False
        self._readable = trio.Event()
        self._readable.set()

    @property
    def compressed(self) -> bool:
        """Whether permessage-deflate is agreed on."""
        return self._deflate is not None

    def agree(self, parameters: deflate.Parameters | None) -> None:
        """Begin with frames, compressed by these parameters if there are any."""
        self._deflate = None if parameters is None else deflate.MessageDeflate(parameters, client=self._client)
        self._rules.compressed = parameters is not None

    # --- heads ---------------------------------------------------------------------------------------------------

    async def send_head(self, data: bytes, chop: int = 0) -> None:
        """Send the head of a request or response, in writes of `chop` octets."""
        self.log.add("sent", _shown_head(data[:2000]))
        await self._send_pieces([data[start : start + chop] for start in range(0, len(data), chop)] if chop else [data])

    async def read_head(self) -> OpeningHead | None:
        """Return the head that arrives; None if the other side ends before it is complete.

        Raises:
            Finding: it is malformed or endless.
        """
        received = self._leftover
        while HEAD_END not in received:
            data = await self._receive()
            if not data:
                self.ended = True
                if received:
                    self.log.add("received", "an incomplete head", received)
                return None
            received += data
            if len(received) > MAX_HEAD:
                raise Finding("RFC 9112 2", f"no head ends within {MAX_HEAD} bytes: {received[:40]!r}...")
        head, _, self._leftover = received.partition(HEAD_END)
        self.log.add("received", _shown_head(head))
        return OpeningHead.parse(head)

    async def expect_silence(self, section: str) -> None:
        """Wait for ever, since nothing may arrive before the response.

        Raises:
            Finding: something does.
        """
        data = self._leftover or await self._receive()
        raise Finding(section, f"something came before the response: {data[:40]!r}" if data else "the client left")

    # --- out -----------------------------------------------------------------------------------------------------

    async def send(self, frames: tuple[RawFrame, ...], chop: Chop = TOGETHER, *, exact: bool = False) -> None:
        """Send frames. When the other side has ended the connection, the rest is dropped.

        Args:
            frames: in order.
            chop: how their bytes are cut into writes.
            exact: whether they are masked, or not, as they say, else as the suite's side must.
        """
        pieces = []
        for frame in frames:
            pieces.append((frame if exact else self._masked(frame)).encode())
            self._pings |= {frame.payload} if frame.opcode == Opcode.PING else set()
            self._pongs |= {frame.payload} - {b""} if frame.opcode == Opcode.PONG else set()
            self._close_sent = self._close_sent or frame.opcode == Opcode.CLOSE
            self.log.add("sent", frame, pieces[-1])
        if chop != BY_FRAME:
            whole = b"".join(pieces)
            step = len(whole) if chop == TOGETHER else chop
            pieces = [whole[start : start + step] for start in range(0, len(whole), max(step, 1))]
        await self._send_pieces(pieces, self.pace.pause if chop == BY_FRAME else self.pace.octet)

    async def send_raw(self, data: bytes, what: str) -> None:
        """Send bytes as they are."""
        self.log.add("sent", what, data)
        await self._send_pieces([data])

    async def send_part(self, frame: RawFrame, start: int, stop: int) -> None:
        """Send the bytes of a frame's payload from `start` to `stop`, and its header with the first of them."""
        if start == 0:
            self._part_key = self._next_key()
        encoded = attrs.evolve(frame, masked=self._client, mask=self._part_key).encode()
        header = len(encoded) - len(frame.payload)
        piece = encoded[start + header if start else 0 : stop + header]
        self.log.add("sent", f"a part of {frame}", piece)
        await self._send_pieces([piece])

    async def _send_pieces(self, pieces: list[bytes], pause: float | None = None) -> None:
        waiting, self.waiting = self.waiting, "room for what is sent"
        patient = 1 < len(pieces) <= PATIENT_PIECES
        try:
            for piece in pieces:
                await self._stream.send_all(piece)
                if patient:
                    await trio.sleep(self.pace.octet if pause is None else pause)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            self.log.add("note", "the other side takes nothing any more")
        self.waiting = waiting

    def _masked(self, frame: RawFrame) -> RawFrame:
        return attrs.evolve(frame, masked=True, mask=self._next_key()) if self._client else frame

    def _next_key(self) -> bytes:
        return (next(self._masks) & 0xFFFFFFFF).to_bytes(4)

    def compress(self, payload: bytes) -> tuple[bytes, int]:
        """Return a message's payload as it is to be sent, and the reserved bits of its first frame."""
        return (payload, 0) if self._deflate is None else (self._deflate.compress(payload), RSV1)

    async def end_stream(self) -> None:
        """End our side of the network connection; TLS has no half-close, so there it is closed."""
        self.log.add("note", "FIN: our side of the connection is ended")
        self._stream_ended = True
        try:
            if isinstance(self._stream, trio.abc.HalfCloseableStream):
                await self._stream.send_eof()
            else:
                await self._stream.aclose()
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            pass

    async def close(self) -> None:
        """Close the network connection at once."""
        await trio.aclose_forcefully(self._stream)

    # --- in ------------------------------------------------------------------------------------------------------

    def stop_reading(self) -> None:
        """Read nothing until `go_on_reading`."""
        self._readable = trio.Event()

    def go_on_reading(self) -> None:
        """Read again."""
        self._readable.set()

    async def read(self) -> None:
        """Take in everything that arrives, until the other side ends or breaks a rule of framing."""
        try:
            data = self._leftover or await self._receive()
            if not self._client and data.startswith(NEXT_REQUEST):
                self.log.add("note", "the client has refused the response: its next request follows", data)
                data = b""
            while data:
                self._reader.feed(data)
                while (frame := self._reader.next_frame()) is not None:
                    await self._take(frame)
                await self._notify()
                data = await self._receive()
            if self._reader.unread and not (self.reset or self._close_sent or self._stream_ended):
                raise Finding("RFC 6455 5.2", "the connection ended within a frame")
        except InvalidFrame as invalid:
            self._found(Finding.of(invalid))
        except Finding as finding:
            self._found(finding)
        self.log.add("note", "the other side has reset the connection" if self.reset else "the other side has ended")
        self.ended = True
        await self._notify()

    def _found(self, finding: Finding) -> None:
        self.finding = finding
        self.log.add("note", str(finding))

    async def _receive(self) -> bytes:
        await self._readable.wait()
        try:
            return bytes(await self._stream.receive_some())
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            self.reset = True
            return b""

    async def _take(self, frame: RawFrame) -> None:
        self.log.add("received", frame, frame.payload)
        self.keys += [frame.mask] if frame.masked else []
        if frame.opcode == Opcode.CLOSE:
            self.closing, self.closing_first = frame, not self._close_sent
        elif frame.opcode == Opcode.PONG:
            if frame.payload in self._pings:  # others are heartbeats (RFC 6455 5.5.3)
                self.pongs.append(pong(frame.payload))
            elif frame.payload in self._pongs:
                self.pong_answered = True
        elif frame.opcode == Opcode.PING:
            if not self._close_sent:
                await self.send((pong(frame.payload),))
        else:
            self._message.append(frame)
            if frame.fin:
                self.messages.append(self._join())

    def _join(self) -> RawFrame:
        first = self._message[0]
        payload = b"".join(frame.payload for frame in self._message)
        self._message.clear()
        if first.rsv1 and self._deflate is not None:
            payload = self._deflate.decompress(payload)
        if first.opcode == Opcode.TEXT:
            try:
                payload.decode()
            except UnicodeDecodeError:
                raise Finding("RFC 6455 8.1", f"a text message is not UTF-8: {payload[:40]!r}") from None
        assert first.opcode in (Opcode.CONTINUATION, Opcode.TEXT, Opcode.BINARY)
        return RawFrame(first.opcode, payload)

    async def _notify(self) -> None:
        async with self._changed:
            self._changed.notify_all()

    async def wait_for(self, condition: Callable[[], bool], event: str) -> None:
        """Wait until `condition` holds, or the other side has ended.

        Args:
            condition: looked at whenever something has arrived.
            event: its name, for the report of a case that runs out of time.
        """
        self.waiting = event
        async with self._changed:
            while not condition() and not self.ended:
                await self._changed.wait()


def _shown_head(data: bytes) -> str:
    return data.decode("latin-1").replace("\r\n", "\n").rstrip("\n")
