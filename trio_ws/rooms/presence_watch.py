"""Changes of a room's presence in all processes."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, Final

import attrs
import trio

from trio_ws.errors import BackplaneError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from trio_ws.rooms.backplane import Presence
    from trio_ws.rooms.callbacks import RoomCallbacks
    from trio_ws.rooms.place import Place

__all__ = ["PresenceDiff", "PresenceWatch"]

logger: Final = logging.getLogger("trio_ws")

_POLL: Final = 5.0
"""Seconds after which presence is asked for without a signal: a process that was killed gives none."""
_GATHER: Final = 0.05
"""Seconds for which changes are gathered, since each query answers with all members."""


@attrs.frozen
class PresenceDiff:
    """Members that have come to or gone from a room, in any process, since the last such change."""

    joins: tuple[Presence, ...]
    """Those that have come, in the order of `Room.presence`."""
    leaves: tuple[Presence, ...]
    """Those that have gone."""


class PresenceWatch:
    """Watches a room's presence, and calls back with its changes.

    Args:
        place: has the backplane.
        members: those in this process; their joins are reported, even if they come first.
        callbacks: makes the calls.
        functions: are called.
    """

    def __init__(
        self,
        place: Place,
        members: Mapping[Any, Any],
        callbacks: RoomCallbacks,
        functions: Sequence[Callable[..., Any]],
    ) -> None:
        self._place = place
        self._members = members
        self._callbacks = callbacks
        self._functions = functions
        self._known: dict[str, Presence] | None = None

    async def run(self, room: object) -> None:
        """Call back until cancelled.

        Args:
            room: the first argument of the calls.
        """
        while True:
            changed = self._place.registry.backplane.presence_change(self._place.topic)
            try:
                found = await self._place.registry.backplane.presence(self._place.topic)
            except BackplaneError as error:
                logger.debug("no presence of %r: %s", room, error)
                await trio.sleep(_POLL)
                continue
            diff = self._diff({member.id: member for member in found})
            if diff.joins or diff.leaves:
                self._callbacks.add(self._functions, self._place.registry.callback_nursery, room, diff)
            with trio.move_on_after(_POLL):
                await changed.wait()
                await trio.sleep(_GATHER)

    def _diff(self, now: dict[str, Presence]) -> PresenceDiff:
        """Return the changes since the last call; at first, the members in this process."""
        known = self._known
        if known is None:
            own = {member.id for member in self._members.values()}
            known = {identifier: presence for identifier, presence in now.items() if identifier not in own}
        self._known = now
        return PresenceDiff(
            tuple(presence for identifier, presence in now.items() if identifier not in known),
            tuple(presence for identifier, presence in known.items() if identifier not in now),
        )
