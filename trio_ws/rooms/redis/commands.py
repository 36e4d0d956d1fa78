"""Commands that wait for a connection, and the task that runs them.

The caller waits for an event, never for the client, so that its cancellation leaves nothing half done there. A command
that was under way when the connection broke runs again over the next one; the script for publishing recognises it by
its number. A message that members of this process have received is published even if its publisher is cancelled, so
that other processes get it too.
"""

from __future__ import annotations

import logging
import math
from collections import deque
from collections.abc import Sequence
from functools import partial
from itertools import count
from typing import TYPE_CHECKING, Any, Final

import attrs
import trio

from trio_ws.errors import BackplaneError, BackplaneUnavailable
from trio_ws.rooms.redis.batch import send_one, send_together
from trio_ws.rooms.redis.client import is_cluster, is_connection_error, is_transient, refusal_from
from trio_ws.rooms.topics import encoded
from trio_ws.runtime.wakeup import AutoResetEvent

if TYPE_CHECKING:
    from trio_ws.rooms.redis.client import Client
    from trio_ws.rooms.redis.local_delivery import LocalDelivery
    from trio_ws.rooms.redis.options import Options
    from trio_ws.rooms.redis.pending import PendingPublish

__all__ = ["KNOWN", "Command", "CommandQueue", "execute"]

logger: Final = logging.getLogger("trio_ws")

_BATCH: Final = 64
"""Commands that are sent together, at most; enough that many share the network's delay."""
_BATCH_BYTES: Final = 1024 * 1024
_OVERTAKEN: Final = b""
"""The answer of a script that was not run, and needs a new number for that."""
KNOWN: Final = b"k"
"""The beginning of the answer for a message that was published before, by its key."""
_RETRY_PAUSE: Final = 0.1
"""Seconds before a command is sent again that Redis does not take just now."""


def _check_values(_: object, __: object, values: Sequence[str | bytes | int]) -> None:
    for value in values:
        if isinstance(value, str):
            encoded(value, "a name")


@attrs.define(eq=False)
class Command:
    """A script for Redis to run.

    Raises:
        ValueError: a key or an argument has lone surrogates: it fails here, not on the shared connection.
    """

    room: str
    """Commands for one room run in the order in which they were queued."""
    script: str
    keys: tuple[str, ...] = attrs.field(validator=_check_values)
    arguments: tuple[str | bytes | int, ...] = attrs.field(validator=_check_values)
    number: int = 0
    """The script's last argument but one: it grows with each command. The last one is the smallest of the batch."""
    sent: bool = False
    """Whether it may have been run."""
    sent_before: bool = False
    """Whether it may have been run before it was sent the last time."""
    rejection: str = ""
    """Redis's answer when it did not take it just then."""
    wanted: bool = True
    """Whether it is still to be run."""
    expires_at: float = math.inf
    """Trio's time from which on it is not run any more."""
    outcome: Any = None
    settled: trio.Event = attrs.field(factory=trio.Event)
    hint: str = ""
    """What to use instead while Redis is away, for the error."""
    pending: PendingPublish | None = None
    """The message, if it may be delivered early to members of this process."""

    def settle(self, outcome: Any) -> None:
        """Set the outcome, and wake the caller."""
        self.outcome = outcome
        self.settled.set()

    @property
    def size(self) -> int:
        """The number of bytes, approximately."""
        return sum(len(argument) for argument in self.arguments if isinstance(argument, str | bytes))

    @property
    def is_expired(self) -> bool:
        """Whether its time has passed."""
        return trio.current_time() >= self.expires_at

    @property
    def is_delivered(self) -> bool:
        """Whether members of this process have received its message."""
        return self.pending is not None and self.pending.delivered

    def __call__(self, client: Client, smallest: int = 0) -> Any:
        """Run the script, by a client or in a pipeline.

        Args:
            client: a client or a pipeline.
            smallest: the smallest number of the commands that are sent with it; 0 for its own.
        """
        return client.eval(self.script, keys=self.keys, args=(*self.arguments, self.number, smallest or self.number))


class CommandQueue:
    """The commands that wait to be run.

    Args:
        options: the backplane's.
        local: follows the messages to be published.
    """

    def __init__(self, options: Options, local: LocalDelivery) -> None:
        self._options = options
        self._local = local
        self._places = trio.Semaphore(options.max_waiting)
        self._waiting: deque[Command] = deque()
        self._under_way: list[Command] = []
        self._abandoned: dict[Command, None] = {}  # those without a caller, oldest first
        self._numbers = count(1)
        self._wakeup = AutoResetEvent()

    async def run_command(self, command: Command) -> Any:
        """Run a script, and return its answer.

        Raises:
            BackplaneUnavailable: it was not run for certain within `publish_timeout`.
            BackplaneFull: Redis has no memory left.
            BackplaneRefused: Redis refused it.
            trio.Cancelled: it was not run, if it was not sent yet. But a message that members of this process have
                received is still published, until `publish_timeout` is over.
        """
        timeout = self._options.publish_timeout
        command.expires_at = trio.current_time() + timeout
        with trio.move_on_at(command.expires_at):
            async with self._places:
                await self._until_settled(command)
        if not command.settled.is_set():
            problem = f"Redis has not answered for {timeout:g} s (publish_timeout): is it up, and is it quick enough?"
            if command.rejection:
                problem = f"Redis has not taken it for {timeout:g} s (publish_timeout): {command.rejection}"
            problem += command.hint
            error = BackplaneUnavailable(problem, uncertain=command.sent)
            raise _with_local(error, delivered=command.is_delivered)
        if isinstance(command.outcome, Exception):
            refusal = refusal_from(command.outcome)
            raise _with_local(refusal, delivered=command.is_delivered) from command.outcome
        return command.outcome

    async def _until_settled(self, command: Command) -> None:
        self._enqueue(command)
        try:
            await command.settled.wait()
        finally:
            self._drop_expired()
            if not command.settled.is_set():
                if command.pending is None or not (command.is_delivered or command.sent) or command.is_expired:
                    self._drop(command)
                else:
                    self._abandoned[command] = None
                    self._drop(*[*self._abandoned][: -self._options.max_waiting])

    def _drop_expired(self) -> None:
        self._drop(*[command for command in self._abandoned if command.is_expired])

    def _drop(self, *commands: Command) -> None:
        for command in commands:
            command.wanted = False
            self._abandoned.pop(command, None)
            if command in self._waiting:
                self._waiting.remove(command)
            if command.pending is not None:
                self._local.on_abandoned(command.pending, sent=command.sent)

    def _enqueue(self, command: Command) -> None:
        command.number, command.sent, command.sent_before = next(self._numbers), False, False
        if command.pending is not None:
            self._local.on_numbered(command.pending, command.number)
        self._waiting.append(command)
        self._wakeup.wake()

    async def run(self, client: Client) -> None:
        """Run the waiting commands over one connection, until it breaks.

        Raises:
            Exception: the connection broke. Commands that are not settled will run again.
        """
        self._drop_expired()
        self._waiting.extendleft(reversed([command for command in self._under_way if command.wanted]))
        self._under_way = []
        while True:
            self._under_way = self._next_batch()
            if not self._under_way:
                await self._wakeup.sleep()
                continue
            outcomes = await execute(client, self._under_way, self._options.command_timeout)
            again, connection_error = self._process(outcomes)
            if connection_error is not None:
                self._under_way = again
                raise connection_error
            self._under_way = []
            self._waiting.extendleft(reversed(again))
            if again:
                await trio.sleep(_RETRY_PAUSE)

    def _process(self, outcomes: Sequence[Any]) -> tuple[list[Command], Exception | None]:
        """Settle commands; return those to run again, and the connection's error."""
        again: list[Command] = []
        connection_error = None
        for command, outcome in zip(self._under_way, outcomes, strict=True):
            if is_connection_error(outcome):
                connection_error = outcome
                again.append(command)
            elif is_transient(outcome) and command.wanted:
                command.sent, command.rejection = command.sent_before, str(outcome)
                again.append(command)
            elif outcome == _OVERTAKEN and command.wanted:
                self._enqueue(command)
            else:
                self._settle(command, outcome)
        return again, connection_error

    def _settle(self, command: Command, outcome: Any) -> None:
        try:
            self._abandoned.pop(command, None)
            if command.pending is not None:
                self._report(command, command.pending, outcome)
            command.settle(outcome)
        except Exception as error:
            logger.exception("unexpected error in a command for room %r, it fails", command.room)
            command.settle(error)

    def _report(self, command: Command, pending: PendingPublish, outcome: Any) -> None:
        """Report the outcome of publishing a message."""
        if isinstance(outcome, Exception) and not command.sent_before:
            self._local.on_refused(pending)
        elif isinstance(outcome, Exception) or outcome == _OVERTAKEN:
            self._local.on_abandoned(pending, sent=outcome != _OVERTAKEN)
        elif outcome.startswith(KNOWN):
            self._local.on_known(pending)
        else:
            self._local.on_accepted(pending, outcome.decode().partition(" ")[0])

    def _next_batch(self) -> list[Command]:
        batch: list[Command] = []
        size = 0
        while self._waiting and len(batch) < _BATCH and size < _BATCH_BYTES:
            command = self._waiting.popleft()
            command.sent, command.sent_before = True, command.sent
            size += command.size
            batch.append(command)
        return batch


def _with_local(error: BackplaneError, *, delivered: bool) -> BackplaneError:
    """Note in an error that members of this process have the message."""
    if not delivered:
        return error
    error.local = True
    error.args = (f"{error} Members of the room in this process have received it.",)
    return error


async def execute(client: Client, commands: Sequence[Command], seconds: float) -> Sequence[Any]:
    """Run scripts, in order for each room, and return their outcomes.

    Args:
        client: runs them.
        commands: the scripts.
        seconds: how long they may take together.

    Raises:
        trio.TooSlowError: they took longer.
        Exception: the connection broke.
    """
    with trio.fail_after(seconds):
        if is_cluster(client):
            return await _execute_in_cluster(client, commands)
        smallest = commands[0].number
        return await send_together(client, [partial(command, smallest=smallest) for command in commands])


async def _execute_in_cluster(client: Client, commands: Sequence[Command]) -> Sequence[Any]:
    """Run scripts of different rooms concurrently.

    The cluster's own pipeline may change the order within one room.
    """
    outcomes: dict[Command, Any] = {}

    async def in_order(room: str) -> None:
        for command in commands:
            if command.room == room:
                outcomes[command] = await send_one(client, partial(command, smallest=commands[0].number))
                if is_connection_error(outcomes[command]):
                    return

    async with trio.open_nursery() as nursery:
        for room in {command.room for command in commands}:
            nursery.start_soon(in_order, room)
    return [
        outcomes.get(command, TimeoutError("not sent: an earlier command for the room failed")) for command in commands
    ]
