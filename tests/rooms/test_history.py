"""Messages that a room keeps, read by range and time."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from support.internals import internal
from trio.testing import wait_all_tasks_blocked

from trio_ws.rooms import Backplane, MemoryBackplane, Rooms
from trio_ws.rooms.redis.command import Command
from trio_ws.rooms.redis.history import read_history
from trio_ws.rooms.redis.ids import id_key, range_of
from trio_ws.rooms.redis.opening import StreamOpener
from trio_ws.rooms.redis.queries import Query
from trio_ws.rooms.redis.scripts import Keys

from .hall import hall_with


async def test_messages_are_as_they_were_published(autojump_clock: Any) -> None:
    async with hall_with() as (hall, ann):
        room = hall.room("r", resume=3, stamp=lambda identifier, message: f"{identifier} {message!s}")
        async with room.join(ann.websocket):
            ids = [await room.publish(message) for message in ("lost", "text", b"\x00", {"a": 1})]
            found = await room.history()
            assert [(each.id, each.message) for each in found] == [
                (ids[1], "text"),
                (ids[2], b"\x00"),
                (ids[3], '{"a":1}'),
            ]
            assert all(each.time.tzinfo is UTC for each in found)
            assert await room.history(limit=1000) == found
            assert [each.message for each in await room.history(after=ids[0], limit=1)] == ["text"]
            assert [each.message for each in await room.history(after=found[-1].time)] == []
            recent = datetime.now(UTC) - timedelta(hours=1)
            assert len(await room.history(after=recent, before=found[2].time + timedelta(hours=1))) == 3
        await wait_all_tasks_blocked()
        assert await room.history() == []


@pytest.mark.parametrize(
    ("arguments", "error", "text"),
    [
        ({"limit": 0}, ValueError, "from 1 to 1000"),
        ({"limit": 1001}, ValueError, "from 1 to 1000"),
        ({"limit": True}, TypeError, "whole number"),
        ({"limit": "5"}, TypeError, "whole number"),
        ({"after": 5}, TypeError, "the id of a message or a datetime"),
        ({"before": datetime(2026, 1, 1)}, ValueError, "without a zone"),
        ({"after": "text"}, ValueError, "no id"),
    ],
)
async def test_a_range_that_cannot_be_is_refused(arguments: Any, error: type[Exception], text: str) -> None:
    rooms = Rooms()
    with pytest.raises(error, match=text):
        await rooms.room("r").history(**arguments)


async def test_an_id_of_an_earlier_run_is_before_all(autojump_clock: Any) -> None:
    async with hall_with() as (hall, ann):
        async with hall.room("r", history=3).join(ann.websocket) as room:
            await room.publish("said")
            assert [each.message for each in await room.history(after="00000000-99")] == ["said"]
            assert await room.history(before="00000000-99") == []


async def test_a_backplane_without_history_says_so() -> None:
    class Without(MemoryBackplane):
        history = Backplane.history

    with pytest.raises(NotImplementedError, match="Without has no history"):
        await Rooms(Without()).room("r").history()


class Stream:
    """What Redis would answer of a stream, with entries of another program in it."""

    def __init__(self, *entries: tuple[str, bytes | None], most: int = 100) -> None:
        self.entries = entries
        self.most = most
        self.asked: list[tuple[Any, ...]] = []

    async def run(self, command: Command) -> Any:
        kind, first, second, count, _ = command.arguments
        self.asked.append(command.arguments[:4])
        low, high = (first, second) if kind == "XRANGE" else (second, first)
        found = [
            (identifier.encode(), self._fields(data))
            for identifier, data in self.entries
            if (low == "-" or id_key(str(low)) <= id_key(identifier))
            and (high == "+" or id_key(identifier) <= id_key(str(high)))
        ]
        found = (found if kind == "XRANGE" else found[::-1])[: int(count)]
        return [len(found), found[: self.most]]

    def _fields(self, data: bytes | None) -> list[bytes]:
        if data is None:
            return [b"foreign", b"entry"]
        return [b"n", b"1", b"p", b"ab", b"e", b"1-a", b"s", b"1", b"d", b"t" + data, b"x", b""]

    async def read(self, after: str | None, before: str | None, limit: int) -> list[str]:
        found = await read_history(self.run, "r", "stream", (after, before), limit)
        return [str(entry.message.data) for entry in found]


async def test_entries_of_other_programs_are_passed_over() -> None:
    stream = Stream(("1-0", b"a"), ("2-0", None), ("2-1", None), ("3-0", b"b"), ("4-0", None))
    assert await stream.read(None, None, 2) == ["a", "b"]
    assert await stream.read("0-0", None, 2) == ["a", "b"]
    assert await stream.read("1-0", "3-0", 5) == []
    assert len(stream.asked) <= 9


async def test_a_full_page_is_all_of_the_history_that_is_read() -> None:
    stream = Stream(("1-0", b"a"), ("2-0", b"b"), ("3-0", b"c"))
    assert await stream.read(None, None, 2) == ["b", "c"]
    assert await stream.read("0-0", None, 2) == ["a", "b"]
    assert len(stream.asked) == 2


@pytest.mark.parametrize(("foreign", "read"), [(0, 0), (1, 1)])
async def test_a_full_page_is_all_that_a_room_opens_with(foreign: int, read: int) -> None:
    """Only entries of other programs in the page make it necessary to read another."""
    asked: list[int] = []

    async def run(_: object, queries: list[Query]) -> list[list[Any]]:
        asked.append(len(queries))
        return [[]]

    def ours(_: str, entries: list[Any]) -> list[Any]:
        return [*entries][foreign:]

    runner = SimpleNamespace(run=run)
    opener: Any = StreamOpener(Keys("x"), None, runner, None, ours, None)  # type: ignore[arg-type]
    page = [SimpleNamespace(identifier=f"{number}-0".encode()) for number in (3, 2, 1)]
    found = await internal(opener, "_history")(None, "r", 3, page)
    assert found == page[::-1][foreign:]
    assert len(asked) == read


async def test_an_answer_that_is_cut_short_is_not_continued() -> None:
    stream = Stream(*((f"{number}-0", b"%d" % number) for number in range(1, 8)), most=2)
    assert await stream.read(None, None, 5) == ["6", "7"]
    assert await stream.read("2-0", None, 5) == ["3", "4"]


async def test_the_edges_of_ids_are_in_no_range_twice() -> None:
    greatest = f"5-{2**64 - 1}"
    stream = Stream(("0-1", b"first"), (f"5-{2**64 - 2}", b"last"), ("6-0", b"next"))
    assert await stream.read(f"5-{2**64 - 2}", None, 5) == ["next"]
    assert await stream.read(None, "6-0", 1) == ["last"]
    assert await stream.read(None, "0-0", 1) == []
    with pytest.raises(ValueError, match="no id"):
        await stream.read(greatest, None, 1)
    assert await stream.read("0-1~anything", "6-0~more", 5) == ["last"]


@pytest.mark.parametrize("milliseconds", [1_790_000_000_123, 1_790_000_000_001, 1_790_000_000_999, 4_102_444_800_007])
def test_a_time_is_neither_after_nor_before_itself(milliseconds: int) -> None:
    """As a datetime, which has microseconds, and as the float that is made of it."""
    moment = datetime.fromtimestamp(milliseconds / 1000, UTC).timestamp()
    assert range_of(moment, None) == (f"{milliseconds + 1}-0", "+")
    assert range_of(None, moment) == ("-", f"{milliseconds - 1}-{2**64 - 1}")
    assert range_of(moment + 0.0004, moment + 0.0004) == (f"{milliseconds + 1}-0", f"{milliseconds}-{2**64 - 1}")
