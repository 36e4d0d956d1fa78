"""The decoding of frames that came whole.

These are messages without compression, which the compiled codec decodes in C, and control frames.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from trio_ws.protocol.frames import (
    BINARY,
    CLOSE,
    EXTENDED_16,
    FIN,
    MAX_CONTROL_SIZE,
    OPCODE_BITS,
    PING,
    PONG,
    START_SIZE,
    TEXT,
)
from trio_ws.protocol.masking import KEY_SIZE, WORDS, apply_mask

__all__ = ["WINDOW", "whole_control", "whole_messages"]

_WHOLE_TEXT: Final = FIN | TEXT
_WHOLE_MESSAGE: Final = (_WHOLE_TEXT, FIN | BINARY)
_WHOLE_CLOSE: Final = FIN | CLOSE
_WHOLE_CONTROL: Final = (FIN | PING, FIN | PONG, _WHOLE_CLOSE)
WINDOW: Final = 16 * 1024
"""Bytes that one call looks at. It reads a copy, as bytes are read faster than a memoryview, and the copy has a bound,
because a decoder that pauses after each message makes one each time."""


def whole_messages(
    data: bytes | bytearray | memoryview,
    position: int,
    out: list[Any],
    stop: int,
    budget: int,
    *,
    masked: int,
    largest: int,
    apply_mask: Callable[[bytes, bytes], bytes],
) -> tuple[int, int]:
    """Append the whole messages in `data` to `out`, from `position` to the first frame that is something else.

    Args:
        data: the peer's bytes.
        position: the start.
        out: receives `str` and `bytes`.
        stop: pause when `out` has this many items.
        budget: pause when messages of this many bytes were appended.
        masked: `MASKED` if the peer has to mask, else 0.
        largest: bytes of the largest message; a larger one is something else.
        apply_mask: unmasks what is longer than a control frame may be.

    Returns:
        The position behind the last message, and what is left of the budget.

    Raises:
        UnicodeDecodeError: a text message is not UTF-8; those before it are in `out`.
    """
    window, begin = bytes(data[position : position + WINDOW]), position
    position, end = 0, len(window)
    header = START_SIZE + KEY_SIZE if masked else START_SIZE
    while position + header <= end:
        first = window[position]
        size = window[position + 1] ^ masked
        start = position + header
        if size > MAX_CONTROL_SIZE:
            if size != EXTENDED_16:
                break
            size = int.from_bytes(window[position + START_SIZE : position + START_SIZE + 2])
            start += 2
            if size <= MAX_CONTROL_SIZE:
                break
        after = start + size
        if after > end or size > largest or first not in _WHOLE_MESSAGE:
            break
        if not masked:
            payload = window[start:after]
        elif size <= MAX_CONTROL_SIZE:
            # Key and payload as one number: XORed with the key in a row its first four bytes are zero.
            number = int.from_bytes(window[start - KEY_SIZE : after], "little")
            number ^= (number & 0xFFFFFFFF) * WORDS[(size + 7) >> 2]
            payload = number.to_bytes(size + 7, "little")[KEY_SIZE : KEY_SIZE + size]
        else:
            payload = apply_mask(window[start:after], window[start - KEY_SIZE : start])
        out.append(str(payload, "utf-8") if first == _WHOLE_TEXT else payload)
        position = after
        budget -= size
        if len(out) >= stop or budget <= 0:
            break
    return begin + position, budget


def whole_control(data: bytes | bytearray | memoryview, position: int, masked: int) -> tuple[int, bytes, int] | None:
    """Return opcode and payload of the control frame at `position`, and where it ends.

    Args:
        data: the peer's bytes.
        position: of the frame.
        masked: `MASKED` if the peer has to mask, else 0.

    Returns:
        None if the frame is cut, is something else, or breaks a rule of RFC 6455 5.
    """
    start = position + (START_SIZE + KEY_SIZE if masked else START_SIZE)
    if start > len(data) or data[position] not in _WHOLE_CONTROL:
        return None
    size = data[position + 1] ^ masked
    if size > MAX_CONTROL_SIZE or start + size > len(data) or (size == 1 and data[position] == _WHOLE_CLOSE):
        return None
    payload = bytes(data[start : start + size])
    if masked:
        payload = apply_mask(payload, bytes(data[start - KEY_SIZE : start]))
    return data[position] & OPCODE_BITS, payload, start + size
