"""The wire log of a case."""

from __future__ import annotations

from typing import Final, Literal, TypeAlias

import attrs
import trio

__all__ = ["Direction", "LogEntry", "WireLog"]

Direction: TypeAlias = Literal["sent", "received", "note"]

SHOWN_BYTES: Final = 64
"""Bytes of a piece that the log keeps."""
MAX_ENTRIES: Final = 120
"""Entries of a log; the rest is counted."""


@attrs.frozen
class LogEntry:
    """One line of the log.

    Args:
        seconds: since the case began.
        direction: "sent" by the suite, "received" by it, or a "note".
        text: its description.
        data: the beginning of the bytes, if there are any.
        size: how many bytes there are.
    """

    seconds: float
    direction: Direction
    text: str
    data: bytes = b""
    size: int = 0


class WireLog:
    """Collects entries.

    Attributes:
        entries: the first of them, in order.
        omitted: how many came after.
    """

    def __init__(self) -> None:
        self.entries: list[LogEntry] = []
        self.omitted: int = 0
        self._began = trio.current_time()

    def add(self, direction: Direction, text: object, data: bytes = b"") -> None:
        """Add an entry; its text is `str(text)`."""
        if len(self.entries) >= MAX_ENTRIES:
            self.omitted += 1
            return
        seconds = trio.current_time() - self._began
        self.entries.append(LogEntry(seconds, direction, str(text), bytes(data[:SHOWN_BYTES]), len(data)))
