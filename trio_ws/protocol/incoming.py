"""The frame and the message that a decoder has in the making.

Each is made when its first byte comes, and dropped with its last. The decoder of an idle connection has neither.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from trio_ws.protocol.assembler import Assembler, BinaryAssembler, TextAssembler
from trio_ws.protocol.frames import (
    CLOSE,
    CONTINUATION,
    EXTENDED_LENGTH,
    FIN,
    LENGTH_BITS,
    OPCODE_BITS,
    START_SIZE,
    TEXT,
)
from trio_ws.protocol.limits import check_message_size
from trio_ws.protocol.masking import KEY_SIZE, rotate

if TYPE_CHECKING:
    from collections.abc import Callable

    from trio_ws.protocol.deflate import Inflater
    from trio_ws.protocol.frames import Data

__all__ = ["IncomingFrame", "IncomingMessage"]


class IncomingFrame:
    """A frame that is being read: its header as far as it came, then its payload.

    Attributes:
        head: the header, up to the part that is being read.
        need: bytes of the header up to the end of that part.
        in_payload: the header is complete.
        opcode: known, as the next two, from the header's length on.
        fin: the frame is the last one of its message.
        left: bytes of the payload that are to come.
        key: masks the next byte of the payload; empty if nothing is masked.
        control: the payload of a control frame, as far as it came.
    """

    __slots__ = ("control", "fin", "head", "in_payload", "key", "left", "need", "opcode")

    def __init__(self) -> None:
        self.head: bytes = b""
        self.need: int = START_SIZE
        self.in_payload: bool = False
        self.opcode: int = CONTINUATION
        self.fin: bool = False
        self.left: int = 0
        self.key: bytes = b""
        self.control: bytes = b""

    # --- the header ----------------------------------------------------------------------------------------------

    def gather(self, data: Data, position: int) -> int:
        """Take what `data` has of the header's part from `position` on; return where that ends."""
        part = data[position : position + self.need - len(self.head)]
        self.head += part
        return position + len(part)

    @property
    def part_is_complete(self) -> bool:
        """Whether the part of the header that is being read has come."""
        return len(self.head) == self.need

    @property
    def length_end(self) -> int:
        """The size of the header without its key, which the second byte says."""
        return START_SIZE + EXTENDED_LENGTH.get(self.head[1] & LENGTH_BITS, 0)

    def begin(self, first: int, size: int) -> None:
        """Note what a header's first byte and its length say."""
        self.opcode = first & OPCODE_BITS
        self.fin = bool(first & FIN)
        self.left = size

    def begin_payload(self) -> None:
        """Note that the header is complete, and keep its key."""
        self.key = self.head[self.length_end :]
        self.head = b""
        self.in_payload = True

    def expect_key(self) -> None:
        """Read on to the end of the masking key."""
        self.need = self.length_end + KEY_SIZE

    # --- the payload ---------------------------------------------------------------------------------------------

    @property
    def is_control(self) -> bool:
        """Whether it is a control frame (RFC 6455 5.5)."""
        return self.opcode >= CLOSE

    @property
    def is_over(self) -> bool:
        """Whether all of it was taken."""
        return self.in_payload and not self.left

    @property
    def ends_message(self) -> bool:
        """Whether all of it was taken, and of its message, too."""
        return self.fin and not self.left

    def skip(self, most: int) -> int:
        """Drop at most so many bytes of the payload; return how many."""
        size = min(self.left, most)
        self.left -= size
        return size

    def take(
        self, data: Data, position: int, apply_mask: Callable[[Data, bytes], bytes], most: int = sys.maxsize
    ) -> bytes:
        """Take the next part of the payload, which is in `data` from `position` on; return it unmasked.

        Args:
            data: the peer's bytes.
            position: in `data`.
            apply_mask: unmasks.
            most: bytes to take at most.
        """
        part = data[position : position + min(self.left, most)]
        self.left -= len(part)
        key = self.key
        if not key:
            return bytes(part)
        self.key = rotate(key, len(part))
        return apply_mask(part, key)

    def give_back(self, count: int) -> None:
        """Treat the last bytes that were taken as not taken."""
        self.left += count
        self.key = rotate(self.key, -count)


class IncomingMessage:
    """A data message that is being received, over all of its frames.

    Args:
        opcode: of its first frame.
        inflater: inflates it; None if it is not compressed.
    """

    __slots__ = ("_fragments", "_wire_size", "assembler", "inflated", "inflater")

    def __init__(self, opcode: int, inflater: Inflater | None) -> None:
        self.assembler: Assembler = TextAssembler() if opcode == TEXT else BinaryAssembler()
        self.inflater: Inflater | None = inflater
        self.inflated: int = 0
        """Bytes that were inflated of it."""
        self._fragments = self._wire_size = 0

    def add_frame(self, size: int, *, max_message_size: int, max_fragments: int) -> None:
        """Count a frame with a payload of `size` bytes.

        Raises:
            ProtocolViolation: the message has too many bytes or frames.
        """
        self._fragments += 1
        self._wire_size += size
        check_message_size(
            self._wire_size,
            self._fragments,
            max_message_size=max_message_size,
            max_fragments=max_fragments,
            compressed=self.inflater is not None,
        )

    def drop(self) -> None:
        """Discard the gathered parts."""
        self.assembler = BinaryAssembler()
