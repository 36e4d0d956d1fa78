"""A task that runs once for each room, in one of all processes, by a lease in the backplane."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, Final

import trio

from trio_ws.errors import BackplaneError
from trio_ws.rooms.callbacks import label_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from trio_ws.rooms.backplane import Backplane
    from trio_ws.rooms.place import Place

__all__ = ["LEASE_SECONDS", "start_leaders"]

logger: Final = logging.getLogger("trio_ws")

LEASE_SECONDS: Final = 10.0
"""Seconds after which the place of a leader that is gone without a word is free."""
_MARGIN: Final = 2.0
"""Seconds before the end of its lease at which a leader stops, so that two never run at once."""
_RENEW_AFTER: Final = 2.5
"""Seconds; three attempts fit into a lease."""
_TRY_AFTER: Final = 2.0
"""Seconds between two looks whether the place is free."""
_LONGEST_PAUSE: Final = 30.0
"""Seconds before a task that has failed again and again is begun anew."""
_RELEASE_TIMEOUT: Final = 1.0


def start_leaders(nursery: trio.Nursery, place: Place, room: object, functions: Iterable[Callable[..., Any]]) -> None:
    """Start the tasks that wait to lead a room.

    Args:
        nursery: runs them.
        place: has the backplane, and names candidates.
        room: the argument of the functions.
        functions: each runs while this process leads for it.
    """
    for function in functions:
        leadership = Leadership(place.registry.backplane, place.topic, place.registry.next_member_id(), function, room)
        nursery.start_soon(leadership.run, name=f"leader of {room!r}")


class Leadership:
    """One process's part in the lead of a room.

    Args:
        backplane: has the lease.
        topic: the room's.
        holder: a name that no other candidate has.
        function: runs while this process leads.
        argument: of the function: the room.
    """

    def __init__(
        self, backplane: Backplane, topic: str, holder: str, function: Callable[..., Any], argument: object
    ) -> None:
        self._backplane = backplane
        self._topic = topic
        self._holder = holder
        self._function = function
        self._argument = argument
        self._name = label_of(function)
        self._failures = 0

    async def run(self) -> None:
        """Wait for the lead, hold it, and wait again if it is lost, until cancelled."""
        try:
            await self._compete()
        except Exception:
            logger.exception("cannot lead %r with %s", self._argument, self._name)

    async def _compete(self) -> None:
        while True:
            granted_at = trio.current_time()
            if await self._lease():
                try:
                    await self._lead(granted_at)
                finally:
                    await self._release()
            pause = min(_TRY_AFTER * 2**self._failures, _LONGEST_PAUSE) if self._failures else _TRY_AFTER
            await trio.sleep(pause)

    async def _lease(self) -> bool:
        """Take or renew the lease; return whether this process has it."""
        try:
            return await self._backplane.lease(self._topic, self._name, self._holder, LEASE_SECONDS)
        except BackplaneError as error:
            logger.debug("no lease for %s of %r: %s", self._name, self._argument, error)
            return False

    async def _release(self) -> None:
        with trio.move_on_after(_RELEASE_TIMEOUT, shield=True):
            try:
                await self._backplane.release(self._topic, self._name, self._holder)
            except BackplaneError:
                pass  # it ends by itself

    async def _lead(self, granted_at: float) -> None:
        """Run the function until it fails or the lease is lost; hold the place of one that has returned."""
        with trio.CancelScope(deadline=granted_at + LEASE_SECONDS - _MARGIN) as term:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._renew, term)
                try:
                    await self._function(self._argument)
                except Exception:
                    self._failures += 1
                    logger.exception("error in the leader %s of %r, it begins anew", self._name, self._argument)
                    nursery.cancel_scope.cancel(reason="the leader has failed")
                else:
                    self._failures = 0
        if term.cancelled_caught:
            logger.warning("the lease for %s of %r was lost: it was cancelled", self._name, self._argument)

    async def _renew(self, term: trio.CancelScope) -> None:
        while True:
            await trio.sleep(_RENEW_AFTER)
            asked_at = trio.current_time()
            try:
                held = await self._backplane.lease(self._topic, self._name, self._holder, LEASE_SECONDS)
            except BackplaneError:
                continue  # until the deadline
            if not held:
                term.cancel(reason="another process leads")
                return
            term.deadline = asked_at + LEASE_SECONDS - _MARGIN
