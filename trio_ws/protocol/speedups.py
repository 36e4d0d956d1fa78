"""The decoder and the encoder with hot parts in C.

The module can be imported if the extension was built. The base classes do the rest; `codec` chooses which of the two
codecs runs.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any, Final

from trio_ws.protocol._speedups import apply_mask, encode, parse
from trio_ws.protocol._speedups import plain_message as compiled_plain_message
from trio_ws.protocol.decoder import Decoder
from trio_ws.protocol.encoder import Encoder
from trio_ws.protocol.events import Event
from trio_ws.protocol.frames import BINARY, FIN, RSV1, TEXT

if TYPE_CHECKING:
    from trio_ws.protocol.deflate import Deflater

__all__ = ["CompiledDecoder", "CompiledEncoder", "compiled_plain_message"]


_WHOLE_TEXT: Final = FIN | TEXT
_WHOLE_BINARY: Final = FIN | BINARY


class CompiledDecoder(Decoder):
    """A decoder that reads whole messages in C, and unmasks in C."""

    __slots__ = ()

    budget: int

    _apply_mask = staticmethod(apply_mask)

    def decode(self, data: bytes | bytearray | memoryview, out: list[Event], max_items: int, max_bytes: int) -> int:
        """Do as `Decoder.decode`: nearly always `data` is whole messages to its end, and one call is all."""
        self.budget = min(max_bytes, sys.maxsize)
        stop = len(out) + max_items
        if not self._between:
            return self._decode_from(data, 0, out, stop)
        try:
            position, self.budget = parse(data, 0, out, stop, max_bytes, self._masked, self._max_message_size)
        except UnicodeDecodeError as error:
            self._fail(error, out)
            return len(data)
        if position == len(data) or (position and (self.budget <= 0 or len(out) >= stop)):
            return position
        return self._decode_from(data, position, out, stop)

    def decode_whole(self, data: bytes | bytearray | memoryview, out: list[Any], stop: int, max_bytes: int) -> int:
        """Do as `Decoder.decode_whole`, with a call less."""
        self.budget = min(max_bytes, sys.maxsize)
        if not self._between:
            return 0
        before = len(out)
        try:
            position, self.budget = parse(data, 0, out, stop, max_bytes, self._masked, self._max_message_size)
        except UnicodeDecodeError:
            del out[before:]
            return 0
        return position

    def _whole_messages(self, data: bytes | bytearray | memoryview, position: int, out: list[Event], stop: int) -> int:
        position, self.budget = parse(data, position, out, stop, self.budget, self._masked, self._max_message_size)
        return position


class CompiledEncoder(Encoder):
    """An encoder that writes frames in C."""

    __slots__ = ("_take_key",)

    def __init__(self, *, client: bool, deflater: Deflater | None = None) -> None:
        super().__init__(client=client, deflater=deflater)
        self._take_key = None if self._masks is None else self._masks.take

    def message(self, data: str | bytes | bytearray | memoryview) -> bytes:
        """Do as `Encoder.message`."""
        if not self._opcode and self._deflater is None:
            if isinstance(data, str):
                return encode(_WHOLE_TEXT, data, self._take_key)
            if isinstance(data, bytes):
                return encode(_WHOLE_BINARY, data, self._take_key)
        return super().message(data)

    def _frame(self, opcode: int, payload: bytes, *, fin: bool = True, rsv1: bool = False) -> bytes:
        return encode((FIN if fin else 0) | (RSV1 if rsv1 else 0) | opcode, payload, self._take_key)
