"""How much smaller the large cases are than published; TRIO_WS_CONFORMANCE=full runs them as published."""

from __future__ import annotations

import os

__all__ = ["FULL", "chopped_size", "compressed_count", "large_size", "round_trips"]

KIB = 1024
FULL = os.environ.get("TRIO_WS_CONFORMANCE") == "full"


def large_size(size: int) -> int:
    """Groups 9.1 to 9.4: a quarter, so 16 KiB to 4 MiB."""
    return size if FULL else size // 4


def chopped_size(size: int) -> int:
    """Groups 9.5 and 9.6: a sixteenth, so 64 KiB; the writes keep their sizes."""
    return size if FULL else size // 16


def round_trips(count: int) -> int:
    """Groups 9.7 and 9.8: 25 messages in place of 1,000."""
    return count if FULL else count // 40


def compressed_count(count: int, size: int) -> int:
    """Groups 12 and 13: as many messages of that size, of 1,000, as make up 32 KiB; at least 2, at most 20."""
    return count if FULL else min(20, max(2, 32 * KIB // size))
