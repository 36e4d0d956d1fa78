"""Running commands by scripts, those that can share a call by one.

Redis has a script once it was run, and its name is enough from then on. If Redis has lost it, the call has not run, and
runs again with the text. As one call has all messages of a room, this changes no order.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Final

import attrs
import trio

from trio_ws.rooms.redis.batch import send_one, send_together
from trio_ws.rooms.redis.client import is_cluster, is_connection_error, is_unknown_script

if TYPE_CHECKING:
    from trio_ws.rooms.redis.client import Client
    from trio_ws.rooms.redis.command import QueuedCommand, ScriptCall
    from trio_ws.rooms.redis.wire import AnswerHandler, Wire

__all__ = ["execute", "run_scripts", "start"]

logger: Final = logging.getLogger("trio_ws")


@attrs.frozen(eq=False)
class _Group:
    """Commands that one call runs."""

    first: QueuedCommand
    others: list[QueuedCommand] = attrs.field(factory=list)

    def outcomes(self, outcome: Any) -> Sequence[Any]:
        """Return the outcome of each command."""
        return self.first.outcomes(self.others, outcome)


def _grouped(commands: Sequence[QueuedCommand], *, in_cluster: bool) -> list[_Group]:
    groups: list[_Group] = []
    shared: dict[str, _Group] = {}
    for command in commands:
        name = command.group(in_cluster=in_cluster)
        if name is not None and name in shared:
            shared[name].others.append(command)
            continue
        groups.append(group := _Group(command))
        if name is not None:
            shared[name] = group
    return groups


async def execute(client: Client, commands: Sequence[QueuedCommand], seconds: float) -> Sequence[Any]:
    """Run commands, those of a kind in order for each room, and return their outcomes.

    Args:
        client: runs them.
        commands: the commands.
        seconds: how long they may take together.

    Raises:
        trio.TooSlowError: they took longer.
        Exception: the connection broke.
    """
    in_cluster, smallest = is_cluster(client), commands[0].number
    groups = _grouped(commands, in_cluster=in_cluster)
    calls = [group.first.call(group.others, smallest, in_cluster=in_cluster) for group in groups]
    with trio.fail_after(seconds):
        found = await run_scripts(client, calls)
    return _outcomes(commands, groups, found)


def start(wire: Wire, commands: Sequence[QueuedCommand], on_outcomes: Callable[[Sequence[Any]], None]) -> None:
    """Run commands as `execute` does, over a wire; pass their outcomes to a function."""
    smallest, groups = commands[0].number, _grouped(commands, in_cluster=False)
    calls = [group.first.wire_call(group.others, smallest) for group in groups]
    found: list[Any] = [None] * len(groups)
    left = len(groups)

    def handler(index: int) -> AnswerHandler:
        def on_answer(answer: Any) -> None:
            nonlocal left
            if is_unknown_script(answer):
                wire.send(calls[index].data_with_text, (on_answer,))
                return
            found[index] = answer
            left -= 1
            if not left:
                on_outcomes(_outcomes(commands, groups, found))

        return on_answer

    data: list[bytes] = []
    handlers: list[AnswerHandler] = []
    failed: list[tuple[AnswerHandler, Exception]] = []
    for index, call in enumerate(calls):
        on_answer = handler(index)
        try:
            data.append(call.data)
        except Exception as error:
            logger.exception("cannot send a command for room %r to Redis", call.room)
            failed.append((on_answer, error))
        else:
            handlers.append(on_answer)
    wire.send(b"".join(data), handlers)
    for fail, problem in failed:
        fail(problem)


def _outcomes(commands: Sequence[QueuedCommand], groups: Sequence[_Group], found: Sequence[Any]) -> Sequence[Any]:
    """Return the outcomes of commands, given those of their groups."""
    if len(groups) == 1:
        return groups[0].outcomes(found[0])
    outcomes: dict[QueuedCommand, Any] = {}
    for group, outcome in zip(groups, found, strict=True):
        outcomes.update(zip((group.first, *group.others), group.outcomes(outcome), strict=True))
    return [outcomes[command] for command in commands]


async def run_scripts(client: Client, calls: Sequence[ScriptCall]) -> Sequence[Any]:
    """Run scripts, in order for each room, and return their outcomes.

    Raises:
        Exception: the connection broke.
    """
    if is_cluster(client):
        return await _run_in_cluster(client, calls)
    outcomes = [*await send_together(client, calls)]
    unknown = [index for index, outcome in enumerate(outcomes) if is_unknown_script(outcome)]
    again = await send_together(client, [calls[index].with_text for index in unknown])
    for index, outcome in zip(unknown, again, strict=True):
        outcomes[index] = outcome
    return outcomes


async def _run_in_cluster(client: Client, calls: Sequence[ScriptCall]) -> Sequence[Any]:
    """Run scripts of different rooms concurrently.

    The cluster's own pipeline may change the order within one room.
    """
    outcomes: dict[int, Any] = {}

    async def in_order(room: str) -> None:
        for index, call in enumerate(calls):
            if call.room == room:
                outcomes[index] = await send_one(client, call)
                if is_unknown_script(outcomes[index]):
                    outcomes[index] = await send_one(client, call.with_text)
                if is_connection_error(outcomes[index]):
                    return

    async with trio.open_nursery() as nursery:
        for room in {call.room for call in calls}:
            nursery.start_soon(in_order, room)
    return [
        outcomes.get(index, TimeoutError("not sent: an earlier command for the room failed"))
        for index in range(len(calls))
    ]
