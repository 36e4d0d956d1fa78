"""Positions in streams, and replay of the entries after one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Final

import attrs

from trio_ws.rooms.backplane import Entry, Log, Replay, SeenAhead
from trio_ws.rooms.redis.entries import StreamEntry

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

__all__ = ["ReplayLog", "SeenElsewhere", "StreamPosition"]

_MAX_PARTS: Final = 16
"""Parts of a position beside the id, at most: the text comes from a client."""
_MAX_PART_LENGTH: Final = 32
"""Characters of a part without its hyphen: a process has 16, and no number gets as many."""


@attrs.frozen
class StreamPosition:
    """The entries that a member has, up to one and delivered early."""

    entry_id: str
    delivered_early: Mapping[str, int] = attrs.field(factory=dict)
    """By publisher, the greatest number up to which the member has its messages."""

    @classmethod
    def parse(cls, text: str) -> StreamPosition:
        """Parse a position; any other text becomes an unknown id."""
        entry_id, *parts = text.split("~", _MAX_PARTS)
        numbers = {publisher: number for publisher, _, number in (part.rpartition("-") for part in parts)}
        if not all(_is_valid(publisher, number) for publisher, number in numbers.items()):
            return cls(text)
        return cls(entry_id, {publisher: int(number) for publisher, number in numbers.items()})

    def __str__(self) -> str:
        return "~".join(
            [self.entry_id, *(f"{publisher}-{number}" for publisher, number in self.delivered_early.items())]
        )


def _is_valid(publisher: str, number: str) -> bool:
    return (
        len(publisher) + len(number) <= _MAX_PART_LENGTH
        and publisher.isascii()
        and publisher.isalnum()
        and number.isdecimal()
    )


class SeenElsewhere(SeenAhead):
    """Messages that a member was delivered early in another process.

    Args:
        delivered_early: by publisher, the greatest number of them.
    """

    def __init__(self, delivered_early: Mapping[str, int]) -> None:
        self._delivered_early = {**delivered_early}

    @property
    def is_exhausted(self) -> bool:
        """See `SeenAhead.is_exhausted`."""
        return not self._delivered_early

    def take(self, entry: Entry) -> Entry | None:
        """Return an unseen entry, with the rest in its id; see `SeenAhead.take`."""
        assert isinstance(entry, StreamEntry), "nothing else is in a stream"
        last = self._delivered_early.get(entry.publisher, 0)
        if entry.sequence and entry.number >= last:
            self.forget(entry.publisher)
        if entry.number <= last:
            return None
        if not self._delivered_early:
            return entry
        position = StreamPosition.parse(entry.id)
        merged = {**self._delivered_early, **position.delivered_early}
        return attrs.evolve(entry, id=str(StreamPosition(position.entry_id, merged)))

    def forget(self, publisher: str) -> None:
        """Expect no more of a publisher's messages."""
        self._delivered_early.pop(publisher, None)

    def __iter__(self) -> Iterator[tuple[str, int]]:
        return iter([*self._delivered_early.items()])


class ReplayLog(Log):
    """A subscription's log of entries read, then of those delivered early.

    Args:
        size: the number of read entries that it holds.
        early_entries: returns the entries that were delivered early and are unread.
        is_unread: whether the subscription may still read a publisher's message with a number.
    """

    __slots__ = ("_early_entries", "_is_unread", "missing_number")

    missing_number: int
    """The number of a message that was delivered early, is unread, and is not held; 0 for none."""

    def __init__(
        self, size: int, early_entries: Callable[[], Sequence[StreamEntry]], is_unread: Callable[[str, int], bool]
    ) -> None:
        super().__init__(size)
        self._early_entries = early_entries
        self._is_unread = is_unread
        self.missing_number = 0

    def since(self, after: str) -> Replay:
        """Return the entries after a position; see `Log.since`."""
        position = StreamPosition.parse(after)
        replay = super().since(position.entry_id)
        entries = (*replay.entries, *self._early_entries())
        recovered = replay.recovered and not self.missing_number
        if not (recovered and position.delivered_early):
            return Replay(entries, recovered)
        seen = SeenElsewhere(position.delivered_early)
        unseen = tuple(taken for entry in entries if (taken := seen.take(entry)) is not None)
        for publisher, number in seen:
            if not self._is_unread(publisher, number):
                seen.forget(publisher)
        return Replay(unseen, recovered=True, ahead=None if seen.is_exhausted else seen)

    def read_entries(self) -> list[StreamEntry]:
        """Return the entries that were read."""
        return [entry for entry in super().__iter__() if isinstance(entry, StreamEntry)]

    def __iter__(self) -> Iterator[Entry]:
        return iter((*super().__iter__(), *self._early_entries()))

    def __len__(self) -> int:
        return super().__len__() + len(self._early_entries())
