"""Commands that wait for a connection, and the task that runs them.

The caller waits for an event, never for the client, so that its cancellation leaves nothing half done there. A command
that was under way when the connection broke runs again over the next one; the script for publishing recognises it by
its number. A message that members of this process have received is published even if its publisher is cancelled, so
that other processes get it too.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Sequence
from itertools import count
from typing import TYPE_CHECKING, Any, Final

import trio

from trio_ws.errors import BackplaneError, BackplaneUnavailable
from trio_ws.rooms.redis.calls import execute, start
from trio_ws.rooms.redis.client import is_cluster, is_connection_error, is_transient, refusal_from
from trio_ws.rooms.redis.publishing import KNOWN, OVERTAKEN
from trio_ws.runtime.wakeup import AutoResetEvent

if TYPE_CHECKING:
    from trio_ws.rooms.redis.callers import WaitingCallers
    from trio_ws.rooms.redis.client import Client
    from trio_ws.rooms.redis.command import QueuedCommand
    from trio_ws.rooms.redis.local_delivery import LocalDelivery
    from trio_ws.rooms.redis.options import Options
    from trio_ws.rooms.redis.pending import PendingPublish
    from trio_ws.rooms.redis.wire import Wire

__all__ = ["CommandQueue"]

logger: Final = logging.getLogger("trio_ws")

_TOGETHER: Final = 64
"""Commands; enough that many share the network's delay."""
_BATCH_BYTES: Final = 1024 * 1024
_ALONE: Final = 256 * 1024
"""A larger command is sent alone: if Redis refuses its size, it ends the connection, and answers nothing behind it.

`proto-max-bulk-len` is 1 MiB at least, and a character has 4 bytes at most.
"""
RETRY_PAUSE: Final = 0.1
"""Seconds before a command is sent again that Redis does not take just now."""


class CommandQueue:
    """The commands that wait to be run.

    Args:
        options: the backplane's.
        local: follows the messages to be published.
        callers: the tasks that wait for commands.
        most: how many are sent together, at most.
    """

    def __init__(self, options: Options, local: LocalDelivery, callers: WaitingCallers, most: int = _TOGETHER) -> None:
        self._most = most
        self.callers: WaitingCallers = callers
        self._options = options
        self._local = local
        self._places = trio.Semaphore(options.max_waiting)
        self._waiting: deque[QueuedCommand] = deque()
        self._under_way: list[QueuedCommand] = []
        self._failure: Exception | None = None  # of the connection, in an answer
        self._is_pausing = False  # as Redis does not take a command just now
        self._abandoned: dict[QueuedCommand, None] = {}  # those without a caller, oldest first
        self._numbers = count(1)
        self._wakeup = AutoResetEvent()

    async def run_command(self, command: QueuedCommand) -> Any:
        """Run a script, and return its answer.

        Raises:
            BackplaneUnavailable: it was not run for certain within `publish_timeout`.
            BackplaneFull: Redis has no memory left.
            BackplaneRefused: Redis refused it.
            trio.Cancelled: it was not run, if it was not sent yet. But a message that members of this process have
                received is still published, until `publish_timeout` is over.
        """
        await trio.lowlevel.checkpoint_if_cancelled()
        now = trio.current_time()
        command.expires_at = now + self._options.publish_timeout
        try:
            self._places.acquire_nowait()
        except trio.WouldBlock:
            with trio.move_on_at(command.expires_at):
                await self._places.acquire()
                await self._in_place(command, trio.current_time())
        else:
            await self._in_place(command, now)
        if not command.settled:
            raise self._timeout_error(command)
        if isinstance(command.outcome, Exception):
            refusal = refusal_from(command.outcome)
            raise _with_local(refusal, delivered=command.is_delivered) from command.outcome
        return command.outcome

    def _timeout_error(self, command: QueuedCommand) -> BackplaneError:
        timeout = self._options.publish_timeout
        problem = f"Redis has not answered for {timeout:g} s (publish_timeout): is it up, and is it quick enough?"
        if not command.is_expired:
            problem = "the application has ended, and Redis has not answered before."
        elif command.rejection:
            problem = f"Redis has not taken it for {timeout:g} s (publish_timeout): {command.rejection}"
        error = BackplaneUnavailable(problem + command.hint, uncertain=command.sent)
        return _with_local(error, delivered=command.is_delivered)

    async def _in_place(self, command: QueuedCommand, now: float) -> None:
        """Wait until a command that has a place is settled, or its time has passed; give the place back."""
        self._enqueue(command, now)
        try:
            await self.callers.wait(command)
        finally:
            self._places.release()
            if self._abandoned:
                self._drop_expired()
            if not command.settled:
                if command.pending is None or not (command.is_delivered or command.sent) or command.is_expired:
                    self._drop(command)
                else:
                    self._abandoned[command] = None
                    self._drop(*[*self._abandoned][: -self._options.max_waiting])

    def _drop_expired(self) -> None:
        self._drop(*[command for command in self._abandoned if command.is_expired])

    def _drop(self, *commands: QueuedCommand) -> None:
        for command in commands:
            command.wanted = False
            self._abandoned.pop(command, None)
            if command in self._waiting:
                self._waiting.remove(command)
            if command.pending is not None:
                self._local.on_abandoned(command.pending, sent=command.sent)

    def _enqueue(self, command: QueuedCommand, now: float) -> None:
        command.number, command.sent, command.sent_before = next(self._numbers), False, False
        if command.pending is not None:
            self._local.on_numbered(command.pending, command.number, now)
        self._waiting.append(command)
        if not self._under_way:
            self._wakeup.wake()

    async def run(self, client: Client, wire: Wire | None) -> None:
        """Run the waiting commands over one connection, until it breaks.

        Args:
            client: runs them without a wire, and in a cluster, where they are for several servers.
            wire: runs them otherwise; their answers must be small.

        Raises:
            Exception: the connection broke. Commands that are not settled will run again.
        """
        self._drop_expired()
        self._waiting.extendleft(reversed([command for command in self._under_way if command.wanted]))
        self._under_way = []
        self._failure, self._is_pausing = None, False
        await (self._run_batches(client) if wire is None or is_cluster(client) else self._run_over(wire))

    async def _run_over(self, wire: Wire) -> None:
        """Send commands when they come; `_on_outcomes` is called by the task that reads the answers."""
        while True:
            if not self._under_way:
                self._send_next(wire)
            await self._wakeup.sleep()
            if self._failure is not None:
                raise self._failure
            if self._is_pausing:
                await trio.sleep(RETRY_PAUSE)
                self._is_pausing = False

    def _send_next(self, wire: Wire) -> None:
        self._under_way = self._next_batch()
        if self._under_way:
            start(wire, self._under_way, self._on_outcomes)

    def _on_outcomes(self, outcomes: Sequence[Any]) -> None:
        again, self._failure = self._process(outcomes)
        if self._failure is None:
            self._under_way = []
            self._waiting.extendleft(reversed(again))
            self._is_pausing = bool(again)
        else:
            self._under_way = again
        if self._waiting or self._failure:
            self._wakeup.wake()

    async def _run_batches(self, client: Client) -> None:
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
                await trio.sleep(RETRY_PAUSE)

    def _process(self, outcomes: Sequence[Any]) -> tuple[list[QueuedCommand], Exception | None]:
        """Settle commands; return those to run again, and the connection's error."""
        again: list[QueuedCommand] = []
        connection_error = None
        for command, outcome in zip(self._under_way, outcomes, strict=True):
            if type(outcome) is str:
                self._accept(command, outcome)
            elif is_connection_error(outcome):
                connection_error = outcome
                again.append(command)
            elif is_transient(outcome) and command.wanted:
                command.sent, command.rejection = command.sent_before, str(outcome)
                again.append(command)
            elif outcome == OVERTAKEN and command.wanted:
                self._enqueue(command, trio.current_time())
            else:
                self._settle(command, outcome)
        return again, connection_error

    def _accept(self, command: QueuedCommand, entry_id: str) -> None:
        """Settle a command whose message was appended now."""
        if self._abandoned:
            self._abandoned.pop(command, None)
        if command.pending is not None:
            self._local.on_accepted(command.pending, entry_id)
        command.outcome, command.settled = entry_id, True
        self.callers.wake(command)

    def _settle(self, command: QueuedCommand, outcome: Any) -> None:
        try:
            self._abandoned.pop(command, None)
            if command.pending is not None:
                self._report(command, command.pending, outcome)
            self._set_outcome(command, outcome)
        except Exception as error:
            logger.exception("unexpected error in a command for room %r, it fails", command.room)
            self._set_outcome(command, error)

    def _set_outcome(self, command: QueuedCommand, outcome: Any) -> None:
        command.outcome, command.settled = outcome, True
        self.callers.wake(command)

    def _report(self, command: QueuedCommand, pending: PendingPublish, outcome: Any) -> None:
        """Report the outcome of publishing a message."""
        if isinstance(outcome, Exception) and not command.sent_before:
            self._local.on_refused(pending)
        elif isinstance(outcome, Exception) or outcome == OVERTAKEN:
            self._local.on_abandoned(pending, sent=outcome != OVERTAKEN)
        elif outcome.startswith(KNOWN):
            self._local.on_known(pending)
        else:
            self._local.on_accepted(pending, outcome.decode().partition(" ")[0])

    def _next_batch(self) -> list[QueuedCommand]:
        batch: list[QueuedCommand] = []
        size = 0
        while self._waiting and len(batch) < self._most and size < _BATCH_BYTES:
            if batch and max(self._waiting[0].size, batch[-1].size) > _ALONE:
                break
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
