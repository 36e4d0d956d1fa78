"""Reading a part of a room's stream, page by page."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from trio_ws.rooms.redis.command import Command
from trio_ws.rooms.redis.entries import StreamEntry, parse_entry
from trio_ws.rooms.redis.ids import id_key, next_id, previous_id, range_of
from trio_ws.rooms.redis.scripts import HISTORY

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

__all__ = ["read_history"]

_BYTES: Final = 4 * 1024 * 1024
"""Of one answer: Redis and this process hold it at once."""


async def read_history(
    run: Callable[[Command], Awaitable[Any]],
    room: str,
    stream: str,
    bounds: tuple[str | float | None, str | float | None],
    limit: int,
) -> Sequence[StreamEntry]:
    """Return entries that are ours, in the stream's order.

    Args:
        run: runs a command.
        room: the room's name.
        stream: its key.
        bounds: entries after and before these, of which an id or a time may be None.
        limit: how many, at most: the first ones if there is a bound to be after, else the latest.

    Raises:
        BackplaneError: as the command raises it.
        ValueError: a text is no id.
    """
    between = range_of(*bounds)
    if between is None:
        return ()
    forward = bounds[0] is not None
    first, last = between
    found: list[StreamEntry] = []
    while len(found) < limit:
        wanted = limit - len(found)
        ends = (first, last) if forward else (last, first)
        command = Command(room, HISTORY, (stream,), ("XRANGE" if forward else "XREVRANGE", *ends, wanted, _BYTES))
        count, page = await run(command)
        found += _ours(page)
        if count < wanted or (len(page) < count and found):
            break
        newest = page[-1][0].decode()
        first, last = (next_id(newest), last) if forward else (first, previous_id(newest))
        if id_key(newest) <= (0, 1):
            break
    return found if forward else found[::-1]


def _ours(page: Sequence[Any]) -> list[StreamEntry]:
    found = []
    for identifier, fields in page:
        try:
            entry = parse_entry(identifier, dict(zip(fields[::2], fields[1::2], strict=True)), more=False)
        except (KeyError, ValueError):
            continue  # another program's
        if isinstance(entry, StreamEntry) and not entry.order:
            found.append(entry)
    return found
