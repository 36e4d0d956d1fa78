"""Publishing messages to streams, those of one room together."""

from __future__ import annotations

import re
import secrets
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final, Protocol

import attrs

from trio_ws.errors import BackplaneRefused, MessageTooLarge
from trio_ws.rooms.redis.command import QueuedCommand, ScriptCall, list_of_outcomes
from trio_ws.rooms.redis.entries import News, StreamEntry, encode_message
from trio_ws.rooms.redis.publish_script import PUBLISH
from trio_ws.rooms.redis.wire import packed_words
from trio_ws.rooms.topics import check_member, encoded

if TYPE_CHECKING:
    from trio_ws.connection.prepared import PreparedMessage
    from trio_ws.rooms.redis.command import WireCall
    from trio_ws.rooms.redis.heads import StreamHeads
    from trio_ws.rooms.redis.options import Options

__all__ = ["KNOWN", "OVERTAKEN", "OwnNews", "PublishCommand", "Publisher"]

OVERTAKEN: Final = b""
"""The answer for a message that was not appended, and needs a new number for that."""
KNOWN: Final = b"k"
"""The beginning of the answer for a message that was published before, by its key."""
_RECOGNISED: Final = 60.0
"""Seconds beyond `publish_timeout` for which a message is recognised: a network delays it for less."""
_INLINE: Final = 16 * 1024
"""Bytes of messages in a notification at most. Redis ends the connection of a process that is behind by 32 MB."""
_ANSWER: Final = re.compile(rb"[0-9]{1,20}-[0-9]{1,20} [0-9]{1,15}-[0-9a-f]{1,16}")
_APPENDED: Final = re.compile(
    rb"[0-9]{1,15}-[0-9a-f]{1,16} [0-9]{1,20}-[0-9]{1,20} [0-9]{1,15}(?: [0-9]{1,20}-[0-9]{1,20})+"
)
_INLINE_PLACE: Final = 5
"""Of that argument."""
_HEAD: Final = 5
"""Arguments that change from call to call."""
_NOTHING: Final = packed_words((b"", b""))
"""No excluded members, and no key."""
_ROOMS: Final = 4096
"""Rooms of which the beginning of the call is held."""


class OwnNews(Protocol):
    """Takes what the answers to this process's calls say."""

    def begin_call(self, room: str) -> bool:
        """Note a call that appends to a room; return whether Redis would notify its connection."""

    def on_appended(self, room: str, news: News | None) -> bool:
        """Take the entries that a call has appended, and return whether they are read now.

        They are None if others or none may have been appended.
        """


@attrs.frozen
class _RoomArguments:
    """The part that all calls for a room have."""

    keys: tuple[str, str]
    arguments: tuple[str | int, ...]
    beginning: bytes
    """The same, as Redis reads it."""


@attrs.frozen
class _PackedCall:
    """A call that is sent by its script's name nearly always."""

    room: str
    data: bytes
    publisher: Publisher
    commands: Sequence[PublishCommand]
    smallest: int

    @property
    def data_with_text(self) -> bytes:
        """The command that runs the script, as Redis reads it."""
        return self.publisher.call(self.commands, self.smallest, in_cluster=False).data_with_text


@attrs.define(eq=False)
class PublishCommand(QueuedCommand):
    """A message to append to a room's stream."""

    publisher: Publisher
    prepared: PreparedMessage
    message: bytes
    exclude: frozenset[str]
    key: str = ""
    """The Redis key of the message's own key, if it has one."""
    order: bool = False

    @property
    def excluded(self) -> str:
        """The excluded members, as the stream has them."""
        return " ".join(self.exclude)

    @property
    def size(self) -> int:
        """The number of bytes, approximately."""
        return len(self.message) + (sum(map(len, self.exclude)) if self.exclude else 0)

    def group(self, *, in_cluster: bool) -> str:
        """Return the room: one call appends all its messages."""
        return self.room

    def call(self, others: Sequence[Any], smallest: int, *, in_cluster: bool) -> ScriptCall:
        """Return the call; see `QueuedCommand.call`."""
        return self.publisher.call((self, *others), smallest, in_cluster=in_cluster)

    def wire_call(self, others: Sequence[Any], smallest: int) -> WireCall:
        """Return the call; see `QueuedCommand.wire_call`."""
        return self.publisher.wire_call((self, *others), smallest)

    def outcomes(self, others: Sequence[Any], answer: Any) -> Sequence[Any]:
        """Return the outcomes; see `QueuedCommand.outcomes`."""
        return self.publisher.outcomes((self, *others), answer)


class Publisher:
    """Makes commands, and calls that run several of them.

    Args:
        options: the backplane's.
        process: names this process among all.
        heads: the heads of all streams.
        news: takes what the answers say.
    """

    def __init__(self, options: Options, process: str, heads: StreamHeads, news: OwnNews) -> None:
        self._options = options
        self._keys = options.keys
        self._process = process
        self._heads = heads
        self._news = news
        self._life = int(options.retention * 1000)
        self._recognised = int((options.publish_timeout + _RECOGNISED) * 1000)
        self._token = secrets.token_hex(4)
        self._rooms: dict[str, _RoomArguments] = {}

    def command(
        self, room: str, message: PreparedMessage, exclude: frozenset[str], key: str, *, order: bool
    ) -> PublishCommand:
        """Return the command that publishes a message; see `Backplane.publish`.

        Raises:
            MessageTooLarge: it is larger than `max_message_size`.
            TypeError: a member to exclude is no text.
            ValueError: the room's name or a member's has lone surrogates, or is not one.
        """
        if message.size > self._options.max_message_size:
            raise MessageTooLarge(message.size, self._options.max_message_size)
        for member in exclude:
            check_member(member)
        if room not in self._rooms:
            encoded(room, "the name of a room")
        key_name = self._keys.message_key(room, key) if key else ""
        return PublishCommand(room, self, message, encode_message(message, order=order), exclude, key_name, order)

    def call(self, commands: Sequence[PublishCommand], smallest: int, *, in_cluster: bool) -> ScriptCall:
        """Return the call that publishes messages of one room."""
        name = commands[0].room
        room = self._rooms.get(name) or self._room(name)
        keys = [*room.keys]
        arguments = [*room.arguments, *self._head(name, smallest, in_cluster=in_cluster)]
        if in_cluster:
            arguments[_INLINE_PLACE] = 0  # whose nodes send notifications to all others
        for command in commands:
            place: int | str = ""
            if command.key:
                keys.append(command.key)
                place = len(keys)
            arguments += (command.number, command.message, command.excluded, place)
        return ScriptCall(name, PUBLISH, keys, arguments)

    def wire_call(self, commands: Sequence[PublishCommand], smallest: int) -> WireCall:
        """Return the same call for a wire."""
        name = commands[0].room
        room = self._rooms.get(name) or self._room(name)
        parts = [
            b"*%d\r\n" % (5 + len(room.arguments) + _HEAD + 4 * len(commands)),
            room.beginning,
            packed_words(self._head(name, smallest, in_cluster=False)),
        ]
        for command in commands:
            if command.key:
                return self.call(commands, smallest, in_cluster=False)
            number, message = b"%d" % command.number, command.message
            parts.append(b"$%d\r\n%b\r\n$%d\r\n%b\r\n" % (len(number), number, len(message), message))
            parts.append(packed_words((command.excluded, "")) if command.exclude else _NOTHING)
        return _PackedCall(name, b"".join(parts), self, commands, smallest)

    def _head(self, name: str, smallest: int, *, in_cluster: bool) -> tuple[str | bytes | int, ...]:
        """Return the arguments that change from call to call."""
        head = self._heads.head_of(name)
        is_notified = not in_cluster and self._news.begin_call(name)
        return head.id, head.epoch, self._token, smallest, b"1" if is_notified else b""

    def _room(self, name: str) -> _RoomArguments:
        """Return the part that all calls for a room have."""
        if len(self._rooms) >= _ROOMS:
            self._rooms.clear()
        keys = self._keys.stream(name), self._keys.accepted(name, self._process)
        channel, length = self._keys.news(name), self._options.stream_length
        arguments = self._life, channel, length, self._recognised, self._process, _INLINE
        call = ScriptCall(name, PUBLISH, keys, arguments)
        room = self._rooms[name] = _RoomArguments(keys, arguments, call.beginning)
        return room

    def outcomes(self, commands: Sequence[PublishCommand], answer: Any) -> Sequence[Any]:
        """Return the outcomes of a call: ids of entries, or what the script answers for each message."""
        room = commands[0].room
        if isinstance(answer, bytes) and _APPENDED.fullmatch(answer):
            epoch, before, sequence, *ids = answer.decode().split(" ")
            if len(ids) == len(commands):
                if epoch.endswith(self._token):
                    self._token = secrets.token_hex(4)
                news = News(before, self._entries(commands, epoch, int(sequence), ids))
                if not self._news.on_appended(room, news):
                    self._heads.note(room, ids[-1], epoch)
                return ids
        self._news.on_appended(room, None)
        return list_of_outcomes(answer, len(commands))

    def _entries(
        self, commands: Sequence[PublishCommand], epoch: str, sequence: int, ids: Sequence[str]
    ) -> list[StreamEntry]:
        """Return the entries that a call has appended."""
        last = len(ids) - 1
        return [
            StreamEntry(
                ids[index],
                command.prepared,
                command.exclude,
                index < last,
                int(ids[index].partition("-")[0]) / 1000,
                command.order,
                sequence=sequence + index,
                publisher=self._process,
                number=command.number,
                epoch=epoch,
            )
            for index, command in enumerate(commands)
        ]

    def parse_answer(self, room: str, answer: bytes | str) -> str:
        """Return the id of an entry, and note it as seen.

        Raises:
            BackplaneRefused: the answer is not ours.
        """
        if isinstance(answer, str):
            return answer
        answer = answer.removeprefix(KNOWN)
        if not _ANSWER.fullmatch(answer):
            raise BackplaneRefused(f"the answer of Redis is not ours, no id of an entry: {answer!r:.80}")
        entry_id, _, epoch = answer.decode().partition(" ")
        self._heads.note(room, entry_id, epoch)
        return entry_id
