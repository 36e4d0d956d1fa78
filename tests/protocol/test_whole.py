"""The decoding of whole messages alone: which frames it takes, and where it stops."""

from __future__ import annotations

from typing import Any

import pytest
from support.networks import binary, ping, text

from trio_ws.protocol.frames import MASKED
from trio_ws.protocol.masking import apply_mask
from trio_ws.protocol.whole import WINDOW, whole_messages


def whole(data: bytes, *, stop: int = 100, budget: int = 1 << 20, largest: int = 1 << 20) -> tuple[int, list[Any]]:
    """Return the position behind the last whole message, and the messages."""
    out: list[Any] = []
    position, left = whole_messages(data, 0, out, stop, budget, masked=MASKED, largest=largest, apply_mask=apply_mask)
    assert left == budget - sum(map(len, out))
    return position, out


@pytest.mark.parametrize("size", [0, 1, 125, 126, 127, 1000, WINDOW - 100])
def test_messages_of_every_size_within_the_window_are_taken(size):
    """Also those with an extended length, wherever they stand in the read."""
    data = text("a") + binary(bytes(size)) + text("b")
    assert whole(data) == (len(data), ["a", bytes(size), "b"])


def test_a_control_frame_a_large_message_and_the_bounds_stop_it():
    first = text("a")
    assert whole(first + ping(b"x") + text("b")) == (len(first), ["a"])
    assert whole(first + binary(bytes(WINDOW))) == (len(first), ["a"])
    assert whole(first + binary(bytes(200)), largest=199) == (len(first), ["a"])
    assert whole(first * 3, stop=2) == (2 * len(first), ["a"] * 2)
    assert whole(first * 3, budget=1) == (len(first), ["a"])
