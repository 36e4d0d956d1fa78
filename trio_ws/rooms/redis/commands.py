"""Calls: scripts that wait for the link, and the one task that runs them in order.

Whoever asks waits for an event, never for the client: cancelled, it leaves nothing half done there. A call that was
under way when the link broke is made again over the next one; the script for publishing knows it by its number. What
members of this process have heard is published also if its publisher is cancelled, so that the others hear it too.
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
from trio_ws.rooms.redis.batch import alone, together
from trio_ws.rooms.redis.client import is_cluster, is_link_error, is_passing, refusal
from trio_ws.rooms.redis.options import Bell
from trio_ws.rooms.topics import encoded

if TYPE_CHECKING:
    from trio_ws.rooms.redis.client import Client
    from trio_ws.rooms.redis.local_delivery import LocalDelivery, PendingPublish
    from trio_ws.rooms.redis.options import Options

__all__ = ["Command", "CommandQueue", "execute"]

logger: Final = logging.getLogger("trio_ws")

_BATCH: Final = 64
"""Calls that are sent in one go, at most; enough that the network's delay is shared by many."""
_BATCH_BYTES: Final = 1024 * 1024
_OVERTAKEN: Final = b""
"""A script's answer if it was not run, and has to have a new number for that."""
_PAUSE: Final = 0.1
"""Seconds before what Redis does not take just now is sent again."""


def _can_be_sent(_: object, __: object, values: Sequence[str | bytes | int]) -> None:
    for value in values:
        if isinstance(value, str):
            encoded(value, "a name")


@attrs.define(eq=False)
class Command:
    """A script that Redis shall run.

    Raises:
        ValueError: a key or an argument has lone surrogates: it fails here, not on the link that all share.
    """

    room: str
    """Calls for one room run in the order in which they were asked for."""
    script: str
    keys: tuple[str, ...] = attrs.field(validator=_can_be_sent)
    arguments: tuple[str | bytes | int, ...] = attrs.field(validator=_can_be_sent)
    number: int = 0
    """The script's last argument but one: greater with each call. The last one is the least of those sent with it."""
    sent: bool = False
    """Whether it may have been run."""
    again: bool = False
    """Whether it may have been run before it was sent the last time."""
    refused: str = ""
    """What Redis said when it did not take it."""
    wanted: bool = True
    """Whether it is still to be run."""
    until: float = math.inf
    """When that ends."""
    outcome: Any = None
    settled: trio.Event = attrs.field(factory=trio.Event)
    hint: str = ""
    """What there is without Redis."""
    own: PendingPublish | None = None
    """The message, if it is one that members here may have before Redis has answered."""

    def settle(self, outcome: Any) -> None:
        """Tell the one that waits."""
        self.outcome = outcome
        self.settled.set()

    @property
    def size(self) -> int:
        """About how many bytes it is."""
        return sum(len(argument) for argument in self.arguments if isinstance(argument, str | bytes))

    def __call__(self, client: Client, least: int = 0) -> Any:
        """Run it: by a client, or as a part of a pipeline. `least` is the number of the first call sent with it."""
        return client.eval(self.script, keys=self.keys, args=(*self.arguments, self.number, least or self.number))


class CommandQueue:
    """What waits to be run; see the module.

    Args:
        options: the backplane's.
        local: is told of messages that are to be published.
    """

    def __init__(self, options: Options, local: LocalDelivery) -> None:
        self._options = options
        self._local = local
        self._places = trio.Semaphore(options.max_waiting)
        self._waiting: deque[Command] = deque()
        self._under_way: list[Command] = []
        self._orphans: dict[Command, None] = {}  # those that nobody waits for
        self._numbers = count(1)
        self._bell = Bell()

    async def ask(self, call: Command) -> Any:
        """Have a script run, and return its answer.

        Raises:
            BackplaneUnavailable: it was not run for certain within `publish_timeout`.
            BackplaneFull: Redis has no memory left.
            BackplaneRefused: Redis refused it.
            trio.Cancelled: it was not run, if it was not sent yet. But a message that members of this process have had
                is not taken back, as long as it would have been waited for.
        """
        timeout = self._options.publish_timeout
        call.until = trio.current_time() + timeout
        with trio.move_on_at(call.until):
            async with self._places:
                await self._settled(call)
        heard = call.own is not None and call.own.heard
        if not call.settled.is_set():
            problem = f"Redis has not answered for {timeout:g} s (publish_timeout): is it up, and is it quick enough?"
            if call.refused:
                problem = f"Redis has not taken it for {timeout:g} s (publish_timeout): {call.refused}"
            problem += call.hint
            raise _also_said(BackplaneUnavailable(problem, uncertain=call.sent), heard=heard)
        if isinstance(call.outcome, Exception):
            raise _also_said(refusal(call.outcome), heard=heard) from call.outcome
        return call.outcome

    async def _settled(self, call: Command) -> None:
        self._enqueue(call)
        try:
            await call.settled.wait()
        finally:
            self._give_up(*[each for each in self._orphans if self._is_over(each)])
            if not call.settled.is_set():
                if call.own is None or not (call.own.heard or call.sent) or self._is_over(call):
                    self._give_up(call)
                else:
                    self._orphans[call] = None
                    self._give_up(*[*self._orphans][: -self._options.max_waiting])

    @staticmethod
    def _is_over(call: Command) -> bool:
        return trio.current_time() >= call.until

    def _give_up(self, *calls: Command) -> None:
        for call in calls:
            call.wanted = False
            self._orphans.pop(call, None)
            if call in self._waiting:
                self._waiting.remove(call)
            if call.own is not None:
                self._local.given_up(call.own, sent=call.sent)

    def _enqueue(self, call: Command) -> None:
        call.number, call.sent, call.again = next(self._numbers), False, False
        if call.own is not None:
            self._local.numbered(call.own, call.number)
        self._waiting.append(call)
        self._bell.ring()

    async def run(self, client: Client) -> None:
        """Run what waits, over one link, until it breaks.

        Raises:
            Exception: the link broke. What is not settled will be run again.
        """
        self._give_up(*[each for each in self._orphans if self._is_over(each)])
        self._waiting.extendleft(reversed([call for call in self._under_way if call.wanted]))
        self._under_way = []
        while True:
            self._under_way = self._batch()
            if not self._under_way:
                await self._bell.wait()
                continue
            outcomes = await execute(client, self._under_way, self._options.command_timeout)
            broken = None
            again: list[Command] = []
            for call, outcome in zip(self._under_way, outcomes, strict=True):
                if is_link_error(outcome):
                    broken = outcome
                    again.append(call)
                elif is_passing(outcome) and call.wanted:
                    call.sent, call.refused = call.again, str(outcome)
                    again.append(call)
                elif outcome == _OVERTAKEN and call.wanted:
                    self._enqueue(call)
                else:
                    self._finish(call, outcome)
            if broken is not None:
                self._under_way = again
                raise broken
            self._under_way = []
            self._waiting.extendleft(reversed(again))
            if again:
                await trio.sleep(_PAUSE)

    def _finish(self, call: Command, outcome: Any) -> None:
        try:
            self._settle(call, outcome)
        except Exception as error:
            logger.exception("error in a call for the room %r: it fails, others do not", call.room)
            call.settle(error)

    def _settle(self, call: Command, outcome: Any) -> None:
        self._orphans.pop(call, None)
        if call.own is not None:
            if isinstance(outcome, Exception) and not call.again:
                self._local.refused(call.own)
            elif isinstance(outcome, Exception) or outcome == _OVERTAKEN:
                self._local.given_up(call.own, sent=outcome != _OVERTAKEN)
            else:
                self._local.accepted(call.own, outcome.decode().partition(" ")[0])
        call.settle(outcome)

    def _batch(self) -> list[Command]:
        batch: list[Command] = []
        size = 0
        while self._waiting and len(batch) < _BATCH and size < _BATCH_BYTES:
            call = self._waiting.popleft()
            call.sent, call.again = True, call.sent
            size += call.size
            batch.append(call)
        return batch


def _also_said(error: BackplaneError, *, heard: bool) -> BackplaneError:
    """Let an error say that members of this process have had the message that was not published."""
    if not heard:
        return error
    error.local = True
    error.args = (f"{error} Members of the room that are in this process have had it.",)
    return error


async def execute(client: Client, calls: Sequence[Command], seconds: float) -> Sequence[Any]:
    """Run scripts, those of one room in order, and return what comes of each: an answer, or an error of Redis.

    Raises:
        trio.TooSlowError: it took longer than so many seconds.
        Exception: the link broke.
    """
    with trio.fail_after(seconds):
        if is_cluster(client):
            return await _execute_in_cluster(client, calls)
        least = calls[0].number
        return await together(client, [partial(call, least=least) for call in calls])


async def _execute_in_cluster(client: Client, calls: Sequence[Command]) -> Sequence[Any]:
    """Rooms beside each other: the cluster's own pipeline may change the order within one."""
    outcomes: dict[Command, Any] = {}

    async def in_order(room: str) -> None:
        for call in calls:
            if call.room == room:
                outcomes[call] = await alone(client, partial(call, least=calls[0].number))
                if is_link_error(outcomes[call]):
                    return

    async with trio.open_nursery() as nursery:
        for room in {call.room for call in calls}:
            nursery.start_soon(in_order, room)
    return [outcomes.get(call, TimeoutError("not sent: an earlier call for the room failed")) for call in calls]
