"""Commands for Redis, and the scripts that run them."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from functools import cache
from hashlib import sha1
from typing import TYPE_CHECKING, Any, Protocol

import attrs
import trio

from trio_ws.errors import BackplaneRefused
from trio_ws.rooms.redis.wire import packed, packed_words
from trio_ws.rooms.topics import encoded

if TYPE_CHECKING:
    from trio_ws.rooms.redis.client import Client
    from trio_ws.rooms.redis.pending import PendingPublish

__all__ = ["Command", "QueuedCommand", "ScriptCall", "WireCall", "check_values", "list_of_outcomes"]


def check_values(_: object, __: object, values: Sequence[str | bytes | int]) -> None:
    """Refuse names that no text of UTF-8 has: a validator of attrs."""
    for value in values:
        if isinstance(value, str):
            encoded(value, "a name")


@cache
def _digest(script: str) -> str:
    """Return the name that Redis has for a script that it has run."""
    return sha1(script.encode(), usedforsecurity=False).hexdigest()


def list_of_outcomes(outcome: Any, count: int) -> Sequence[Any]:
    """Return the outcomes of what one call has run, which is to answer with a list of them."""
    if isinstance(outcome, list) and len(outcome) == count:
        return outcome
    if not isinstance(outcome, Exception):
        outcome = BackplaneRefused(f"the answer of Redis is not ours, no list of {count}: {outcome!r:.80}")
    return [outcome] * count


class WireCall(Protocol):
    """A call that can be sent over a wire."""

    @property
    def room(self) -> str:
        """The room that it is for."""

    @property
    def data(self) -> bytes:
        """The command that runs the script by its name, as Redis reads it."""

    @property
    def data_with_text(self) -> bytes:
        """The command that runs the script, as Redis reads it."""


@attrs.frozen
class ScriptCall:
    """One run of a script, for one command or several."""

    room: str
    script: str
    keys: Sequence[str]
    arguments: Sequence[str | bytes | int]

    def __call__(self, client: Client) -> Any:
        """Run the script by its name, with a client or in a pipeline; Redis may not have it."""
        return client.evalsha(_digest(self.script), keys=self.keys, args=self.arguments)

    @property
    def data(self) -> bytes:
        """The command that runs the script by its name, as Redis reads it."""
        return packed((b"EVALSHA", *self._words(_digest(self.script))))

    @property
    def data_with_text(self) -> bytes:
        """The command that runs the script, as Redis reads it."""
        return packed((b"EVAL", *self._words(self.script)))

    def _words(self, script: str) -> Sequence[str | bytes | int]:
        return (script, len(self.keys), *self.keys, *self.arguments)

    @property
    def beginning(self) -> bytes:
        """The command up to the arguments, as Redis reads it, without its length."""
        return packed_words((b"EVALSHA", *self._words(_digest(self.script))))

    def with_text(self, client: Client) -> Any:
        """Run the script, with a client or in a pipeline; Redis has it from then on."""
        return client.eval(self.script, keys=self.keys, args=self.arguments)


@attrs.define(eq=False)
class QueuedCommand(ABC):
    """A command that waits for a connection, and for its answer."""

    room: str
    """Commands for one room run in the order in which they were queued."""
    number: int = attrs.field(default=0, kw_only=True)
    """It grows with each command."""
    sent: bool = attrs.field(default=False, init=False)
    """Whether it may have been run."""
    sent_before: bool = attrs.field(default=False, init=False)
    """Whether it may have been run before it was sent the last time."""
    rejection: str = attrs.field(default="", init=False)
    """Redis's answer when it did not take it just then."""
    wanted: bool = attrs.field(default=True, init=False)
    """Whether it is still to be run."""
    expires_at: float = attrs.field(default=math.inf, init=False)
    """Trio's time from which on it is not run any more."""
    outcome: Any = attrs.field(default=None, init=False)
    settled: bool = attrs.field(default=False, init=False)
    """Whether it has its outcome."""
    hint: str = attrs.field(default="", kw_only=True)
    """What to use instead while Redis is away, for the error."""
    pending: PendingPublish | None = attrs.field(default=None, kw_only=True)
    """The message, if it may be delivered early to members of this process."""

    @property
    def is_expired(self) -> bool:
        """Whether its time has passed."""
        return trio.current_time() >= self.expires_at

    @property
    def is_delivered(self) -> bool:
        """Whether members of this process have received its message."""
        return self.pending is not None and self.pending.delivered

    @property
    @abstractmethod
    def size(self) -> int:
        """The number of bytes, approximately."""

    @abstractmethod
    def call(self, others: Sequence[Any], smallest: int, *, in_cluster: bool) -> ScriptCall:
        """Return the call that runs the command.

        Args:
            others: commands of the same kind that it runs, too.
            smallest: the smallest number of all commands that are sent together.
            in_cluster: whether Redis is a cluster.
        """

    def wire_call(self, others: Sequence[Any], smallest: int) -> WireCall:
        """Return the call for a wire; see `call`."""
        return self.call(others, smallest, in_cluster=False)

    def outcomes(self, others: Sequence[Any], answer: Any) -> Sequence[Any]:
        """Return the outcome of each command that a call has run.

        Args:
            others: as of `call`.
            answer: the outcome of the call.
        """
        return list_of_outcomes(answer, 1 + len(others))

    def group(self, *, in_cluster: bool) -> str | None:
        """Return the name of a group of commands that one call runs, which answers for each; None without one."""
        return None


@attrs.define(eq=False)
class Command(QueuedCommand):
    """A script for Redis to run.

    Raises:
        ValueError: a key or an argument has lone surrogates: it fails here, not on the shared connection.
    """

    script: str
    keys: tuple[str, ...] = attrs.field(validator=check_values)
    arguments: tuple[str | bytes | int, ...] = attrs.field(validator=check_values)

    @property
    def size(self) -> int:
        """The number of bytes, approximately."""
        return sum(len(argument) for argument in self.arguments if isinstance(argument, str | bytes))

    def call(self, others: Sequence[Any], smallest: int, *, in_cluster: bool) -> ScriptCall:
        """Return the call; see `QueuedCommand.call`."""
        return ScriptCall(self.room, self.script, self.keys, self.arguments)

    def outcomes(self, others: Sequence[Any], answer: Any) -> Sequence[Any]:
        """Return the outcome, which is the answer; no others share the call."""
        return (answer,)
