"""Connection over a transport that only notes what it is told: what real networks rarely do, in any order."""

from __future__ import annotations

import pytest
import trio
from support.internals import internal
from support.networks import binary, close, fragment, ping, text
from support.transports import FakeTransport

from trio_ws import Limits, Timeouts, WebSocketDisconnect
from trio_ws.connection.closing import LINGER
from trio_ws.connection.connection import Connection
from trio_ws.connection.inbox import YIELD_EVERY
from trio_ws.connection.writer import CONTROL_RESERVE
from trio_ws.protocol.endpoint import PATIENCE
from trio_ws.runtime.timers import Timers

TIMES = Timeouts(ping_interval=None, close_timeout=5.0)


@pytest.fixture
async def timers(nursery):
    timers = Timers()
    nursery.start_soon(timers.run)
    return timers


@pytest.fixture
async def make(timers):
    def make(**limits: int) -> tuple[Connection, FakeTransport]:
        transport = FakeTransport(Limits(**limits).outbox_bytes)
        connection = Connection(transport, client=False, limits=Limits(**limits), timeouts=TIMES, timers=timers)
        return connection, transport

    return make


def feed(connection: Connection, *frames: bytes) -> None:
    connection.reader.data_received(memoryview(b"".join(frames)), trio.current_time())


async def test_data_kept_for_lack_of_room_is_received_after_the_end(make, autojump_clock):
    """What was kept for want of room is received after the network has ended."""
    connection, transport = make(inbox_messages=1)
    feed(connection, text("a"), text("b"), text("c"))
    assert not connection.reader.wants_data()
    connection.reader.network_ended()
    assert connection.closing.open
    assert [await connection.reader.receive() for _ in range(3)] == ["a", "b", "c"]
    assert transport.closed
    with pytest.raises(WebSocketDisconnect, match="1006"):
        await connection.reader.receive()


async def test_a_close_frame_behind_what_was_kept_says_how_it_ended(make, autojump_clock):
    connection, transport = make(inbox_messages=1)
    feed(connection, text("a"), text("b"), close(4001, "over"))
    connection.reader.network_ended()
    assert [await connection.reader.receive() for _ in range(2)] == ["a", "b"]
    with pytest.raises(WebSocketDisconnect, match="4001: over"):
        await connection.reader.receive()
    transport.take_all()
    assert transport.closed


async def test_read_during_inbox_overflow_is_delivered_after_kept_data(make, autojump_clock):
    """A read that was under way when the inbox filled up comes after what is kept."""
    connection, _ = make(inbox_messages=1)
    feed(connection, text("a"), text("b"))
    assert await connection.reader.receive() == "a"
    feed(connection, text("c"), close(4001, "over"))
    assert [await connection.reader.receive() for _ in range(2)] == ["b", "c"]
    with pytest.raises(WebSocketDisconnect, match="4001: over"):
        await connection.reader.receive()


async def test_reading_goes_on_when_the_inbox_is_empty_and_not_before(make, autojump_clock):
    connection, transport = make(inbox_messages=2)
    feed(connection, text("a"), text("b"))
    assert not connection.reader.wants_data()
    await connection.reader.receive()
    assert transport.resumed == 0
    await connection.reader.receive()
    assert transport.resumed == 1
    assert connection.reader.wants_data()


async def test_small_messages_kept_for_lack_of_room_count_once(make, autojump_clock):
    """A task's share of the loop is 64 messages, wherever they waited; what is large counts by its bytes."""
    connection, _ = make(inbox_messages=16)
    inbox = connection.reader.inbox
    feed(connection, *[text("x" * 100)] * (YIELD_EVERY - 1))
    for count in range(1, YIELD_EVERY):
        await connection.reader.receive()
        assert inbox.streak == count


async def test_large_messages_kept_for_lack_of_room_count_by_bytes(make, autojump_clock):
    """The task has used up its share when it has received 10 messages of 10 KiB."""
    connection, _ = make(inbox_messages=1)
    feed(connection, *[text("x" * 10240)] * 10)
    streaks = []
    for _ in range(10):
        await connection.reader.receive()
        streaks.append(connection.reader.inbox.streak)
    assert streaks[:5] == [10, 20, 30, 40, 50]
    assert max(streaks) < YIELD_EVERY + 10


async def test_a_receive_that_waits_begins_the_share_anew(make, nursery):
    connection, _ = make()
    feed(connection, *[text("x")] * 10)
    for _ in range(10):
        await connection.reader.receive()
    assert connection.reader.inbox.streak == 10
    nursery.start_soon(connection.reader.receive)
    await trio.testing.wait_all_tasks_blocked()
    assert connection.reader.inbox.streak == 0
    feed(connection, text("x"))


@pytest.mark.parametrize("bound", [{"inbox_messages": 2}, {"inbox_bytes": 2}], ids=str)
@pytest.mark.parametrize("whole", [True, False], ids=["whole", "fragments"])
@pytest.mark.parametrize("reads", [1, 3])
async def test_a_full_inbox_holds_back_all_that_follows(make, autojump_clock, bound, whole, reads):
    """Neither one more message nor a close frame passes messages that fill the inbox exactly."""
    connection, _ = make(**bound)
    first = text("a") if whole else fragment(b"a", first=True) + fragment(b"", final=True)
    frames = [first * 2, text("c"), close(4001, "over")]
    for read in frames if reads == 3 else [b"".join(frames)]:
        feed(connection, read)
        assert not connection.reader.wants_data()
    assert len(connection.inbox.items) == 2
    assert connection.closing.open
    assert [await connection.reader.receive() for _ in range(3)] == [*(["a", "a"] if whole else [b"a", b"a"]), "c"]
    with pytest.raises(WebSocketDisconnect, match="4001: over"):
        await connection.reader.receive()


@pytest.mark.parametrize("send", ["send", "ping", "pong", "send_stream"])
async def test_sending_after_the_network_ended_raises_the_end(make, autojump_clock, send):
    """The peer has ended behind messages that are not received yet: nothing is sent to it, and they are not lost."""
    connection, transport = make(inbox_messages=1)
    feed(connection, text("a"), text("b"), close(4001, "over"))
    connection.reader.network_ended()

    async def chunks():
        yield "chunk"

    writer = connection.writer
    calls = {
        "send": lambda: writer.send("x"),
        "ping": lambda: writer.ping(None, wait=False),
        "pong": lambda: writer.pong(b""),
        "send_stream": lambda: writer.send_stream(chunks()),
    }
    with pytest.raises(WebSocketDisconnect):
        await calls[send]()
    assert not transport.outbox.size
    assert writer.sent == 0
    assert [await connection.reader.receive() for _ in range(2)] == ["a", "b"]


async def test_message_taken_by_another_task_leaves_reader_waiting(make, autojump_clock):
    """The reader that a message woke finds it gone, and waits for the next one."""
    connection, _ = make()
    got: list[str | bytes] = []

    async def read() -> None:
        got.append(await connection.reader.receive())

    async with trio.open_nursery() as nursery:
        nursery.start_soon(read)
        await trio.testing.wait_all_tasks_blocked()
        feed(connection, text("stolen"))
        assert await connection.reader.receive() == "stolen"
        await trio.testing.wait_all_tasks_blocked()
        assert got == []
        feed(connection, text("its own"))
    assert got == ["its own"]


@pytest.mark.parametrize("send", ["ping", "pong", "answer"])
async def test_control_frame_that_fills_the_outbox_starts_its_timeout(make, autojump_clock, send):
    """A peer that takes nothing for `send_timeout` is left, whatever filled the outbox."""
    connection, transport = make(outbox_bytes=100)
    transport.write(bytes(99))
    if send == "ping":
        await connection.writer.ping(None, wait=False)
    elif send == "pong":
        await connection.writer.pong(b"")
    else:
        feed(connection, ping(b""))
    await trio.sleep(2 * TIMES.send_timeout)
    assert transport.closed
    assert connection.closing.close_info.code == 1013


async def test_keepalive_ping_does_not_grow_a_blocked_outbox(make, autojump_clock):
    """A keepalive ping does not add to an outbox that nobody empties."""
    connection, transport = make(outbox_bytes=100)
    connection.writer.send_keepalive()
    assert transport.take_all()
    transport.write(bytes(100 + CONTROL_RESERVE))
    connection.writer.send_keepalive()
    assert transport.outbox.size == 100 + CONTROL_RESERVE


async def test_latest_of_many_pings_is_answered_once_there_is_room(make, autojump_clock):
    """The latest of many pings is answered when there is room again."""
    connection, transport = make(outbox_bytes=100)
    transport.write(bytes(100 + CONTROL_RESERVE))
    feed(connection, *(ping(b"%d" % number) for number in range(200)))
    assert transport.outbox.size == 100 + CONTROL_RESERVE
    assert transport.take_all().endswith(bytes(100))
    assert transport.take_all() == b"\x8a\x03199"


async def test_pings_after_our_close_frame_are_ignored(make, autojump_clock):
    """Pings after our close frame are not answered and grow nothing."""
    connection, transport = make()
    connection.closing.begin_close(1000, "")
    size = transport.outbox.size
    feed(connection, *[ping(b"x")] * 1000)
    assert transport.outbox.size == size


async def turn() -> None:
    """Let everyone run, and the deadlines that are due be called."""
    await trio.sleep(0.001)


async def test_ping_flood_in_one_read_is_answered_over_several_turns(make, autojump_clock):
    """What one peer sends costs the others some milliseconds a turn, not a read full of it."""
    connection, transport = make(outbox_bytes=1 << 20)
    feed(connection, *[ping(b"")] * (3 * PATIENCE), text("after"))
    pong = b"\x8a\x00"
    assert len(transport.take_all()) <= (PATIENCE + 64) * len(pong)
    assert not connection.reader.wants_data()
    assert await connection.reader.receive() == "after"
    assert connection.reader.wants_data()


async def test_fragment_flood_in_one_read_is_spread_over_turns(make, autojump_clock):
    """A flood of fragments in one read is gathered over several turns."""
    connection, _ = make()
    feed(connection, fragment(b"a", first=True), *[fragment(b"b")] * (3 * PATIENCE), fragment(b"c", final=True))
    assert not connection.reader.wants_data()
    assert await connection.reader.receive() == b"a" + b"b" * 3 * PATIENCE + b"c"
    assert connection.reader.wants_data()


async def test_flood_after_our_close_is_dropped_over_several_turns(make, autojump_clock):
    """A flood after our close frame is dropped over several turns up to the answer."""
    connection, transport = make()
    connection.closing.begin_close(1000, "")
    transport.take_all()
    feed(connection, *[ping(b"x")] * (3 * PATIENCE), close(1000, ""))
    assert not connection.reader.wants_data()
    assert not connection.closing.gone
    for _ in range(4):
        await turn()
    assert connection.closing.gone


async def test_end_of_network_behind_a_flood_is_processed_after_it(make, autojump_clock):
    """The end of the network behind a flood is the end behind the flood."""
    connection, _ = make()
    feed(connection, *[ping(b"x")] * (3 * PATIENCE), close(4001, "over"))
    connection.reader.network_ended()
    with pytest.raises(WebSocketDisconnect, match="4001: over"):
        await connection.reader.receive()


async def test_flush_waits_until_all_is_out_at_most_close_timeout(make, autojump_clock):
    connection, transport = make()
    transport.write(b"stuck")
    start = trio.current_time()
    await connection.closing.flush()
    assert trio.current_time() - start == TIMES.close_timeout
    async with trio.open_nursery() as nursery:
        nursery.start_soon(connection.closing.flush)
        await trio.testing.wait_all_tasks_blocked()
        transport.take_all()
    assert trio.current_time() - start == TIMES.close_timeout


async def test_a_connection_that_has_ended_leaves_no_deadline(make, timers, autojump_clock):
    connection, transport = make(outbox_bytes=10)
    await connection.writer.send(bytes(100))
    feed(connection, ping(b""))
    connection.reader.network_ended()
    assert transport.closed
    assert not any(timer.armed for timer in internal(timers, "_heap"))


async def test_one_read_may_hold_many_messages_and_control_frames(make, autojump_clock):
    """However few places the inbox has, everything comes out once and in order."""
    connection, transport = make(inbox_messages=3, inbox_bytes=40)
    frames = [frame for number in range(200) for frame in (binary(b"%03d" % number), ping(b""), ping(b"%d" % number))]
    feed(connection, *frames)
    assert [await connection.reader.receive() for _ in range(200)] == [b"%03d" % number for number in range(200)]
    assert transport.take_all().count(b"\x8a") == 400


@pytest.mark.parametrize(("size", "lingers"), [(100, False), (100_000, True)])
async def test_peer_behind_at_close_is_lingered_for(make, autojump_clock, size, lingers):
    """Its kernel may hold what it has yet to read, and a reset, the answer to a late pong, would take that away."""
    connection, transport = make()
    await connection.writer.send(bytes(size))
    feed(connection, close(1000))
    transport.take_all()
    assert transport.closed is not lingers
    assert transport.finished is lingers
    await trio.sleep(LINGER + 0.1)
    assert transport.closed
