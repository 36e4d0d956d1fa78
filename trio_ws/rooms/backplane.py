"""The interface of backplanes, which carry rooms' messages within and between processes.

Each room is a bounded stream of entries in one order, the same for every subscriber. Publishing appends to it;
subscribers receive the entries that are appended, and keep the newest of them in a `Log`, which is exact about the
entries that it no longer holds. Members and their queues are no concern of a backplane.

Where the stream is elsewhere and cannot be reached, a backplane may deliver messages of its own process to the
subscribers there at once, in the publishers' order, and append them later. It does not deliver them again then, and the
id of such an entry names the subscriber's position, as any id does.
"""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import TYPE_CHECKING, Any, Final, TypeAlias, TypeVar

import attrs
import trio

from trio_ws.errors import BackplaneUnavailable
from trio_ws.rooms.topics import check_member

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from trio_ws.connection.prepared import PreparedMessage
    from trio_ws.runtime.token_bucket import Allowance

__all__ = [
    "Backplane",
    "Entry",
    "GapHandler",
    "Log",
    "Presence",
    "Replay",
    "SeenAhead",
    "Subscriber",
    "guarded",
    "ignore_gap",
]

logger: Final = logging.getLogger("trio_ws")


@attrs.frozen(eq=False)
class Entry:
    """A message in a room's stream."""

    id: str
    """The position of a subscriber that has received it, for `Log.since` in any process. It identifies the entry; one
    that is delivered before it is in the stream, or while an earlier one is not, has another id there. It has no other
    meaning outside of the backplane that made it."""
    message: PreparedMessage
    """The message, encoded once for all members."""
    exclude: frozenset[str]
    """The ids of the members that do not receive it."""
    more: bool = False
    """Whether another one is delivered in the same scheduler turn, right after it."""
    time: float = 0.0
    """When it was published, in seconds since 1970 on the backplane's clock."""
    order: bool = False
    """Whether it is for the processes with members, not for the members: see `orders`."""


Subscriber: TypeAlias = Callable[[Entry], None]
"""Called with each entry once, in the stream's order but for entries delivered early. It neither waits nor raises."""

GapHandler: TypeAlias = "Callable[[int | None], None]"
"""Called with the number of entries lost before the next one; None if unknown. It neither waits nor raises."""

Received = TypeVar("Received")


def ignore_gap(missed: int | None) -> None:
    """Do nothing about lost entries."""


def _is_member(_: object, __: attrs.Attribute[str], value: str) -> None:
    check_member(value)


def guarded(call: Callable[[Received], None], room: str) -> Callable[[Received], None]:
    """Return a subscriber's function that logs its errors instead of raising them."""

    def guard(received: Received) -> None:
        try:
            call(received)
        except Exception:
            logger.exception("error in a subscriber of room %r, other subscribers are not affected", room)

    return guard


@attrs.frozen
class Presence:
    """A member of a room, in any process.

    Raises:
        TypeError: the id is no text.
        ValueError: the id is empty, has white space or lone surrogates, or is longer than 256 bytes of UTF-8.
    """

    id: str = attrs.field(validator=_is_member)
    """Unique among all members of all rooms, in all processes."""
    info: Mapping[str, Any]
    """The info that was given to `join`."""


class SeenAhead(ABC):
    """Entries still to come that a member has received in another process."""

    @abstractmethod
    def take(self, entry: Entry) -> Entry | None:
        """Return the entry to deliver; None if the member has it.

        Args:
            entry: an entry that has come; called once for each, in order.
        """

    @property
    @abstractmethod
    def is_exhausted(self) -> bool:
        """Whether all of them have come."""


@attrs.frozen
class Replay:
    """The entries after a certain one."""

    entries: tuple[Entry, ...]
    """In order; only the newest, if older ones are not held any more."""
    recovered: bool
    """Whether none is missing."""
    ahead: SeenAhead | None = None
    """The entries still to come that the member has received elsewhere; None for none."""


class Log:
    """The newest entries of one room's stream, for one subscriber.

    Args:
        size: the number of messages that it holds at most; as many orders are held beside them.
    """

    __slots__ = ("_entries", "_forgotten", "_orders", "_size")

    def __init__(self, size: int) -> None:
        self._entries: deque[Entry] = deque()
        self._size = size
        self._orders = 0  # among the entries; as many as `size` take no message's place
        self._forgotten: str | None = None  # the entry right before those that are held

    def append(self, entry: Entry) -> None:
        """Add the newest entry; drop the oldest if there are too many."""
        self._entries.append(entry)
        self._orders += entry.order
        while len(self._entries) > self._size + min(self._orders, self._size):
            oldest = self._entries.popleft()
            self._orders -= oldest.order
            self._forgotten = oldest.id

    def break_off(self, after: str | None = None) -> None:
        """Drop all entries, as some are lost between them and the next.

        Args:
            after: the id of the entry in the place of the lost ones, if there is one.
        """
        self._entries.clear()
        self._orders = 0
        self._forgotten = after

    def since(self, after: str) -> Replay:
        """Return the entries after the one with an id."""
        entries = tuple(self._entries)
        if after == self._forgotten:
            return Replay(entries, recovered=True)
        for index, entry in enumerate(entries, 1):
            if entry.id == after:
                return Replay(entries[index:], recovered=True)
        return Replay(entries, recovered=False)

    def __iter__(self) -> Iterator[Entry]:
        return iter(tuple(self._entries))

    def __len__(self) -> int:
        return len(self._entries)


class Backplane(ABC):
    """Carries rooms' messages; `tests/rooms/conformance.py` is the contract of every implementation.

    Its argument `room` is a topic, see `topics`: a text of UTF-8 that `Rooms` has checked. An argument that cannot be
    carried is refused in its caller, before it reaches a task or a connection that others share.
    """

    @asynccontextmanager
    async def running(self) -> AsyncGenerator[None, None]:
        """Hold the backplane's connections and tasks while rooms are open.

        Tasks of its own use the network, so that a publisher or subscriber that is cancelled leaves nothing half done.
        The default needs nothing.
        """
        yield

    @abstractmethod
    async def publish(
        self, room: str, message: PreparedMessage, exclude: frozenset[str], *, key: str = "", order: bool = False
    ) -> str:
        """Append a message to a room's stream; return its entry's id.

        It returns when the message is certain to be in the stream. It never waits for a subscriber. It may wait for the
        backplane itself, which takes a bounded number of messages at once. It is a checkpoint.

        Args:
            room: the room's name.
            message: the message.
            exclude: the ids of the members that do not receive it.
            key: the id of an earlier message with this key in the room is returned, if it is known, and nothing is
                published; "" for no key. It is given only if the application gave one.
            order: as of `Entry`; given only if it is True.

        Raises:
            BackplaneUnavailable: the backplane is away, and a bounded time has passed; its `local` is True if
                subscribers in this process have received the message. So it is for the other errors.
            BackplaneFull: the backplane has no memory left for it.
            MessageTooLarge: it is larger than the backplane carries.
            trio.Cancelled: nothing was published; but where publishing takes time, it may have been.
        """

    @abstractmethod
    def subscribe(
        self, room: str, deliver: Subscriber, *, history: int, gap: GapHandler = ignore_gap
    ) -> AbstractAsyncContextManager[Log]:
        """Subscribe to a room's stream; leaving the context ends the subscription.

        Within the context each entry is put into the log, then passed to `deliver`: once, in the stream's order, with
        none missing since those that the log began with. (Early delivery has an order of its own: see the module.) If
        entries are lost after all, the log is broken off, then `gap` called, at the place in the order where they would
        have been.

        Args:
            room: the room's name.
            deliver: called with each new entry, not before the context is entered nor after it is left.
            history: how many entries the log holds at most. It begins with the newest of those that are still there.
            gap: called when entries are lost.

        Raises:
            BackplaneUnavailable: on entering: the backplane is away, and a bounded time has passed.
        """

    @abstractmethod
    async def sync(self, room: str) -> None:
        """Wait until subscribers here have received a room's whole stream.

        Entries that are appended meanwhile do not count.

        Raises:
            BackplaneUnavailable: the backplane is away, and a bounded time has passed.
        """

    @abstractmethod
    def enter(self, room: str, member: Presence) -> None:
        """Add a member to a room's presence, in all processes.

        It does not wait: other processes may see the member a little later. A member whose process ends abruptly is
        absent after a bounded time.

        Raises:
            TypeError: the member's info cannot be carried; likewise ValueError.
            MessageTooLarge: it is larger than the backplane carries.
        """

    @abstractmethod
    def leave(self, room: str, member: str) -> None:
        """Remove the member with an id from a room's presence, without waiting."""

    def presence_change(self, room: str) -> trio.Event:
        """Return an event that is set once a room's presence may have changed, here or elsewhere.

        It is a hint: a change after the call sets it, or nothing does. The default is never set.
        """
        return trio.Event()

    async def count(self, room: str) -> int:
        """Return the number of a room's members in all processes.

        Raises:
            BackplaneUnavailable: the backplane is away, and a bounded time has passed.
        """
        return len(await self.presence(room))

    async def history(
        self, room: str, after: str | float | None, before: str | float | None, limit: int
    ) -> Sequence[Entry]:
        """Return entries of a room's stream that are kept, in its order, without orders.

        Args:
            room: the room's name.
            after: an id or a time: later ones, the first of them; None for the latest.
            before: an id or a time: earlier ones.
            limit: how many, at most; less beyond some MiB, one at least.

        Raises:
            BackplaneUnavailable: the backplane is away, and a bounded time has passed.
            NotImplementedError: the backplane has no history.
            ValueError: a text is no id.
        """
        raise NotImplementedError(f"{type(self).__name__} has no history by range")

    async def lease(self, room: str, name: str, holder: str, seconds: float) -> bool:
        """Take or keep a place for one of all processes; return True if the holder has it.

        Args:
            room: the room's name.
            name: of the place.
            holder: the name of the candidate, unique in all processes.
            seconds: how long it is theirs, from some time within this call on, unless it is renewed.

        Raises:
            BackplaneUnavailable: the backplane is away, and a bounded time has passed.
            NotImplementedError: the backplane has no leases.
        """
        raise NotImplementedError(f"{type(self).__name__} has no leases, which leaders of rooms need")

    async def release(self, room: str, name: str, holder: str) -> None:
        """Give a place back before its time is over, if the holder has it.

        Raises:
            BackplaneUnavailable: the backplane is away, and a bounded time has passed.
            NotImplementedError: the backplane has no leases.
        """
        raise NotImplementedError(f"{type(self).__name__} has no leases, which leaders of rooms need")

    async def spend(self, account: str, allowance: Allowance, size: int, *, in_debt: bool) -> float:
        """Spend for one message from an account of all processes; see `TokenBucket.spend`.

        The default has no such accounts.

        Args:
            account: a topic.
            allowance: of the account, the same in all processes.
            size: of the message, in bytes.
            in_debt: spend also if there is too little.

        Raises:
            BackplaneUnavailable: the backplane is away, and a bounded time has passed; or it has no accounts.
        """
        raise BackplaneUnavailable("this backplane has no shared budgets")

    @abstractmethod
    async def presence(self, room: str) -> tuple[Presence, ...]:
        """Return a room's members in all processes.

        Those of one process are in the order in which they joined.

        Raises:
            BackplaneUnavailable: the backplane is away, and a bounded time has passed.
        """
