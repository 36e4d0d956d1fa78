"""RedisBackplane: rooms across processes and machines."""

from __future__ import annotations

import re
import secrets
from collections.abc import AsyncGenerator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import TYPE_CHECKING, Any, Final

import trio

from trio_ws.errors import BackplaneRefused, LocalProtocolError, MessageTooLarge
from trio_ws.rooms.backplane import Backplane, GapHandler, Log, Presence
from trio_ws.rooms.redis.client import Client, ClientFactory, Opener
from trio_ws.rooms.redis.commands import Command, CommandQueue, execute
from trio_ws.rooms.redis.connection import RedisConnection
from trio_ws.rooms.redis.heads import StreamHeads
from trio_ws.rooms.redis.local_delivery import LocalDelivery
from trio_ws.rooms.redis.options import Options
from trio_ws.rooms.redis.presence import PresenceTracker
from trio_ws.rooms.redis.scripts import CHECK, PUBLISH
from trio_ws.rooms.redis.stream import StreamState
from trio_ws.rooms.redis.stream_reader import StreamReader, content
from trio_ws.rooms.topics import check_member, encoded

if TYPE_CHECKING:
    import ssl

    from trio_ws.connection.prepared import PreparedMessage
    from trio_ws.rooms.backplane import Subscriber

__all__ = ["RedisBackplane"]

_KNOWN_AGAIN: Final = 60.0
"""Seconds beyond the publisher's own patience for which a message is known again: a network holds it for less."""
_ANSWER: Final = re.compile(rb"[0-9]{1,20}-[0-9]{1,20} [0-9]{1,15}-[0-9a-f]{1,16}")
_FAREWELL: Final = 1.0
"""Seconds at the end to tell Redis who has left."""


class RedisBackplane(Backplane):
    """Carries rooms between processes by a Redis, version 6 or newer: a bounded stream for each room.

    `docs/scaling.md` says what is guaranteed, and what happens when Redis is away, slow or full.

    Args:
        redis: a URL: `redis://user:password@host:port/db`, `rediss://` with TLS, `unix:///path?db=0`,
            `redis+sentinel://host:port,host:port/service/db`, `redis+cluster://host:port,host:port`, the last two also
            as `rediss+...`. Or a function that returns a new client of coredis each time it is called, with
            `decode_responses` off.
        ssl_context: for TLS; by default the system's authorities are trusted, and host names checked.
        prefix: what the names of all keys and channels begin with.
        stream_length: how many messages of a room Redis holds, about: a process that lost its link finds them there.
        retention: seconds after which Redis forgets a room in which nothing is said and nobody is; at least 0.1.
        max_message_size: bytes of one message, at most; Redis's own limit is `proto-max-bulk-len`, 512 MiB.
        max_info_size: bytes of the info of one member as JSON, at most: `presence` answers with those of all.
        max_waiting: how many messages of this process wait for Redis at once; further publishers wait before that.
        publish_timeout: seconds for which `publish`, `presence` and a join that opens a room wait for Redis.
        local_after: seconds after which the members of this process get what is published here without waiting for
            Redis any longer; at once when the link is known to be broken. So long, too, a join waits for a link before
            it opens a room without one. None to let all wait for the one order of the stream.
        command_timeout: seconds for which Redis may be silent before the link counts as broken and another is made.
        presence_timeout: seconds for which members of a process are present without a word from it; it gives one in a
            third of that.
        poll_interval: seconds after which a process looks for messages that it was not told of.
        wait: whether to wait at the start for a Redis that does not answer.

    Raises:
        ImportError: coredis is not installed.
        TypeError: the URL or an option has another type.
        ValueError: the URL or an option makes no sense.
    """

    def __init__(self, redis: str | Opener, *, ssl_context: ssl.SSLContext | None = None, **options: Any) -> None:
        self.options: Options = Options(**options)
        self._keys = self.options.keys
        self._source = ClientFactory.of(redis, self.options.command_timeout, ssl_context)
        self._process = ""
        self._calls: CommandQueue | None = None
        self._local: LocalDelivery
        self._heads: StreamHeads
        self._feeds: StreamReader
        self._attendance: PresenceTracker

    @asynccontextmanager
    async def running(self) -> AsyncGenerator[None, None]:
        """Hold a link to Redis, and make another when it breaks.

        Raises:
            BackplaneUnavailable: there is no Redis at the start, and `wait` is off.
            BackplaneRefused: Redis does not accept the name, the password, or what we do.
            LocalProtocolError: it is running.
        """
        if self._calls is not None:
            raise LocalProtocolError("the backplane is running already: each application needs one of its own")
        self._process = secrets.token_hex(8)
        feeds: dict[str, StreamState] = {}
        self._local = LocalDelivery(self.options, self._process, feeds)
        self._calls = CommandQueue(self.options, self._local)
        self._heads = StreamHeads(feeds)
        self._feeds = StreamReader(self.options, feeds, self._local, self._heads)
        self._attendance = PresenceTracker(self.options, self._process)
        link = RedisConnection(self._source, self._check, self._serve, self.options)
        failure: BaseException | None = None
        try:
            async with trio.open_nursery() as nursery:
                try:
                    await nursery.start(link.run)
                    nursery.start_soon(self._local.run, name="backplane: local members")
                    yield
                except BaseException as error:
                    failure = error  # raised as it is, not in the nursery's group
                with trio.CancelScope(shield=True, deadline=trio.current_time() + _FAREWELL):
                    await self._attendance.settled()
                link.end()
                self._local.end()
        finally:
            self._calls = None
        if failure is not None:
            raise failure

    async def _check(self, client: Client) -> None:
        """See that Redis lets us do what we have to do."""
        call = Command("", CHECK, (self._keys.check,), (self._keys.check,))
        (outcome,) = await execute(client, [call], self.options.command_timeout)
        if isinstance(outcome, Exception):
            raise outcome

    async def _serve(self, client: Client, pubsub: Any) -> None:
        """Do over one link what there is to do, until it breaks."""
        self._local.link(there=True)
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._feeds.listen, pubsub, name="backplane: news")
                nursery.start_soon(self._feeds.run, client, pubsub, name="backplane: reading")
                nursery.start_soon(self._running_calls.run, client, name="backplane: publishing")
                nursery.start_soon(self._attendance.run, client, name="backplane: attendance")
        finally:
            self._local.link(there=False)

    @property
    def _running_calls(self) -> CommandQueue:
        if self._calls is None:
            raise LocalProtocolError("the backplane is not running: rooms are for while the application runs")
        return self._calls

    async def publish(self, room: str, message: PreparedMessage, exclude: frozenset[str]) -> str:
        """Append a message to the room's stream; it returns when Redis has said that it is there."""
        options, keys, calls = self.options, self._keys, self._running_calls
        if message.size > options.max_message_size:
            raise MessageTooLarge(message.size, options.max_message_size)
        for member in exclude:
            check_member(member)
        milliseconds = int((options.publish_timeout + _KNOWN_AGAIN) * 1000)
        arguments = (
            int(options.retention * 1000),
            keys.news(room),
            *self._heads.of(room).arguments,
            options.stream_length,
            milliseconds,
            self._process,
            content(message),
            " ".join(exclude),
        )
        call = Command(room, PUBLISH, (keys.stream(room), keys.accepted(room, self._process)), arguments)
        call.own = self._local.own(room, message, exclude)
        answer: bytes = await calls.ask(call)
        if not _ANSWER.fullmatch(answer):
            raise BackplaneRefused(f"Redis has answered what is not ours, no id of an entry: {answer!r:.80}")
        identifier, _, epoch = answer.decode().partition(" ")
        self._heads.note(room, identifier, epoch)
        return identifier

    def subscribe(
        self, room: str, deliver: Subscriber, *, history: int, gap: GapHandler = lambda missed: None
    ) -> AbstractAsyncContextManager[Log]:
        """Subscribe to the room's stream, from its newest entry on."""
        self._running_calls  # noqa: B018 - raises
        encoded(room, "the name of a room")
        return self._feeds.subscribe(room, deliver, history=history, gap=gap)

    async def sync(self, room: str) -> None:
        """Wait until what Redis has was read."""
        await self._feeds.sync(room)

    def enter(self, room: str, member: Presence) -> None:
        """Let a member be present; Redis hears of it in a moment."""
        self._attendance.enter(room, member)

    def leave(self, room: str, member: str) -> None:
        """Let a member be present no more."""
        self._attendance.leave(room, member)

    async def presence(self, room: str) -> tuple[Presence, ...]:
        """Ask Redis who is there."""
        return self._attendance.answer(room, await self._running_calls.ask(self._attendance.question(room)))
