"""Entries of streams, as they are encoded in Redis."""

from __future__ import annotations

import re
from typing import Final

import attrs

from trio_ws.connection.prepared import PreparedMessage
from trio_ws.rooms.backplane import Entry
from trio_ws.rooms.redis.ids import check_epoch

__all__ = ["LossMarker", "StreamEntry", "encode_message", "parse_entry", "parse_news"]

_NUMBER: Final = re.compile(rb"[0-9]{1,16}")
_SEQUENCE: Final = re.compile(rb"[0-9]{1,15}")
_PUBLISHER: Final = re.compile(rb"[0-9a-f]{1,32}")
_TEXT: Final = b"t"
_BINARY: Final = b"b"
_ORDER: Final = b"o"
_ID: Final = re.compile(rb"[0-9]{1,20}-[0-9]{1,20}")
_NEWS: Final = b"m"
_WORDS: Final = 5
"""Of each entry, in the first line of a notification."""
_SIZE: Final = re.compile(rb"[0-9]{1,9}")


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
    kind, data = fields[b"d"][:1], fields[b"d"][1:]
    if kind not in (_TEXT, _BINARY, _ORDER):
        raise ValueError("no kind of message has that letter")
    message = PreparedMessage(data if kind == _BINARY else data.decode())
    exclude = frozenset(fields[b"x"].decode().split())
    if not _PUBLISHER.fullmatch(fields[b"p"]):
        raise ValueError("no process has that name")
    if not _NUMBER.fullmatch(fields[b"s"]):  # Redis counts no more digits exactly
        raise ValueError("not a number of ours")
    return StreamEntry(
        entry_id.decode(),
        message,
        exclude,
        more,
        int(entry_id.partition(b"-")[0]) / 1000,
        sequence=int(fields[b"n"]),
        publisher=fields[b"p"].decode(),
        number=int(fields[b"s"]),
        epoch=epoch,
        order=kind == _ORDER,
    )


def parse_news(data: bytes) -> list[StreamEntry]:
    """Parse the entries in a notification; the list is empty if it has none.

    Raises:
        KeyError: it is not ours; likewise ValueError.
    """
    line, _, rest = data.partition(b"\n")
    kind, *words = line.split(b" ")
    if kind != _NEWS:
        return []
    epoch, publisher, *words = words
    check_epoch(epoch.decode())
    if not epoch or not words or len(words) % _WORDS:
        raise ValueError("no notification of ours")
    entries = []
    start = 0
    for at in range(0, len(words), _WORDS):
        entry_id, sequence, number, *sizes = words[at : at + _WORDS]
        if not (_ID.fullmatch(entry_id) and _SEQUENCE.fullmatch(sequence) and all(map(_SIZE.fullmatch, sizes))):
            raise ValueError("no notification of ours")
        middle = start + int(sizes[0])
        end = middle + int(sizes[1])
        fields = {b"n": sequence, b"p": publisher, b"s": number, b"d": rest[middle:end], b"x": rest[start:middle]}
        entries.append(_parse_message(entry_id, fields, epoch.decode(), more=at + _WORDS < len(words)))
        start = end
    if start != len(rest):
        raise ValueError("no notification of ours")
    return entries
