"""Entries of streams, as they are encoded in Redis."""

from __future__ import annotations

import re
from types import MappingProxyType
from typing import TYPE_CHECKING, Final, NamedTuple

import attrs

from trio_ws.connection.prepared import PreparedMessage
from trio_ws.rooms.backplane import Entry
from trio_ws.rooms.redis.ids import check_epoch

if TYPE_CHECKING:
    from collections.abc import Mapping

    from trio_ws.rooms.redis.pending import PendingPublish

__all__ = ["LossMarker", "News", "StreamEntry", "encode_message", "parse_entry", "parse_news"]

_NUMBER: Final = re.compile(rb"[0-9]{1,16}")
_SEQUENCE: Final = re.compile(rb"[0-9]{1,15}")
_PUBLISHER: Final = re.compile(rb"[0-9a-f]{1,32}")
_TEXT: Final = b"t"
_BINARY: Final = b"b"
_ORDER: Final = b"o"
_NEWS: Final = b"m "
_NEWS_LINE: Final = re.compile(
    rb"m [0-9]{1,15}-[0-9a-f]{1,16} [0-9a-f]{1,32} [0-9]{1,20}-[0-9]{1,20}"
    rb"(?: [0-9]{1,20}-[0-9]{1,20} [0-9]{1,15} [0-9]{1,16} [0-9]{1,9} [0-9]{1,9})+"
)
"""The epoch, the process, and the id of the entry before; of each entry its id, sequence and number, and the sizes of
excluded members and message."""
_NOBODY: Final[frozenset[str]] = frozenset()


@attrs.frozen(eq=False)
class StreamEntry(Entry):
    """A message in a stream, or on its way there."""

    sequence: int = attrs.field(kw_only=True)
    """Its position in the stream: one more than that of the entry before it; 0 if it was not read there."""
    publisher: str = attrs.field(kw_only=True)
    """The process that published it."""
    number: int = attrs.field(kw_only=True)
    """The publisher's own number for it."""
    epoch: str = ""
    """The epoch of the stream when it was appended; empty if unknown."""


@attrs.frozen
class LossMarker:
    """An entry that marks lost entries before it, and begins another epoch."""

    id: str
    sequence: int
    epoch: str


def encode_message(message: PreparedMessage, *, order: bool = False) -> bytes:
    """Return a message as a letter for its kind, then its bytes."""
    data = message.data
    if isinstance(data, bytes):
        return _BINARY + data
    return (_ORDER if order else _TEXT) + data.encode()


def parse_entry(entry_id: bytes, fields: dict[bytes, bytes], *, more: bool) -> StreamEntry | LossMarker:
    """Parse an entry by the rule that the scripts follow too.

    Args:
        entry_id: its id.
        fields: its fields in their order.
        more: whether another entry is delivered right after it.

    Raises:
        KeyError: the entry is not ours; likewise ValueError.
    """
    first, second, third = [*fields][:3]
    if (first, second) != (b"n", b"p") or third not in (b"e", b"s") or not _SEQUENCE.fullmatch(fields[first]):
        raise ValueError("no entry of ours")
    epoch = fields[third].decode() if third == b"e" else ""
    check_epoch(epoch)
    if third == b"e" and not epoch:
        raise ValueError("no epoch of ours")
    if fields[b"p"] or b"d" in fields:
        return _parse_message(entry_id, fields, epoch, more=more)
    if not epoch:
        raise ValueError("no loss marker of ours")
    return LossMarker(entry_id.decode(), int(fields[first]), epoch)


def _parse_message(entry_id: bytes, fields: dict[bytes, bytes], epoch: str, *, more: bool) -> StreamEntry:
    if not _PUBLISHER.fullmatch(fields[b"p"]):
        raise ValueError("no process has that name")
    if not _NUMBER.fullmatch(fields[b"s"]):  # Redis counts no more digits exactly
        raise ValueError("not a number of ours")
    message, order = _decode_message(fields[b"d"])
    return StreamEntry(
        entry_id.decode(),
        message,
        frozenset(fields[b"x"].decode().split()),
        more,
        _seconds(entry_id),
        order,
        sequence=int(fields[b"n"]),
        publisher=fields[b"p"].decode(),
        number=int(fields[b"s"]),
        epoch=epoch,
    )


def _seconds(entry_id: bytes) -> float:
    return int(entry_id.partition(b"-")[0]) / 1000


def _decode_message(data: bytes) -> tuple[PreparedMessage, bool]:
    """Return a message, and whether it is an order."""
    kind, body = data[:1], data[1:]
    if kind == _TEXT:
        return PreparedMessage(body.decode()), False
    if kind not in (_BINARY, _ORDER):
        raise ValueError("no kind of message has that letter")
    return PreparedMessage(body if kind == _BINARY else body.decode()), kind == _ORDER


class News(NamedTuple):
    """Entries of a stream that follow each other."""

    before: str
    """The id of the entry before them, whoever wrote it."""
    entries: list[StreamEntry]


def parse_news(data: bytes, process: str = "", own: Mapping[int, PendingPublish] = MappingProxyType({})) -> News | None:
    """Parse the entries in a notification; return None if it has none.

    Args:
        data: the notification.
        process: names this process among all.
        own: messages of this process in the room by their numbers, which are encoded already.

    Raises:
        ValueError: it is not ours.
    """
    if not data.startswith(_NEWS):
        return None
    line, _, rest = data.partition(b"\n")
    if not _NEWS_LINE.fullmatch(line):
        raise ValueError("no notification of ours")
    _, epoch, publisher, before, *words = line.decode().split(" ")
    entries: list[StreamEntry] = []
    start = 0
    left = len(words) // 5
    for entry_id, sequence, number, exclude_size, size in zip(*[iter(words)] * 5, strict=True):
        left -= 1
        middle = start + int(exclude_size)
        end = middle + int(size)
        pending = own.get(int(number)) if publisher == process else None
        message, order = (pending.message, pending.order) if pending else _decode_message(rest[middle:end])
        entries.append(
            StreamEntry(
                entry_id,
                message,
                frozenset(rest[start:middle].decode().split()) if middle > start else _NOBODY,
                left > 0,
                int(entry_id.partition("-")[0]) / 1000,
                order,
                sequence=int(sequence),
                publisher=publisher,
                number=int(number),
                epoch=epoch,
            )
        )
        start = end
    if start != len(rest):
        raise ValueError("no notification of ours")
    return News(before, entries)
