"""Publishing messages to streams, those of one room together."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

import attrs

from trio_ws.errors import BackplaneRefused, MessageTooLarge
from trio_ws.rooms.redis.command import QueuedCommand, ScriptCall
from trio_ws.rooms.redis.entries import encode_message
from trio_ws.rooms.redis.scripts import PUBLISH
from trio_ws.rooms.topics import check_member, encoded

if TYPE_CHECKING:
    from trio_ws.connection.prepared import PreparedMessage
    from trio_ws.rooms.redis.heads import StreamHeads
    from trio_ws.rooms.redis.options import Options

__all__ = ["KNOWN", "OVERTAKEN", "PublishCommand", "Publisher"]

OVERTAKEN: Final = b""
"""The answer for a message that was not appended, and needs a new number for that."""
KNOWN: Final = b"k"
"""The beginning of the answer for a message that was published before, by its key."""
_RECOGNISED: Final = 60.0
"""Seconds beyond `publish_timeout` for which a message is recognised: a network delays it for less."""
_INLINE: Final = 16 * 1024
"""Bytes of messages in a notification at most. Redis ends the connection of a process that is behind by 32 MB."""
_ANSWER: Final = re.compile(rb"[0-9]{1,20}-[0-9]{1,20} [0-9]{1,15}-[0-9a-f]{1,16}")


@attrs.define(eq=False)
class PublishCommand(QueuedCommand):
    """A message to append to a room's stream."""

    publisher: Publisher
    message: bytes
    exclude: str
    key: str = ""
    """The Redis key of the message's own key, if it has one."""

    @property
    def size(self) -> int:
        """The number of bytes, approximately."""
        return len(self.message) + len(self.exclude)

    def group(self, *, in_cluster: bool) -> str:
        """Return the room: one call appends all its messages."""
        return self.room

    def call(self, others: Sequence[Any], smallest: int, *, in_cluster: bool) -> ScriptCall:
        """Return the call; see `QueuedCommand.call`."""
        return self.publisher.call((self, *others), smallest, in_cluster=in_cluster)


class Publisher:
    """Makes commands, and calls that run several of them.

    Args:
        options: the backplane's.
        process: names this process among all.
        heads: the heads of all streams.
    """

    def __init__(self, options: Options, process: str, heads: StreamHeads) -> None:
        self._options = options
        self._keys = options.keys
        self._process = process
        self._heads = heads
        self._life = int(options.retention * 1000)
        self._recognised = int((options.publish_timeout + _RECOGNISED) * 1000)

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
        encoded(room, "the name of a room")
        key_name = self._keys.message_key(room, key) if key else ""
        return PublishCommand(room, self, encode_message(message, order=order), " ".join(exclude), key_name)

    def call(self, commands: Sequence[PublishCommand], smallest: int, *, in_cluster: bool) -> ScriptCall:
        """Return the call that publishes messages of one room."""
        room, keys = commands[0].room, self._keys
        names = [keys.stream(room), keys.accepted(room, self._process)]
        arguments: list[str | bytes | int] = [
            self._life,
            keys.news(room),
            *self._heads.head_of(room).arguments,
            self._options.stream_length,
            self._recognised,
            self._process,
            smallest,
            0 if in_cluster else _INLINE,  # whose nodes send notifications to all others
        ]
        for command in commands:
            if command.key:
                names.append(command.key)
            arguments += (command.number, command.message, command.exclude, len(names) if command.key else "")
        return ScriptCall(room, PUBLISH, names, arguments)

    def parse_answer(self, room: str, answer: bytes) -> str:
        """Return the id of an entry, and note it as seen.

        Raises:
            BackplaneRefused: the answer is not ours.
        """
        answer = answer.removeprefix(KNOWN)
        if not _ANSWER.fullmatch(answer):
            raise BackplaneRefused(f"the answer of Redis is not ours, no id of an entry: {answer!r:.80}")
        entry_id, _, epoch = answer.decode().partition(" ")
        self._heads.note(room, entry_id, epoch)
        return entry_id
