"""Presence of this process's members in Redis.

Redis forgets members that are not refreshed. The state in this process is authoritative, and is written anew over each
new connection.
"""

from __future__ import annotations

import logging
from itertools import chain, count
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import attrs
import trio

from trio_ws.connection.serialization import from_json, to_json
from trio_ws.errors import InvalidMessage, MessageTooLarge
from trio_ws.rooms.backplane import Presence
from trio_ws.rooms.redis.calls import execute, run_scripts
from trio_ws.rooms.redis.client import is_cluster, is_connection_error
from trio_ws.rooms.redis.command import Command, QueuedCommand, ScriptCall, check_values
from trio_ws.rooms.redis.faults import OngoingFaults
from trio_ws.rooms.redis.pairs import Pairs, PairsEncoder
from trio_ws.rooms.redis.presence_scripts import ATTEND, PRESENCE, REFRESH
from trio_ws.rooms.topics import encoded
from trio_ws.runtime.wakeup import AutoResetEvent

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from trio_ws.rooms.redis.client import Client
    from trio_ws.rooms.redis.options import Options

__all__ = ["PresenceTracker"]

logger: Final = logging.getLogger("trio_ws")

Changes: TypeAlias = "list[tuple[str, str]]"
"""Members and their infos; an empty text for one that left."""

_BATCH: Final = 128
"""Rooms that are written together, so that Redis serves others in between: it takes some microseconds for each."""
_REFRESHED: Final = 1000
"""Rooms of which the life is prolonged together."""
_BATCH_BYTES: Final = 1024 * 1024
"""Characters in one batch, and in one command, approximately."""
_DIGITS: Final = 16
"""Digits of a member's number at most: no process counts so far."""


@attrs.define(eq=False)
class AttendCommand(QueuedCommand):
    """Members to write in one room, or none to prolong their life."""

    common: tuple[str | int, ...]
    """The arguments that all have."""
    values: tuple[str, ...] = attrs.field(validator=check_values)
    """The keys and arguments; see `ATTEND`."""

    @property
    def size(self) -> int:
        """The number of bytes, approximately."""
        return sum(map(len, self.values))

    def group(self, *, in_cluster: bool) -> str:
        """Return the group: one call writes the members of all rooms, in a cluster those of one."""
        return self.room if in_cluster else ""

    def call(self, others: Sequence[Any], smallest: int, *, in_cluster: bool) -> ScriptCall:
        """Return the call; see `QueuedCommand.call`."""
        commands = (self, *others)
        keys = [*chain.from_iterable(command.values[:2] for command in commands)]
        arguments = [*self.common, *chain.from_iterable(command.values[2:] for command in commands)]
        return ScriptCall(self.room, ATTEND, keys, arguments)


class PresenceTracker:
    """The members in this process, and the task that writes them.

    Args:
        options: the backplane's.
        process: names this process among all.
    """

    def __init__(self, options: Options, process: str) -> None:
        self._options = options
        self._keys = options.keys
        self._process = process
        self._common = (process, int(options.presence_timeout * 1000))
        self._present: dict[str, dict[str, str]] = {}
        self._changes: dict[str, dict[str, str]] = {}  # to write; an empty text for one that left
        self._to_rewrite: set[str] = set()  # rooms to write from the beginning
        self._written: set[str] = set()  # rooms of which Redis may have members
        self._connected = False
        self._all_written = trio.Event()
        self._numbers = count(1)
        self._counts = PairsEncoder(self._keys)
        self._write_faults = OngoingFaults()
        self._foreign_members = OngoingFaults()
        self._wakeup = AutoResetEvent()

    # --- for rooms -----------------------------------------------------------------------------------------------

    def enter(self, room: str, member: Presence) -> None:
        """Add a member; see `Backplane.enter`."""
        encoded(room, "the name of a room")
        text = to_json(dict(member.info), wrapped=1)
        size, limit = len(encoded(text, "the info of a member")), self._options.max_info_size
        if size > limit:
            raise MessageTooLarge(size, limit, "the info of a member")
        info = f"{next(self._numbers)} {text}"
        self._present.setdefault(room, {})[member.id] = info
        self._change(room, member.id, info)

    def leave(self, room: str, member: str) -> None:
        """Remove a member; see `Backplane.leave`."""
        present = self._present[room]
        del present[member]
        if not present:
            del self._present[room]
        self._change(room, member, "")

    def _change(self, room: str, member: str, info: str) -> None:
        if self._connected:
            self._changes.setdefault(room, {})[member] = info
            self._expect_writing()
            self._wakeup.wake()

    def _expect_writing(self) -> None:
        if self._all_written.is_set():
            self._all_written = trio.Event()

    def query(self, room: str) -> Command:
        """Return the command that asks for a room's members."""
        hint = " room.members has those of this process."
        return Command(room, PRESENCE, (self._keys.processes(room),), (self._keys.members(room, ""),), hint=hint)

    def parse_answer(self, room: str, texts: list[bytes]) -> tuple[Presence, ...]:
        """Return the members that the query has found."""
        found: list[tuple[str, int, Presence]] = []
        for member, text in zip(texts[::2], texts[1::2], strict=True):
            try:
                found.append(_parse_member(member.decode(), text.decode()))
            except (ValueError, InvalidMessage):
                if self._foreign_members.begins((room, member[:80])):
                    logger.warning("room %r has a member in Redis that is not ours, skipping it: %.80r", room, member)
        return tuple(presence for _, _, presence in sorted(found, key=lambda each: each[:2]))

    # --- over one connection -------------------------------------------------------------------------------------

    async def run(self, client: Client) -> None:
        """Write members to Redis, and refresh them, until the connection breaks.

        Raises:
            Exception: the connection broke.
        """
        self._changes = {}
        self._to_rewrite = {*self._written, *self._present}
        self._connected = True
        self._expect_writing()
        interval = self._options.presence_timeout / 3
        try:
            while True:
                refresh_at = trio.current_time() + interval
                await self._refresh(client)
                await self._write_changes(client, refresh_at)
        finally:
            self._connected = False
            self._all_written.set()

    async def _write_changes(self, client: Client, refresh_at: float) -> None:
        """Write changes as they come, until it is time to refresh all."""
        while trio.current_time() < refresh_at:
            await self._write(client, list(self._changes))
            if not self._changes:
                self._all_written.set()
                with trio.move_on_at(refresh_at):
                    await self._wakeup.sleep()

    async def settled(self) -> None:
        """Wait until everything is written, or the connection has broken."""
        if self._connected:
            await self._all_written.wait()

    async def _refresh(self, client: Client) -> None:
        """Prolong the life of all members, and write those that have changed."""
        alone = is_cluster(client)
        quiet = [room for room in self._present if not (alone or room in self._changes or room in self._to_rewrite)]
        changed = {*self._present, *self._to_rewrite}.difference(quiet)
        await self._write(client, [*changed])
        for start in range(0, len(quiet), _REFRESHED):
            await self._refresh_quiet(client, quiet[start : start + _REFRESHED], start)
        self._counts.forget(len(quiet))

    async def _refresh_quiet(self, client: Client, rooms: Sequence[str], place: int) -> None:
        """Prolong the life of the members of rooms in which nothing has changed."""
        counts: Pairs = [part for room in rooms for part in (room, len(self._present.get(room, ())))]
        text = self._counts.encode(place, counts)
        call = ScriptCall("", REFRESH, (), (*self._common, self._keys.before_tag, text))
        with trio.fail_after(self._options.command_timeout):
            (answer,) = await run_scripts(client, [call])
        if isinstance(answer, Exception):
            answer = [(2 * index + 1, answer) for index in range(len(rooms))]
        different = {rooms[place // 2]: outcome for place, outcome in answer}
        for room in different if not self._write_faults else rooms:
            self._check(room, different.get(room, len(self._present.get(room, ()))), last=True)

    def _names(self, room: str) -> tuple[str, str]:
        return self._keys.processes(room), self._keys.members(room, self._process)

    async def _write(self, client: Client, rooms: list[str]) -> None:
        batch: list[tuple[AttendCommand, bool]] = []
        size = 0
        for command, last in chain.from_iterable(map(self._commands, rooms)):
            batch.append((command, last))
            size += command.size
            if len(batch) == _BATCH or size >= _BATCH_BYTES:
                await self._execute(client, batch)
                batch, size = [], 0
        if batch:
            await self._execute(client, batch)

    async def _execute(self, client: Client, batch: list[tuple[AttendCommand, bool]]) -> None:
        outcomes = await execute(client, [command for command, _ in batch], self._options.command_timeout)
        for (command, last), outcome in zip(batch, outcomes, strict=True):
            self._check(command.room, outcome, last=last)

    def _commands(self, room: str) -> Iterator[tuple[AttendCommand, bool]]:
        """Yield a room's commands, and whether each is the last."""
        rewrite = room in self._to_rewrite
        self._to_rewrite.discard(room)
        self._written.add(room)
        changes = self._changes.pop(room, {})
        if rewrite:
            changes = self._present.get(room, {})
        pieces = _pieces(list(changes.items()))
        for index, piece in enumerate(pieces, 1):
            try:
                command = self._command(room, piece, rewrite=rewrite and index == 1)
            except ValueError:
                logger.exception("cannot write the members of room %r to Redis", room)
            else:
                yield command, index == len(pieces)

    def _command(self, room: str, changes: Changes, *, rewrite: bool) -> AttendCommand:
        keys = self._names(room)
        if not (changes or rewrite):
            return AttendCommand(room, self._common, (*keys, "0"))
        head = (str(len(changes) + 1), "anew" if rewrite else "", self._keys.news(room))
        return AttendCommand(room, self._common, (*keys, *head, *chain.from_iterable(changes)))

    def _check(self, room: str, outcome: Any, *, last: bool) -> None:
        """Compare the number of members in Redis; on a difference, rewrite all."""
        if is_connection_error(outcome):
            raise outcome
        if isinstance(outcome, Exception):
            if self._write_faults.begins(room):
                logger.warning("cannot write the members of room %r to Redis, trying again: %s", room, outcome)
            self._to_rewrite.add(room)
            return
        self._write_faults.ends(room)
        if not last:
            pass  # others are still to be written
        elif outcome == 0 and room not in self._present:
            self._written.discard(room)
        elif room not in self._changes and outcome != len(self._present.get(room, ())):
            self._to_rewrite.add(room)


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


def _parse_member(member: str, text: str) -> tuple[str, int, Presence]:
    """Return a member's process and number, for sorting, and the member.

    Raises:
        ValueError: it is not ours.
    """
    number, _, info = text.partition(" ")
    if not (number.isascii() and number.isdigit() and len(number) <= _DIGITS):
        raise ValueError("not a number of ours")
    found = from_json(info, wrapped=1)
    if not isinstance(found, dict):
        raise ValueError("not the info of a member")  # noqa: TRY004 - it is Redis that has it
    return member.partition("-")[0], int(number), Presence(member, found)
