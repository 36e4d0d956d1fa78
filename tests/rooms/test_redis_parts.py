"""Parts of the backplane on Redis alone, with what a server would answer."""

from __future__ import annotations

import hashlib
from typing import Any

import coredis
import pytest
import trio
from support.internals import internal
from support.redis import collects_coredis, forgives_coredis
from trio.testing import MockClock

from trio_ws.connection.prepared import PreparedMessage
from trio_ws.connection.serialization import MAX_DEPTH
from trio_ws.rooms import Presence
from trio_ws.rooms.redis.entries import News, StreamEntry
from trio_ws.rooms.redis.heads import StreamHeads
from trio_ws.rooms.redis.ids import BEGINNING
from trio_ws.rooms.redis.local_delivery import LocalDelivery
from trio_ws.rooms.redis.options import Options
from trio_ws.rooms.redis.pending import PendingPublish
from trio_ws.rooms.redis.presence import PresenceTracker
from trio_ws.rooms.redis.presence_scripts import ATTEND, REFRESH
from trio_ws.rooms.redis.scripts import MOVED
from trio_ws.rooms.redis.stream import StreamState, StreamSubscription
from trio_ws.rooms.redis.stream_reader import StreamReader

pytestmark = [forgives_coredis, collects_coredis]

MIB = 1024 * 1024
ROOMS = ["a", "b", "c", "d", "e"]


class RefusingRedis:
    """A client whose Redis refuses one script.

    Args:
        script: that one.
    """

    def __init__(self, script: str) -> None:
        self._refused = hashlib.sha1(script.encode()).hexdigest()
        self.results: tuple[Any, ...] = ()

    def pipeline(self, **_: object) -> RefusingRedis:
        return self

    async def __aenter__(self) -> RefusingRedis:
        self.results = ()
        return self

    async def __aexit__(self, *_: object) -> None: ...

    def evalsha(self, name: str, keys: object, args: object) -> None:
        assert name == self._refused
        self.results += (coredis.exceptions.ResponseError("NOPERM this user has no permissions"),)


async def test_members_of_all_rooms_are_rewritten_after_a_refusal(caplog: pytest.LogCaptureFixture) -> None:
    """A refused call says nothing of any room, so each one is written from its beginning."""
    tracker = PresenceTracker(Options(), "me")
    for room in ROOMS:
        tracker.enter(room, Presence("me-1", {}))
    await internal(tracker, "_refresh_quiet")(RefusingRedis(REFRESH), ROOMS, 0)
    refused = [record.getMessage().split(" to Redis")[0] for record in caplog.records]
    assert refused == [f"cannot write the members of room {room!r}" for room in ROOMS]
    assert internal(tracker, "_to_rewrite") == {*ROOMS}


async def test_all_rooms_are_read_after_a_refused_poll() -> None:
    """A refused call says nothing of any room, so each one may have entries to read."""
    options, streams = Options(), {}
    local = LocalDelivery(options, "me", streams)
    reader = StreamReader(options, streams, local, StreamHeads(streams), lambda _: None)
    polled = [StreamState(room, local) for room in ROOMS]
    for stream in polled:
        stream.last_id = "1-1"
    await internal(reader, "_poll_quiet")(RefusingRedis(MOVED), polled, 0)
    assert [*internal(reader, "_to_read")] == ROOMS


@pytest.mark.parametrize("lacking", ["nothing", "verification", "place", "begin of a subscription"])
def test_news_are_delivered_only_to_a_stream_that_is_ready(lacking: str) -> None:
    """Otherwise the stream is read, so that subscriptions begin at one place and no entry is passed over."""
    local = LocalDelivery(Options(), "me", {})
    stream, heard = StreamState("r", local), list[str | bytes]()
    subscription = StreamSubscription(stream, local, lambda entry: heard.append(entry.message.data), print, 0)
    stream.subscriptions.append(subscription)
    stream.begin([])
    if lacking == "verification":
        stream.verified = False
    elif lacking == "place":
        stream.last_id = None
    if lacking != "begin of a subscription":
        subscription.begin([])
    entry = StreamEntry("1-1", PreparedMessage("said"), frozenset(), sequence=1, publisher="other", number=1)
    assert stream.deliver_news(News(BEGINNING, [entry])) == (lacking == "nothing")
    assert heard == (["said"] if lacking == "nothing" else [])


class CountingRedis(RefusingRedis):
    """A client that answers writes with given numbers of members, and finds nothing else different.

    Attributes:
        writes: of each call, the number of rooms' parts that are written from the beginning.
    """

    def __init__(self, *counts: list[int]) -> None:
        super().__init__(ATTEND)
        self.counts, self.writes = list(counts), list[int]()

    def evalsha(self, name: str, keys: list[str], args: list[Any]) -> None:
        if name != self._refused:
            self.results += ([],)
            return
        self.writes.append(args.count("anew"))
        self.results += (self.counts.pop(0),)


@pytest.mark.parametrize(
    ("sizes", "counts", "writes"),
    [
        pytest.param([1, 1], [[2]], [1], id="all are there"),
        pytest.param([1, 1], [[1], [2]], [1, 1], id="one is lost"),
        pytest.param([1, 1], [[3], [2]], [1, 1], id="one is too many"),
        pytest.param([MIB, MIB], [[1], [2]], [1, 0], id="all are there after two parts"),
        pytest.param([MIB, MIB], [[1], [1], [1], [2]], [1, 0, 1, 0], id="one is lost of two parts"),
    ],
)
async def test_members_are_written_again_if_redis_has_others(
    sizes: list[int], counts: list[list[int]], writes: list[int], autojump_clock: MockClock
) -> None:
    """Only the number after the last part says what Redis has."""
    options = Options(presence_timeout=3, max_info_size=2 * MIB)
    tracker, client = PresenceTracker(options, "me"), CountingRedis(*counts)
    for number, size in enumerate(sizes):
        tracker.enter("r", Presence(f"me-{number}", {"a": "x" * size}))
    with trio.move_on_after(3.5):
        await tracker.run(client)  # type: ignore[arg-type]
    assert (client.writes, client.counts) == (writes, [])


class QuietRedis(RefusingRedis):
    """A client whose streams have nothing to read."""

    def __init__(self) -> None:
        self.results = ()

    def xread(self, streams: dict[str, str], *, count: int) -> None:
        self.results += ({},)


@pytest.mark.parametrize(("last_id", "left"), [("2-1", False), ("1-1", False), ("0-9", True)])
async def test_message_that_will_not_be_read_is_dropped(last_id: str, left: bool) -> None:
    """A stream that begins anew may be behind a message that was accepted, with nothing to read."""
    options, streams = Options(), dict[str, StreamState]()
    local = LocalDelivery(options, "me", streams)
    reader = StreamReader(options, streams, local, StreamHeads(streams), lambda _: None)
    stream = streams["r"] = StreamState("r", local)
    stream.begin([])
    pending = PendingPublish("r", PreparedMessage("said"), frozenset())
    local.on_numbered(pending, 1, 0)
    local.on_accepted(pending, "1-1")
    assert pending in local.queue
    stream.last_id = last_id
    assert not await internal(reader, "_read_entries")(QuietRedis(), [stream])
    assert (pending in local.queue) == left


def entry_of(number: int, epoch: str, before: int) -> StreamEntry:
    identifier = f"{number}-1"
    return StreamEntry(
        identifier,
        PreparedMessage(identifier),
        frozenset(),
        epoch=epoch,
        sequence=number - before,
        publisher="other",
        number=number,
    )


@pytest.mark.parametrize(
    ("read", "news", "delivered"),
    [
        pytest.param("1-a", ("1-1", "1-a", 2), ["2-1"], id="the next of the epoch"),
        pytest.param("1-a", ("1-1", "2-b", 2), None, id="the next of another epoch"),
        pytest.param("1-a", (BEGINNING, "1-a", 1, 2), ["2-1"], id="the last and the next"),
        pytest.param("1-a", (BEGINNING, "1-a", 1), [], id="the last alone"),
        pytest.param("1-a", (BEGINNING, "2-b", 1, 2), None, id="the last of another epoch"),
        pytest.param("1-a", ("2-1", "1-a", 3), None, id="a later one"),
        pytest.param("", ("1-1", "2-b", 2), ["2-1"], id="the next while the epoch is unknown"),
        pytest.param("", (BEGINNING, "2-b", 1, 2), None, id="the last while the epoch is unknown"),
    ],
)
def test_news_are_delivered_if_they_follow_what_was_read(
    read: str, news: tuple[Any, ...], delivered: list[str] | None
) -> None:
    """None stands for a stream that has to be read. Without an epoch the last entry is another program's."""
    local = LocalDelivery(Options(), "me", {})
    stream, heard, gaps = StreamState("r", local), list[str | bytes](), list[int | None]()
    subscription = StreamSubscription(stream, local, lambda entry: heard.append(entry.message.data), gaps.append, 0)
    stream.subscriptions.append(subscription)
    others = int(not read)
    stream.begin([entry_of(1, read, others)] if read else [], "1-1")
    subscription.begin([])
    before, epoch, *numbers = news
    found = stream.deliver_news(News(before, [entry_of(each, epoch, others) for each in numbers]))
    assert (found, heard, gaps) == (delivered is not None, delivered or [], [])


def test_info_is_written_only_if_others_can_read_it() -> None:
    """The level of the info itself does not count."""
    tracker = PresenceTracker(Options(), "me")

    def nested(levels: int) -> Any:
        return [nested(levels - 1)] if levels else 1

    with pytest.raises(ValueError, match="nested deeper"):
        tracker.enter("r", Presence("me-1", {"a": nested(MAX_DEPTH + 1)}))
    assert not internal(tracker, "_present")
    member = Presence("me-1", {"a": nested(MAX_DEPTH)})
    tracker.enter("r", member)
    assert tracker.parse_answer("r", [b"me-1", internal(tracker, "_present")["r"]["me-1"].encode()]) == (member,)
