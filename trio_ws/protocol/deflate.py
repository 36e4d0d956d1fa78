"""The data of permessage-deflate, inflated and deflated (RFC 7692 7.2).

Frames, the RSV1 bit and the negotiation are in `frames` and `negotiation`. The compressors that connections share
are in `compressors`.

No zlib object is kept between messages to inflate with, not even when the peer keeps its context: every
message is read by a fresh raw stream that is primed with the last bytes of earlier messages. That costs a
microsecond or less, is smaller than a stream at rest, and makes the end of a message testable: a stream that
is not needed any more can be asked to end, and ends only if the message was whole.
"""

from __future__ import annotations

import zlib
from copy import copy
from typing import Final

from trio_ws.protocol.compressors import TAIL, Compressor, Kind, Shared, get_library, make_compressor

__all__ = [
    "COMPRESSED_PART",
    "DEFLATED_AT_ONCE",
    "Deflater",
    "Deflating",
    "InflateError",
    "InflateTooBig",
    "Inflater",
    "deflate_alone",
    "deflated_bound",
]

_END = b"\x03\x00"
"""An empty last block (RFC 1951 3.2.3: BFINAL=1, BTYPE=01, then the seven zero bits that end a block)."""
_TAIL_AND_END = TAIL + _END

_SLICE = 16 * 1024
"""Bytes fed to zlib at once. What it hands back unread is copied: that must not be a long rest."""
_MOST = 2 * 1032 * _SLICE
"""More than a slice can inflate to: deflate's best ratio is 1032 to 1 (zlib's technical notes)."""
_FREE_RESTARTS = 64
_BYTES_PER_RESTART = 64
"""How often a part may end its stream and begin another: 64 times, and once more for every 64 bytes of it.
Senders do so once a message or fragment; a peer that fills a message with empty last blocks would make us
work for each two bytes as much as for a message."""

COMPRESSED_PART: Final = 16 * 1024
"""Compressed bytes that are unmasked at once: what is not inflated in this turn is unmasked anew in the next."""

DEFLATED_AT_ONCE: Final = 16 * 1024
"""Bytes that are deflated in one step: half a millisecond, three where zlib is slowest."""

_ALONE: Final = 4 * 1024
"""Bytes from which on a message for many is deflated once, without context: those that keep one would each take their
own time, and what was before helps a message of that size little."""

_SMALLEST_WINDOW = 9
"""In bits. zlib's raw deflate uses 9 where it is told 8: a peer that agreed to 8 may in truth need 9 of us."""

_shared: Final = Shared(get_library)
"""Deflates whole messages without context, of all connections."""


def deflated_bound(size: int, frames: int) -> int:
    """Return how many bytes on the wire a message of `size` bytes may come in when it is compressed.

    zlib makes at most an eighth and some more of what does not compress (its `deflateBound`), and each frame may end
    with a flush or a last block of its own.
    """
    return size + size // 7 + 16 * frames


def deflate_alone(kind: Kind, data: bytes) -> bytes:
    """Return the payload of a whole message that refers to no other one."""
    return _shared.deflate(kind, data)


class InflateError(Exception):
    """The compressed data is corrupt, or its message ends in the middle of a block. Answered with 1007."""


class InflateTooBig(Exception):  # noqa: N818 - what it is
    """The message inflates to more than the limit. Answered with 1009."""


class Inflater:
    """Inflates the messages that one peer sends.

    After an error it must not be used again: the stream is out of step.

    Args:
        window_bits: the peer's agreed window is 2 to this power bytes, 8 to 15.
        context_takeover: whether the peer may refer to earlier messages.
    """

    __slots__ = ("_context_takeover", "_history", "_stream", "_window_bits", "_window_size", "left")

    left: int
    """Bytes at the end of what the last `inflate` was given that it did not take: they are to come again."""

    def __init__(self, *, window_bits: int = 15, context_takeover: bool) -> None:
        self._window_bits = max(window_bits, _SMALLEST_WINDOW)
        self._window_size = 1 << self._window_bits
        self._context_takeover = context_takeover
        self._history = bytearray()  # the end of what was inflated so far, at most a window
        self._stream: zlib._Decompress | None = None  # only while a message is being read
        self.left = 0

    def inflate(
        self, data: bytes | bytearray | memoryview, *, final: bool, limit: int, most: int | None = None
    ) -> bytes:
        """Inflate one part of a message's payload (RFC 7692 7.2.2).

        Args:
            data: the next bytes of the payload, any number.
            final: whether these are the last of this message.
            limit: how many more bytes this message may inflate to, 0 or more.
            most: stop after so many inflated bytes, 1 or more, and set `left`; None for no stop before `limit`.

        Returns:
            The inflated bytes, at most `limit`, and at most some KiB more than `most`.

        Raises:
            InflateError: corrupt data, or a message that ends within a block.
            InflateTooBig: more than `limit` bytes would come out; not much more than `limit` were ever made.
        """
        self.left = 0
        most = limit + 1 if most is None else min(most, limit + 1)
        try:
            if final and self._stream is None and 0 < len(data) <= _SLICE:
                return self._inflate_small(data, limit, most)
            inflated = self._feed(data, limit, most)
            if final and not self.left:
                self._finish()
        except zlib.error as error:
            raise InflateError(f"corrupt compressed data: {error}") from error
        return inflated

    def _inflate_small(self, data: bytes | bytearray | memoryview, limit: int, most: int) -> bytes:
        """Inflate a small message, which nearly always is all of it, without a last block."""
        stream = self._make_stream()
        inflated = stream.decompress(data, min(most, _MOST))
        if len(inflated) == most or stream.eof:
            self._stream = stream
            inflated = self._feed(data, limit, most, inflated)
            if not self.left:
                self._finish()
            return inflated
        _end(stream)
        if self._context_takeover:
            self._remember(inflated)
        else:
            self._history.clear()  # of an earlier part, if that ended with a last block
        return inflated

    def _feed(self, data: bytes | bytearray | memoryview, limit: int, most: int, begun: bytes | None = None) -> bytes:
        """Inflate up to `most` bytes, and set `left`; `begun` is what the stream made of the first slice."""
        pieces = []
        position, end = 0, len(data)
        view = memoryview(data)
        restarts = _FREE_RESTARTS + end // _BYTES_PER_RESTART
        while position < end and most > 0:
            part = view[position : position + _SLICE]
            stream = self._stream
            if stream is None:  # a message begins, or goes on after a last block (RFC 7692 7.2.3.4)
                stream = self._stream = self._make_stream()
            piece = stream.decompress(part, min(limit + 1, most, _MOST)) if begun is None else begun
            begun = None
            position += len(part) - len(stream.unused_data) - len(stream.unconsumed_tail)
            limit -= len(piece)
            most -= len(piece)
            if limit < 0:
                raise InflateTooBig
            pieces.append(piece)
            self._remember(piece)
            if stream.eof:
                self._stream = None
                restarts -= 1
                if restarts < 0:
                    raise InflateError("too many last blocks in one message")
        self.left = end - position
        if not (most or self.left or self._stream is None):
            pieces.append(self._rest_of(self._stream, limit))
        return b"".join(pieces)

    def _rest_of(self, stream: zlib._Decompress, limit: int) -> bytes:
        """Return the output that zlib holds back: of some bits of input, so some KiB at most."""
        piece = stream.decompress(b"", min(limit + 1, _MOST))
        if len(piece) > limit:
            raise InflateTooBig
        self._remember(piece)
        if stream.eof:
            self._stream = None
        return piece

    def _make_stream(self) -> zlib._Decompress:
        if self._history:
            return zlib.decompressobj(-self._window_bits, zdict=self._history)
        return zlib.decompressobj(-self._window_bits)  # without a window to fill it is made in half the time

    def _remember(self, piece: bytes) -> None:
        end = piece[-self._window_size :]
        excess = len(self._history) + len(end) - self._window_size
        if excess > 0:
            del self._history[:excess]  # before it grows, so that it is never made larger than a window
        self._history += end

    def _finish(self) -> None:
        """End the message.

        There is no stream when nothing was sent, or when the last byte ended a last block. The first is what
        comes of flushing zlib twice for an empty message, the second of finishing a stream and no more.
        Neither is what RFC 7692 7.2.1 says, and neither can be misunderstood.
        """
        stream, self._stream = self._stream, None
        if stream is not None:
            _end(stream)
        if not self._context_takeover:
            self._history.clear()


def _end(stream: zlib._Decompress) -> None:
    """The tail of a message must complete an empty block, and the stream be able to end after that."""
    # The tail of a whole message is the length of an empty block, so nothing comes out of it. If that
    # block was a last one, the stream has ended before `_END`.
    leaked = stream.decompress(_TAIL_AND_END, 1)
    if leaked or not stream.eof or stream.unused_data not in (b"", _END):
        raise InflateError("the compressed message ends within a block")


class Deflater:
    """The compression of the messages to one peer.

    Args:
        level: zlib's level, 0 to 9.
        window_bits: our agreed window is 2 to this power bytes, 8 to 15.
        context_takeover: whether messages may refer to earlier ones; if not, nothing is kept between them.
        threshold: messages of fewer bytes are better sent as they are; the encoder decides.
    """

    __slots__ = ("_before", "_level", "_moves", "_stream", "_window_bits", "kind", "threshold")

    threshold: int
    """In bytes."""
    kind: Kind | None
    """Deflaters of the same kind deflate a whole message to the same bytes; None if it depends on earlier ones."""

    def __init__(self, *, level: int, window_bits: int, context_takeover: bool, threshold: int) -> None:
        self._level = level
        self._window_bits = window_bits
        self.threshold = threshold
        self.kind = None if context_takeover else (level, window_bits)
        # The context; without one, only while a message is sent in parts.
        self._stream: Compressor | None = None
        self._before = b""  # the end of a message that was deflated elsewhere, if it was the last one
        self._moves = 0  # of the context, so far

    def kind_of(self, size: int) -> Kind | None:
        """Return the parameters of a payload for many connections; None if it depends on earlier messages."""
        return (self._level, self._window_bits) if self.kind is None and size >= _ALONE else self.kind

    def passed(self, data: str | bytes) -> None:
        """Go on behind a whole message that `deflate_alone` has deflated; the peer is sent it now."""
        if self.kind is None:
            end = data[-(1 << self._window_bits) :]
            self._before = end.encode() if isinstance(end, str) else end
            self._before = self._before[-(1 << self._window_bits) :]
            self._stream = None
            self._moves += 1

    def _make_stream(self) -> Compressor:
        if not self._before:
            return make_compressor(self._level, self._window_bits)
        return make_compressor(self._level, self._window_bits, before=self._before)

    def deflate(self, data: bytes | bytearray | memoryview, *, final: bool) -> bytes:
        """Deflate one part of a message (RFC 7692 7.2.1).

        Every part must be sent, in order, and the last one must be `final`: the peer's stream depends on it. If this
        raises (MemoryError, say), the message cannot be continued, and the next one refers to nothing before it.

        Args:
            data: the next bytes of the message, any number.
            final: whether these are the last of this message.

        Returns:
            The next bytes of the payload; of a part that is not final there may be none yet.
        """
        stream, self._stream = self._stream, None  # it comes back if nothing goes wrong
        self._moves += 1
        if stream is None:
            if final and self.kind is not None:
                return _shared.deflate(self.kind, data)
            stream = self._make_stream()
        self._before = b""
        deflated = stream.compress(data)
        if final:
            deflated = (deflated + stream.flush(zlib.Z_SYNC_FLUSH))[: -len(TAIL)]
        if not final or self.kind is None:
            self._stream = stream
        return deflated

    def begin(self, data: bytes) -> Deflating:
        """Begin to deflate a whole message in steps. Nothing of the context moves before `end`."""
        if self.kind is not None:
            stream = make_compressor(*self.kind, get_library())
        else:
            stream = self._make_stream() if self._stream is None else copy(self._stream)
        return Deflating(data, stream, self._moves)

    def end(self, deflating: Deflating) -> bytes:
        """Return the payload of a message whose steps are done, which is to be sent now.

        If another message has moved the context in the meantime, the work is done again, at once.
        """
        if self.kind is None:
            if deflating.moves != self._moves:
                return self.deflate(deflating.data, final=True)
            self._moves += 1
            self._stream = deflating.stream
            self._before = b""
        return deflating.payload


class Deflating:
    """A whole message while it is deflated in steps; made by `Deflater.begin`, or for many by `alone`."""

    __slots__ = ("_position", "data", "moves", "pieces", "stream")

    def __init__(self, data: bytes, stream: Compressor, moves: int) -> None:
        self.data: bytes = data
        self.stream: Compressor = stream
        self.moves: int = moves
        self.pieces: list[bytes] = []
        self._position = 0

    @classmethod
    def alone(cls, kind: Kind, data: bytes) -> Deflating:
        """Begin to do in steps what `deflate_alone` does."""
        return cls(data, make_compressor(*kind, get_library()), 0)

    @property
    def payload(self) -> bytes:
        """The output, complete when the steps are done (RFC 7692 7.2.1)."""
        return b"".join(self.pieces)[: -len(TAIL)]

    def step(self) -> bool:
        """Deflate the next `DEFLATED_AT_ONCE` bytes; return whether there are more."""
        part = memoryview(self.data)[self._position : self._position + DEFLATED_AT_ONCE]
        self._position += len(part)
        self.pieces.append(self.stream.compress(part))
        if self._position < len(self.data):
            return True
        self.pieces.append(self.stream.flush(zlib.Z_SYNC_FLUSH))
        return False
