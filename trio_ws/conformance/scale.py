"""The sizes of the large cases."""

from __future__ import annotations

from typing import Final

import attrs

__all__ = ["PUBLISHED", "QUICK", "Scale"]

KIB: Final = 1024


@attrs.frozen
class Scale:
    """How much smaller than published the cases of chapters 9, 12 and 13 are.

    Args:
        large: divisor of the sizes of 9.1 to 9.4.
        chopped: divisor of the sizes of 9.5 and 9.6; the writes keep their sizes.
        round_trips: messages of each case of 9.7 and 9.8.
        compressed_bytes: bytes that the messages of a case of 12 and 13 make up; at least 2 messages are sent.
        compressed_count: the most messages of such a case.
        compressed: divisor of the sizes of those messages.
    """

    large: int
    chopped: int
    round_trips: int
    compressed_bytes: int | None
    compressed_count: int
    compressed: int = 1

    def compressed_size(self, size: int) -> int:
        """Return the size of a message of chapters 12 and 13, at least 16 bytes."""
        return max(16, size // self.compressed)

    def messages(self, size: int) -> int:
        """Return how many messages of a size a case of chapters 12 and 13 sends."""
        if self.compressed_bytes is None:
            return self.compressed_count
        return min(self.compressed_count, max(2, self.compressed_bytes // size))


QUICK: Final = Scale(large=4, chopped=16, round_trips=25, compressed_bytes=32 * KIB, compressed_count=20)
"""The default: seconds for all cases."""

PUBLISHED: Final = Scale(large=1, chopped=1, round_trips=1_000, compressed_bytes=None, compressed_count=1_000)
"""The sizes of the published list: minutes, and messages of up to 16 MiB."""
