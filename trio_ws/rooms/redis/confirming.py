"""Checking that Redis has the streams that were read, and keeping them alive.

A process names the newest entry that it has seen of each stream, over each new connection and some times in their life.
Where that is missing, the script marks the loss.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import trio

from trio_ws.rooms.redis.ids import id_key
from trio_ws.rooms.redis.queries import QueryRunner, ScriptQuery
from trio_ws.rooms.redis.scripts import CONFIRM

if TYPE_CHECKING:
    from trio_ws.rooms.redis.client import Client
    from trio_ws.rooms.redis.heads import StreamHeads
    from trio_ws.rooms.redis.options import Options
    from trio_ws.rooms.redis.stream import StreamState

__all__ = ["BATCH", "RawEntry", "StreamConfirmation", "StreamConfirmer"]

BATCH: Final = 512
"""Rooms that are confirmed together."""
_BYTES: Final = 1024 * 1024
"""Bytes of entries that one call answers, and those of one room beyond it."""


class RawEntry(NamedTuple):
    """An entry of a stream, as Redis has it."""

    identifier: bytes
    field_values: Mapping[bytes, bytes]


class StreamConfirmation(NamedTuple):
    """The state of a stream in Redis."""

    time: float
    """The time of Redis in ms."""
    newest_id: str
    """The id of the newest entry, ours or not."""
    sequence: int
    """The sequence number of the newest entry of ours."""
    epoch: str
    page: Sequence[RawEntry] | None
    """The newest entries, newest first; None if they are to be asked for alone."""


def _parse(answer: Any) -> StreamConfirmation:
    time, newest, sequence, epoch, page = answer
    entries = [
        RawEntry(identifier, dict(zip(fields[::2], fields[1::2], strict=True))) for identifier, fields in page or ()
    ]
    has_page = page is not None or newest == b"0-0"
    return StreamConfirmation(
        float(time), newest.decode(), int(sequence), epoch.decode(), entries if has_page else None
    )


class StreamConfirmer:
    """Confirms streams.

    Args:
        options: the backplane's.
        streams: the streams that are read, by the names of rooms.
        heads: the heads of all streams.
        runner: runs the queries.
    """

    def __init__(
        self, options: Options, streams: Mapping[str, StreamState], heads: StreamHeads, runner: QueryRunner
    ) -> None:
        self._keys = options.keys
        self._retention = options.retention
        self._streams = streams
        self._heads = heads
        self._runner = runner
        self._unread: list[str] = []  # rooms that are not read here and may have lost data
        self.prolong_at: float = 0.0
        """Trio's time at which the life of quiet streams is prolonged."""

    def on_connection(self) -> None:
        """Let all streams be confirmed over a new connection."""
        self.prolong_at = trio.current_time()  # the last connection may have been too short for it
        for stream in self._streams.values():
            stream.verified = False
        self._unread = [*self._heads.unread_rooms()]

    @property
    def is_done(self) -> bool:
        """Whether the rooms that are not read here are confirmed."""
        return not self._unread

    async def confirm(
        self, client: Client, streams: Sequence[StreamState], *sizes: int
    ) -> dict[StreamState, StreamConfirmation]:
        """Mark streams that have lost data, and prolong their life.

        Args:
            client: asks Redis.
            streams: the streams.
            sizes: how many of the newest entries to answer, for each; none for no entries.

        Returns:
            What Redis has of each that could be read.
        """
        positions = {stream: stream.last_id for stream in streams}
        wanted = sizes or (0,) * len(streams)
        queries = [self._query(stream.room, stream, size) for stream, size in zip(streams, wanted, strict=True)]
        answers = await self._runner.run_script(client, CONFIRM, self._common, queries)
        known = {stream: _parse(answer) for stream, answer in zip(streams, answers, strict=True) if answer}
        for stream, found in known.items():
            before = positions[stream]
            if before is not None and id_key(found.newest_id) < id_key(before):
                stream.restart(found.newest_id, found.sequence, found.epoch)
        return known

    async def verify(self, client: Client, streams: Sequence[StreamState]) -> list[StreamState]:
        """Check that streams are those that were read before; return those with nothing to read."""
        positions = {stream: stream.last_id for stream in streams}
        known = await self.confirm(client, streams)
        for stream in streams:
            stream.verified = True
        return [stream for stream, found in known.items() if found.newest_id == positions[stream] == stream.last_id]

    async def confirm_next(self, client: Client) -> None:
        """Confirm some of the streams that are not read here."""
        rooms, self._unread = self._unread[:BATCH], self._unread[BATCH:]
        queries = [self._query(room) for room in rooms if room not in self._streams]
        await self._runner.run_script(client, CONFIRM, self._common, queries)

    async def prolong(self, client: Client) -> None:
        """Prolong the life of quiet streams, when it is time."""
        if trio.current_time() < self.prolong_at:
            return
        self.prolong_at = trio.current_time() + self._retention / 4
        streams = [stream for stream in self._streams.values() if stream.last_id is not None]
        for start in range(0, len(streams), BATCH):
            await self.verify(client, streams[start : start + BATCH])

    @property
    def _common(self) -> tuple[int, int]:
        return int(self._retention * 1000), _BYTES

    def _query(self, room: str, stream: StreamState | None = None, size: int = 0) -> ScriptQuery:
        use = "" if stream is None else "opened" if stream.last_id is None else "held"
        arguments = (self._keys.news(room), *self._heads.head_of(room).arguments, use, size)
        return ScriptQuery(room, "confirm", self._keys.stream(room), arguments)
