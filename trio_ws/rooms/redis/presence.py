"""Attendance: tells Redis who is in the rooms of this process, again and again: without that, they are gone.

What is here is what counts. Over a new link everything is told anew.
"""

from __future__ import annotations

import logging
from itertools import chain, count
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import trio

from trio_ws.connection.serialization import from_json, to_json
from trio_ws.errors import InvalidMessage, MessageTooLarge
from trio_ws.rooms.backplane import Presence
from trio_ws.rooms.redis.client import is_link_error
from trio_ws.rooms.redis.commands import Command, execute
from trio_ws.rooms.redis.options import Bell
from trio_ws.rooms.redis.records import Records
from trio_ws.rooms.redis.scripts import ATTEND, PRESENCE
from trio_ws.rooms.topics import encoded

if TYPE_CHECKING:
    from collections.abc import Iterator

    from trio_ws.rooms.redis.client import Client
    from trio_ws.rooms.redis.options import Options

__all__ = ["PresenceTracker"]

logger: Final = logging.getLogger("trio_ws")

Changes: TypeAlias = "list[tuple[str, str]]"
"""Members and their infos; an empty text for one that left."""

_BATCH: Final = 64
"""Calls that are made in one go."""
_BATCH_BYTES: Final = 1024 * 1024
"""Characters in one go, and in one call, about."""
_DIGITS: Final = 16
"""Digits of a number at most: a process does not come so far."""


class PresenceTracker:
    """Who is in the rooms of this process.

    Args:
        options: the backplane's.
        process: names this process among all.
    """

    def __init__(self, options: Options, process: str) -> None:
        self._options = options
        self._keys = options.keys
        self._process = process
        self._present: dict[str, dict[str, str]] = {}
        self._changes: dict[str, dict[str, str]] = {}  # to tell; an empty text for one that left
        self._anew: set[str] = set()  # rooms to tell of from the beginning
        self._told: set[str] = set()  # rooms of which Redis may know members
        self._linked = False
        self._quiet = trio.Event()
        self._numbers = count(1)
        self._untold = Records()
        self._foreign = Records()
        self._bell = Bell()

    # --- for rooms -----------------------------------------------------------------------------------------------

    def enter(self, room: str, member: Presence) -> None:
        """See `Backplane.enter`."""
        encoded(room, "the name of a room")
        text = to_json(dict(member.info), wrapped=1)
        size, limit = len(encoded(text, "the info of a member")), self._options.max_info_size
        if size > limit:
            raise MessageTooLarge(size, limit, "the info of a member")
        info = f"{next(self._numbers)} {text}"
        self._present.setdefault(room, {})[member.id] = info
        self._change(room, member.id, info)

    def leave(self, room: str, member: str) -> None:
        """See `Backplane.leave`."""
        present = self._present[room]
        del present[member]
        if not present:
            del self._present[room]
        self._change(room, member, "")

    def _change(self, room: str, member: str, info: str) -> None:
        if self._linked:
            self._changes.setdefault(room, {})[member] = info
            self._unsettle()
            self._bell.ring()

    def _unsettle(self) -> None:
        if self._quiet.is_set():
            self._quiet = trio.Event()

    def question(self, room: str) -> Command:
        """Return the call that asks who is in a room."""
        hint = " room.members has those of this process."
        return Command(room, PRESENCE, (self._keys.processes(room),), (self._keys.members(room, ""),), hint=hint)

    def answer(self, room: str, texts: list[bytes]) -> tuple[Presence, ...]:
        """Return what the call has come to."""
        found: list[tuple[str, int, Presence]] = []
        for member, text in zip(texts[::2], texts[1::2], strict=True):
            try:
                found.append(_present(member.decode(), text.decode()))
            except (ValueError, InvalidMessage):
                if self._foreign.begins((room, member[:80])):
                    logger.warning(
                        "the room %r has a member in Redis that is not ours, it is skipped: %.80r", room, member
                    )
        return tuple(present for _, _, present in sorted(found, key=lambda each: each[:2]))

    # --- over one link -------------------------------------------------------------------------------------------

    async def run(self, client: Client) -> None:
        """Tell Redis, until the link breaks.

        Raises:
            Exception: the link broke.
        """
        self._changes = {}
        self._anew = {*self._told, *self._present}
        self._linked = True
        self._unsettle()
        beat = self._options.presence_timeout / 3
        try:
            while True:
                due = trio.current_time() + beat
                await self._tell(client, [*self._present, *(self._anew - self._present.keys())])
                while trio.current_time() < due:
                    await self._tell(client, list(self._changes))
                    if not self._changes:
                        self._quiet.set()
                    await self._bell.wait(due - trio.current_time())
        finally:
            self._linked = False
            self._quiet.set()

    async def settled(self) -> None:
        """Wait until Redis knows what it should, or the link has broken."""
        if self._linked:
            await self._quiet.wait()

    async def _tell(self, client: Client, rooms: list[str]) -> None:
        batch: list[tuple[Command, bool]] = []
        size = 0
        for call, last in chain.from_iterable(map(self._calls, rooms)):
            batch.append((call, last))
            size += call.size
            if len(batch) == _BATCH or size >= _BATCH_BYTES:
                await self._execute(client, batch)
                batch, size = [], 0
        if batch:
            await self._execute(client, batch)

    async def _execute(self, client: Client, batch: list[tuple[Command, bool]]) -> None:
        outcomes = await execute(client, [call for call, _ in batch], self._options.command_timeout)
        for (call, last), outcome in zip(batch, outcomes, strict=True):
            self._check(call.room, outcome, last=last)

    def _calls(self, room: str) -> Iterator[tuple[Command, bool]]:
        """Yield calls of bounded size for one room, and whether each is last."""
        anew = room in self._anew
        self._anew.discard(room)
        self._told.add(room)
        changes = self._changes.pop(room, {})
        if anew:
            changes = self._present.get(room, {})
        pieces = _pieces(list(changes.items()))
        for place, piece in enumerate(pieces, 1):
            try:
                call = self._call(room, piece, anew=anew and place == 1)
            except ValueError:
                logger.exception("Redis cannot be told who is in the room %r: it is told of other rooms", room)
            else:
                yield call, place == len(pieces)

    def _call(self, room: str, changes: Changes, *, anew: bool) -> Command:
        milliseconds = int(self._options.presence_timeout * 1000)
        arguments: list[Any] = [self._process, milliseconds, "anew" if anew else ""]
        arguments += chain.from_iterable(changes)
        keys = (self._keys.processes(room), self._keys.members(room, self._process))
        return Command(room, ATTEND, keys, tuple(arguments))

    def _check(self, room: str, outcome: Any, *, last: bool) -> None:
        """See that Redis has as many members as there are; if not, it has lost some, and hears of all again."""
        if is_link_error(outcome):
            raise outcome
        if isinstance(outcome, Exception):
            if self._untold.begins(room):
                logger.warning("Redis was not told who is in the room %r, it is tried again: %s", room, outcome)
            self._anew.add(room)
            return
        self._untold.ends(room)
        if not last:
            pass  # others are still to be told
        elif outcome == 0 and room not in self._present:
            self._told.discard(room)
        elif room not in self._changes and outcome != len(self._present.get(room, ())):
            self._anew.add(room)


def _pieces(changes: Changes) -> list[Changes]:
    """Cut changes into pieces of bounded size, one at least."""
    pieces: list[Changes] = [[]]
    size = 0
    for change in changes:
        if size >= _BATCH_BYTES:
            pieces.append([])
            size = 0
        pieces[-1].append(change)
        size += len(change[0]) + len(change[1])
    return pieces


def _present(member: str, text: str) -> tuple[str, int, Presence]:
    """Return a member by the process and the number it is sorted by; raise ValueError if it is not ours."""
    number, _, info = text.partition(" ")
    if not (number.isascii() and number.isdigit() and len(number) <= _DIGITS):
        raise ValueError("not a number of ours")
    found = from_json(info, wrapped=1)
    if not isinstance(found, dict):
        raise ValueError("not the info of a member")  # noqa: TRY004 - it is Redis that has it
    return member.partition("-")[0], int(number), Presence(member, found)
