"""What watches one socket, and the inbox whose reader waits for that socket itself: who reads when, and who is told.

How bytes are read and written, and how the end is heard of, is in test_poller.
"""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Callable
from pathlib import Path

import pytest
import trio
from support.handlers import echo
from support.machine import descriptors
from support.receivers import Recorder
from support.turns import Turns

from trio_ws import open_websocket
from trio_ws.connection.inline import InlineInbox
from trio_ws.server.serve import serve_websocket
from trio_ws.transport import single as module
from trio_ws.transport.listeners import bind_tcp
from trio_ws.transport.poller import Poller
from trio_ws.transport.selector import PEER_CLOSED, READABLE
from trio_ws.transport.single import MISSES, SingleSocketPoller
from trio_ws.transport.sockets import SocketTransport

pytestmark = pytest.mark.skipif(not Poller.available(), reason="this platform has no poller")


class Line(Recorder):
    """A transport, its inbox, and the peer's socket: every read puts one message into the inbox."""

    def __init__(self, nursery: trio.Nursery) -> None:
        super().__init__()
        ours, theirs = socket.socketpair()
        self.sock = ours
        self.solo = SingleSocketPoller()
        self.inbox = InlineInbox(10, 1000, self.solo)
        self.transport = SocketTransport(self.solo, ours, 1000)
        self.transport.receiver = self
        self.peer = theirs
        self.readers: list[str] = []
        """The names of the tasks that read."""
        nursery.start_soon(self.solo.run)
        self.transport.start(nursery)

    def data_received(self, data: memoryview, now: float) -> None:
        self.readers.append(trio.lowlevel.current_task().name)
        super().data_received(data, now)
        self.inbox.put(bytes(data), len(data))
        self.inbox.look()

    def network_ended(self) -> None:
        super().network_ended()
        self.inbox.wake()

    async def receive(self) -> bytes:
        """Return the next message; b"" if it was woken without one."""
        if not self.inbox.items:
            await self.inbox.wait()
        return self.inbox.take() if self.inbox.items else b""

    async def given(self, data: bytes) -> bytes:
        """Let the peer send `data`, and receive it."""
        self.peer.send(data)
        with trio.fail_after(5):
            return await self.receive()


@pytest.fixture
async def line(nursery):
    line = Line(nursery)
    await settled()  # its task watches
    yield line
    line.transport.close()
    line.peer.close()


@pytest.fixture
def me() -> Callable[[], str]:
    return lambda: trio.lowlevel.current_task().name


async def settled() -> None:
    """Wait until all that can run has run."""
    for _ in range(5):
        await trio.testing.wait_all_tasks_blocked()


def watcher(line: Line) -> str:
    """The name of the task that watches the line."""
    return f"{type(line.solo).__module__}.{type(line.solo).run.__qualname__}"


async def test_arriving_data_is_received_in_the_turn_it_is_reported(line, nursery):
    """The one who waits reads for itself: there is no turn between the reading task's and its own."""
    await settled()
    turns, seen = Turns(), []
    line.on_data = lambda: seen.append(turns.count)
    started = trio.Event()

    async def receive() -> None:
        started.set()
        for _ in range(MISSES + 3):  # the task that watches was there first; it gives way to who waits again and again
            await line.receive()
            seen.append(turns.count)

    nursery.start_soon(receive)
    await started.wait()
    trio.lowlevel.add_instrument(turns)
    for number in range(MISSES + 3):
        await settled()
        line.peer.send(b"data")
        await line.until(lambda number=number: len(line.readers) > number)
        await settled()
    trio.lowlevel.remove_instrument(turns)
    *_, read, received = seen
    assert received == read
    assert line.readers[0] == watcher(line)
    assert line.readers[-1].endswith("receive")


async def test_socket_is_watched_while_the_receiving_task_is_busy(line, me):
    """A ping is answered, say, though nobody is in `receive`."""
    for message in (b"1", b"2", b"3"):
        assert await line.given(message) == message
    await settled()
    line.peer.send(b"4")
    await line.until(lambda: line.data == b"1234")
    assert await line.receive() == b"4"
    assert line.readers == [watcher(line), me(), me(), watcher(line)]


async def test_one_who_is_late_is_not_waited_for_each_time(line, me):
    """After one was late, the watching task reads a number of messages without asking; then it tries again."""
    for _ in range(2 * MISSES + 5):
        assert await line.given(b"data") == b"data"
        await settled()  # late
    assert set(line.readers) == {watcher(line)}
    line.readers.clear()
    for _ in range(MISSES + 2):
        assert await line.given(b"data") == b"data"
    assert line.readers[-1] == me()


async def test_cancelled_receiver_takes_nothing_and_socket_is_watched(line):
    """One who is cancelled takes nothing and the socket is watched."""
    with trio.move_on_after(0):
        await line.receive()
    line.peer.send(b"data")
    await line.until(lambda: line.data == b"data")
    assert line.readers == [watcher(line)]
    assert await line.receive() == b"data"


async def test_receiver_cancelled_during_watcher_read_takes_nothing(line):
    """One who is cancelled while the watching task reads takes nothing."""
    await settled()
    with trio.move_on_after(0):
        await line.receive()
    assert line.inbox.reader is None
    assert await line.given(b"data") == b"data"


async def test_waiter_is_woken_without_data_and_another_may_follow(line, nursery):
    """One who waits can be woken without data and another may come at once."""
    results = []

    async def receive() -> None:
        results.append(await line.receive())

    nursery.start_soon(receive)
    await settled()
    assert line.inbox.wake()
    assert not line.inbox.wake()
    nursery.start_soon(receive)
    await settled()
    assert results == [b""]
    with pytest.raises(trio.BusyResourceError):
        line.inbox.wait()
    line.peer.send(b"data")
    await line.until(lambda: line.data)
    await settled()
    assert results == [b"", b"data"]


async def test_woken_waiter_takes_reported_data_and_the_next_waits(line, nursery):
    """The kernel has reported the data, then a deadline wakes the one who waits, and another one comes first."""
    readers: list[trio.lowlevel.Task] = []
    results: list[bytes] = []

    async def receive() -> None:
        readers.append(trio.lowlevel.current_task())
        for message in (b"1", b"2"):  # now it is this task that waits for the socket
            assert await line.given(message) == message
        while not line.inbox.items:
            await line.inbox.wait()
        results.append(line.inbox.take())

    class Between(trio.abc.Instrument):
        """Acts between the report and the step of the one it is for."""

        def before_task_step(self, task: trio.lowlevel.Task) -> None:
            if task in readers:
                trio.lowlevel.remove_instrument(self)
                assert line.inbox.wake()
                line.inbox.reader = another

    nursery.start_soon(receive)
    await settled()
    line.peer.send(b"more")
    another = trio.lowlevel.current_task()
    trio.lowlevel.add_instrument(Between())
    with trio.fail_after(5):
        await trio.lowlevel.wait_task_rescheduled(lambda _: trio.lowlevel.Abort.SUCCEEDED)
    await settled()
    assert results == [b"more"]
    assert line.readers[-1].endswith("receive")


async def test_closed_while_reading_is_paused_it_has_no_descriptor(line):
    """What looks out for the peer's end meanwhile is closed with the socket."""
    reading = descriptors()
    line.solo.change(line.sock.fileno(), PEER_CLOSED)
    await settled()
    assert descriptors() == reading + 1
    line.transport.close()
    await settled()
    assert descriptors() == reading - 1


async def test_a_second_one_who_waits_is_refused(line, nursery):
    nursery.start_soon(line.receive)
    await settled()
    with pytest.raises(trio.BusyResourceError, match="another task is receiving"):
        await line.receive()
    line.peer.send(b"data")
    await line.until(lambda: line.data)


async def test_ctrl_c_does_not_strike_where_what_arrived_would_be_lost(line, me):
    """It strikes the one who receives all the same, as soon as that is done."""
    protected = []
    line.on_data = lambda: protected.append(trio.lowlevel.currently_ki_protected())
    for message in (b"1", b"2", b"3"):
        assert await line.given(message) == message
    assert protected == [True] * 3
    assert set(line.readers) == {watcher(line), me()}
    assert not trio.lowlevel.currently_ki_protected()


async def test_one_who_waits_hears_of_the_end(line, nursery):
    assert await line.given(b"data") == b"data"
    nursery.start_soon(line.receive)
    await settled()
    line.peer.close()
    await line.until(lambda: line.ended)
    assert line.inbox.reader is None


async def test_one_who_waits_while_the_connection_is_closed_is_woken(line, nursery):
    with trio.fail_after(5):
        async with trio.open_nursery() as waiting:
            waiting.start_soon(line.receive)
            await settled()
            line.transport.close()
            line.inbox.wake()


async def test_waiter_is_suspended_when_data_is_no_longer_wanted(line, nursery):
    """TLS may end the reading while the socket is well; and a connection's own work may be too much for a turn."""
    nursery.start_soon(line.receive)
    await settled()
    line.solo.change(line.sock.fileno(), PEER_CLOSED)
    await settled()
    line.peer.send(b"data")
    await settled()
    assert line.readers == []
    line.solo.change(line.sock.fileno(), READABLE | PEER_CLOSED)
    await line.until(lambda: line.data == b"data")


async def test_a_pause_that_is_over_within_a_turn_costs_no_descriptor(line, monkeypatch):
    monkeypatch.setattr(module, "make_selector", None)  # nobody may ask for one
    await settled()
    line.solo.change(line.sock.fileno(), PEER_CLOSED)
    await trio.lowlevel.checkpoint()
    line.solo.change(line.sock.fileno(), READABLE | PEER_CLOSED)
    line.peer.send(b"data")
    await line.until(lambda: line.data == b"data")


async def test_peer_end_is_seen_at_next_read_without_a_descriptor(line, monkeypatch):
    """Without a descriptor for it the peer's end is seen when data is wanted again."""

    def exhausted() -> None:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    monkeypatch.setattr(module, "make_selector", exhausted)
    line.wanted = False
    line.peer.send(b"unread")
    await line.until(lambda: line.asked)
    line.peer.close()
    await settled()
    assert (line.departed, line.ended) == (0, 0)
    line.wanted = True
    line.transport.resume()
    await line.until(lambda: line.ended)
    assert line.data == b"unread"


@pytest.mark.parametrize("call", ["wait_readable", "wait_writable"])
@pytest.mark.parametrize("paused", [False, True])
async def test_kernel_watch_limit_ends_only_the_connection(line, monkeypatch, caplog, call, paused):
    """A kernel that can watch no more ends the connection and nothing else."""

    def refuse(fd: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    await settled()
    monkeypatch.setattr(trio.lowlevel, call, refuse)
    if call == "wait_writable":
        line.transport.write(bytes(1_000_000))
    elif paused:
        line.solo.change(line.sock.fileno(), PEER_CLOSED)
    else:
        line.solo.interrupt()
    await line.until(lambda: line.ended)
    (record,) = caplog.records
    assert record.exc_info[0] is OSError
    assert line.sock.fileno() == -1


# --- a client ---


def open_descriptors() -> int:
    return len(list(Path("/dev/fd").iterdir()))


async def test_a_client_that_reads_has_one_descriptor(nursery):
    (sock,) = await bind_tcp("127.0.0.1", 0)
    port = sock.getsockname()[1]

    await nursery.start(lambda task_status: serve_websocket(echo, listeners=[sock], task_status=task_status))
    counts = []
    async with open_websocket(f"ws://127.0.0.1:{port}/") as first:
        await first.send("one")
        assert await first.receive() == "one"
        await settled()
        counts.append(open_descriptors())
        async with open_websocket(f"ws://127.0.0.1:{port}/") as second:
            await second.send("one")
            assert await second.receive() == "one"
            await settled()
            counts.append(open_descriptors())
    before, after = counts
    assert after - before == 2, "one is the client's, one the server's"
