"""The backplane that connects processes by Redis."""

from __future__ import annotations

import math
import secrets
from collections.abc import AsyncGenerator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import TYPE_CHECKING, Final

import trio

from trio_ws.errors import LocalProtocolError
from trio_ws.options import hint_unknown_options
from trio_ws.rooms.backplane import Backplane, GapHandler, Log, Presence, ignore_gap
from trio_ws.rooms.redis.callers import WaitingCallers
from trio_ws.rooms.redis.channels import Channels
from trio_ws.rooms.redis.client import Client, ClientFactory, Opener
from trio_ws.rooms.redis.command import Command, ScriptCall
from trio_ws.rooms.redis.commands import CommandQueue
from trio_ws.rooms.redis.connection import RedisConnection
from trio_ws.rooms.redis.heads import StreamHeads
from trio_ws.rooms.redis.history import read_history
from trio_ws.rooms.redis.lease_scripts import LEASE, RELEASE, SPEND
from trio_ws.rooms.redis.local_delivery import LocalDelivery
from trio_ws.rooms.redis.options import Options
from trio_ws.rooms.redis.presence import PresenceTracker
from trio_ws.rooms.redis.presence_scripts import COUNT
from trio_ws.rooms.redis.publishing import Publisher
from trio_ws.rooms.redis.scripts import CHECK
from trio_ws.rooms.redis.stream import StreamState
from trio_ws.rooms.redis.stream_reader import StreamReader
from trio_ws.rooms.topics import encoded

if TYPE_CHECKING:
    import ssl

    from trio_ws.connection.prepared import PreparedMessage
    from trio_ws.rooms.backplane import Entry, Subscriber
    from trio_ws.runtime.token_bucket import Allowance

__all__ = ["RedisBackplane"]

_DEFAULTS: Final = Options()
_QUERIES: Final = 8
"""Queries that are sent together, at most: a page of history has 4 MiB."""
_LEAVE_TIMEOUT: Final = 1.0
"""Seconds at the end to remove members from Redis."""


class RedisBackplane(Backplane):
    """A backplane on Redis 6 or newer, with a stream per room.

    `docs/scaling.md` states the guarantees, and the behaviour while Redis is away, slow or full.

    Args:
        redis: a URL: `redis://user:password@host:port/db`, `rediss://` with TLS, `unix:///path?db=0`,
            `redis+sentinel://host:port,host:port/service/db`, `redis+cluster://host:port,host:port`, the last two also
            as `rediss+...`. Or a function that returns a new client of coredis each time it is called, with
            `decode_responses` off.
        ssl_context: for TLS; by default the system's authorities are trusted, and host names checked.
        prefix: the beginning of the names of all keys and channels.
        stream_length: how many messages of a room Redis holds, about: a process that lost its connection reads them
            there.
        retention: seconds after which Redis forgets a room without messages and members; at least 0.1.
        max_message_size: bytes of one message, at most; Redis's own limit is `proto-max-bulk-len`, 512 MiB.
        max_info_size: bytes of the info of one member as JSON, at most: `presence` answers with those of all.
        max_waiting: how many messages of this process wait for Redis at once; further publishers wait before that.
        publish_timeout: seconds for which `publish`, `presence` and a join that opens a room wait for Redis.
        local_after: seconds after which a message is delivered to the members of this process without waiting for Redis
            any longer; at once when the connection is known to be broken. A join waits as long for a connection before
            it opens a room without one. None to let all wait for the one order of the stream.
        command_timeout: seconds without an answer of Redis after which the connection counts as broken.
        presence_timeout: seconds after which members of a process are absent unless it refreshes them; it does so
            three times in that.
        poll_interval: seconds after which a process looks for messages of which no notification came.
        wait: whether to wait at the start for a Redis that does not answer.

    Raises:
        ImportError: coredis is not installed.
        TypeError: the URL or an option has another type.
        ValueError: the URL or an option makes no sense.
    """

    @hint_unknown_options
    def __init__(
        self,
        redis: str | Opener,
        *,
        ssl_context: ssl.SSLContext | None = None,
        prefix: str = _DEFAULTS.prefix,
        stream_length: int = _DEFAULTS.stream_length,
        retention: float = _DEFAULTS.retention,
        max_message_size: int = _DEFAULTS.max_message_size,
        max_info_size: int = _DEFAULTS.max_info_size,
        max_waiting: int = _DEFAULTS.max_waiting,
        publish_timeout: float = _DEFAULTS.publish_timeout,
        local_after: float | None = _DEFAULTS.local_after,
        command_timeout: float = _DEFAULTS.command_timeout,
        presence_timeout: float = _DEFAULTS.presence_timeout,
        poll_interval: float = _DEFAULTS.poll_interval,
        wait: bool = _DEFAULTS.wait,
    ) -> None:
        self.options: Options = Options(
            prefix=prefix,
            stream_length=stream_length,
            retention=retention,
            max_message_size=max_message_size,
            max_info_size=max_info_size,
            max_waiting=max_waiting,
            publish_timeout=publish_timeout,
            local_after=local_after,
            command_timeout=command_timeout,
            presence_timeout=presence_timeout,
            poll_interval=poll_interval,
            wait=wait,
        )
        self._keys = self.options.keys
        self._factory = ClientFactory.create(redis, self.options.command_timeout, ssl_context)
        self._process = ""
        self._changes: dict[str, trio.Event] = {}  # to be set when the presence of a room changes
        self._commands: CommandQueue | None = None
        self._queries: CommandQueue  # with large answers: Redis bounds them on the wire, as it has subscriptions
        self._local: LocalDelivery
        self._heads: StreamHeads
        self._publisher: Publisher
        self._reader: StreamReader
        self._presence: PresenceTracker

    @asynccontextmanager
    async def running(self) -> AsyncGenerator[None, None]:
        """Hold a connection to Redis, and make another when it breaks.

        Raises:
            BackplaneUnavailable: there is no Redis at the start, and `wait` is off.
            BackplaneRefused: Redis does not accept the name, the password, or our commands.
            LocalProtocolError: it is running.
        """
        if self._commands is not None:
            raise LocalProtocolError("the backplane is running already: each application needs one of its own")
        self._process = secrets.token_hex(8)
        streams: dict[str, StreamState] = {}
        self._local = LocalDelivery(self.options, self._process, streams)
        callers = WaitingCallers()
        self._commands = CommandQueue(self.options, self._local, callers)
        self._queries = CommandQueue(self.options, self._local, callers, _QUERIES)
        self._heads = StreamHeads(streams)
        self._reader = StreamReader(self.options, streams, self._local, self._heads, self._signal, callers=callers)
        self._publisher = Publisher(self.options, self._process, self._heads, self._reader)
        self._presence = PresenceTracker(self.options, self._process)
        connection = RedisConnection(self._factory, self._check, self._serve, self.options)
        failure: BaseException | None = None
        try:
            async with trio.open_nursery() as nursery:
                try:
                    await nursery.start(connection.run)
                    nursery.start_soon(self._local.early.run, name="backplane: early delivery")
                    nursery.start_soon(callers.run, name="backplane: timeouts")
                    yield
                except BaseException as error:
                    failure = error  # raised as it is, not in the nursery's group
                with trio.CancelScope(shield=True, deadline=trio.current_time() + _LEAVE_TIMEOUT):
                    await self._presence.settled()
                connection.end()
                self._local.early.end()
                callers.end()
        finally:
            self._commands = None
        if failure is not None:
            raise failure

    async def _check(self, client: Client) -> None:
        """Check that Redis allows our commands."""
        call = ScriptCall("", CHECK, (self._keys.check,), (self._keys.check,))
        with trio.fail_after(self.options.command_timeout):
            await call.with_text(client)
            await call(client)

    async def _serve(self, client: Client, channels: Channels) -> None:
        """Run the tasks that use one connection, until it breaks."""
        self._local.early.set_connected(connected=True)
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(channels.listen, self._reader.on_message, name="backplane: notifications")
                nursery.start_soon(self._reader.run, client, channels, name="backplane: reading")
                nursery.start_soon(self._running_commands.run, client, channels.wire, name="backplane: publishing")
                nursery.start_soon(self._queries.run, client, None, name="backplane: queries")
                nursery.start_soon(self._presence.run, client, name="backplane: presence")
        finally:
            self._local.early.set_connected(connected=False)

    @property
    def _running_commands(self) -> CommandQueue:
        if self._commands is None:
            raise LocalProtocolError("the backplane is not running: use rooms while the application runs")
        return self._commands

    @property
    def _running_queries(self) -> CommandQueue:
        self._running_commands  # noqa: B018 - raises
        return self._queries

    async def publish(
        self, room: str, message: PreparedMessage, exclude: frozenset[str], *, key: str = "", order: bool = False
    ) -> str:
        """Append a message to the room's stream; wait for Redis's answer."""
        commands = self._running_commands
        command = self._publisher.command(room, message, exclude, key, order=order)
        command.pending = self._local.create(room, message, exclude, keyed=bool(key), order=order)
        return self._publisher.parse_answer(room, await commands.run_command(command))

    def subscribe(
        self, room: str, deliver: Subscriber, *, history: int, gap: GapHandler = ignore_gap
    ) -> AbstractAsyncContextManager[Log]:
        """Subscribe to the room's stream, from its newest entry on."""
        self._running_commands  # noqa: B018 - raises
        encoded(room, "the name of a room")
        return self._reader.subscribe(room, deliver, history=history, gap=gap)

    async def sync(self, room: str) -> None:
        """Wait until everything in the stream was read."""
        await self._reader.sync(room)

    def enter(self, room: str, member: Presence) -> None:
        """Add a member, without waiting for Redis."""
        self._presence.enter(room, member)

    def leave(self, room: str, member: str) -> None:
        """Remove a member, without waiting for Redis."""
        self._presence.leave(room, member)
        self._signal(room)

    def presence_change(self, room: str) -> trio.Event:
        """Return an event that the next notification of a join or leave sets."""
        return self._changes.setdefault(room, trio.Event())

    def _signal(self, room: str) -> None:
        if room in self._changes:
            self._changes.pop(room).set()

    async def presence(self, room: str) -> tuple[Presence, ...]:
        """Return the members of a room, in the answer of Redis."""
        answer = await self._running_queries.run_command(self._presence.query(room))
        return self._presence.parse_answer(room, answer)

    async def count(self, room: str) -> int:
        """Return the number of a room's members, in the answer of Redis."""
        keys, hint = self._keys, " room.count is the number in this process."
        command = Command(room, COUNT, (keys.processes(room),), (keys.members(room, ""),), hint=hint)
        return int(await self._running_commands.run_command(command))

    async def spend(self, account: str, allowance: Allowance, size: int, *, in_debt: bool) -> float:
        """Spend from an account of all processes, by the clock of Redis."""
        limits = (allowance.messages, allowance.size, allowance.per)
        arguments = (size, *(repr(each) if math.isfinite(each) else 0 for each in limits), "debt" if in_debt else "")
        answer = await self._running_commands.run_command(
            Command(account, SPEND, (self._keys.account(account),), arguments)
        )
        return float(answer)

    async def lease(self, room: str, name: str, holder: str, seconds: float) -> bool:
        """Take or keep a place; Redis forgets it after the time."""
        command = Command(room, LEASE, (self._keys.leader(room, name),), (holder, int(seconds * 1000)))
        return bool(await self._running_commands.run_command(command))

    async def release(self, room: str, name: str, holder: str) -> None:
        """Give a place back."""
        await self._running_commands.run_command(Command(room, RELEASE, (self._keys.leader(room, name),), (holder,)))

    async def history(
        self, room: str, after: str | float | None, before: str | float | None, limit: int
    ) -> Sequence[Entry]:
        """Return entries of a room's stream in Redis; times are those of its clock."""
        run, stream = self._running_queries.run_command, self._keys.stream(room)
        return await read_history(run, room, stream, (after, before), limit)
