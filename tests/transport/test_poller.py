"""The poller, and its like for one socket, on real sockets: what is read, what is written, how the end is heard of."""

from __future__ import annotations

import os
import socket
import struct
from contextlib import asynccontextmanager

import pytest
import trio
from support.receivers import Recorder

from trio_ws.transport import poller as poller_module
from trio_ws.transport import selector
from trio_ws.transport import single as solo_module
from trio_ws.transport.poller import Poller
from trio_ws.transport.single import SingleSocketPoller
from trio_ws.transport.sockets import BUFFER_BYTES, CORK_BYTES, SocketTransport
from trio_ws.transport.watching import SocketPoller

pytestmark = pytest.mark.skipif(not Poller.available(), reason="this platform has no poller")

HIGH_WATER = 64 * 1024


class CountingSocket(socket.socket):
    """Counts system calls that send."""

    sends = 0

    def send(self, *args):  # type: ignore[override]
        self.sends += 1
        return super().send(*args)


class Ends:
    """A transport on a poller, its socket, its receiver, and the peer's socket."""

    def __init__(self, poller: SocketPoller, ours: socket.socket, theirs: socket.socket, nursery: trio.Nursery) -> None:
        self.sock = CountingSocket(fileno=ours.detach())
        self.transport = SocketTransport(poller, self.sock, HIGH_WATER)
        self.transport.receiver = self.receiver = Recorder()
        self.peer = trio.SocketStream(trio.socket.from_stdlib_socket(theirs))
        self.transport.start(nursery)

    async def reset(self) -> None:
        self.peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        await self.peer.aclose()

    async def receive(self, size: int) -> bytes:
        data = b""
        with trio.fail_after(5):
            while len(data) < size:
                data += await self.peer.receive_some(size - len(data))
        return data

    async def read_to_the_end(self) -> None:
        self.receiver.wanted = True
        self.transport.resume()
        await self.receiver.until(lambda: self.receiver.ended)


@pytest.fixture(params=[Poller, SingleSocketPoller])
def kind(request):
    """What watches the sockets: one poller all of them, or each one of its own."""
    return request.param


def tcp_pair() -> tuple[socket.socket, socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        theirs = socket.socket()
        theirs.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16 * 1024)
        theirs.connect(listener.getsockname())
        ours, _ = listener.accept()
    ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 16 * 1024)
    return ours, theirs


@pytest.fixture
async def make(kind, nursery):
    """Make more ends; all sockets are closed at the end."""
    made: list[Ends] = []
    pollers: list[Poller | SingleSocketPoller] = []

    def make_ends(pair: tuple[socket.socket, socket.socket] | None = None) -> Ends:
        if kind is SingleSocketPoller or not pollers:
            pollers.append(kind())
            nursery.start_soon(pollers[-1].run)
        made.append(Ends(pollers[-1], *(pair or tcp_pair()), nursery))
        return made[-1]

    yield make_ends
    for ends in made:
        ends.transport.close()
        await trio.aclose_forcefully(ends.peer)


@pytest.fixture
async def ends(make):
    made = make()
    await trio.testing.wait_all_tasks_blocked()  # its poller is at work
    return made


async def turns(count: int = 10) -> None:
    """Let everything that can run at once run."""
    for _ in range(count):
        await trio.testing.wait_all_tasks_blocked()


@asynccontextmanager
async def reports_counted(monkeypatch: pytest.MonkeyPatch):
    """Count how often something is reported of a socket meanwhile."""
    count = [0]
    ready = SocketTransport.ready

    def counted(self: SocketTransport, events: int, now: float) -> None:
        count[0] += 1
        ready(self, events, now)

    with monkeypatch.context() as patch:
        patch.setattr(SocketTransport, "ready", counted)
        yield count


async def stalled(monkeypatch: pytest.MonkeyPatch) -> None:
    """Wait until the kernel takes no more for a peer that does not read: a little later on a busy machine."""
    while True:
        async with reports_counted(monkeypatch) as count:
            await trio.sleep(0.02)
            await turns()
        if count == [0]:
            return


# --- reading ---


async def test_arriving_data_is_given_to_receiver_in_shared_buffer(ends, make):
    """What arrives is given to the receiver in one shared buffer."""
    seen = []

    class Looking(Recorder):
        def data_received(self, data: memoryview, now: float) -> None:
            seen.append(data.obj)
            super().data_received(data, now)

    other = make()
    for each in (ends, other):
        each.transport.receiver = each.receiver = Looking()
        await each.peer.send_all(b"hello")
        await each.receiver.until(lambda each=each: each.receiver.data == b"hello")
    assert seen[0] is seen[1]


async def test_one_turn_reads_at_most_one_buffer_of_each_socket(ends, nursery):
    sizes = []
    ends.receiver.on_data = lambda: sizes.append(len(ends.receiver.data))
    nursery.start_soon(ends.peer.send_all, bytes(3 * BUFFER_BYTES))
    await ends.receiver.until(lambda: len(ends.receiver.data) == 3 * BUFFER_BYTES)
    assert max(after - before for before, after in zip([0, *sizes], sizes, strict=False)) <= BUFFER_BYTES


async def test_unwanted_data_stays_in_kernel_and_poller_sleeps(ends, monkeypatch):
    """Data that is not wanted stays with the kernel and does not keep the poller awake."""
    ends.receiver.wanted = False
    await ends.peer.send_all(b"first")
    await ends.receiver.until(lambda: ends.receiver.asked)
    async with reports_counted(monkeypatch) as count:
        await ends.peer.send_all(b" second")
        await turns()
    assert count == [0]
    assert ends.receiver.data == b""
    ends.receiver.wanted = True
    ends.transport.resume()
    await ends.receiver.until(lambda: ends.receiver.data == b"first second")
    assert (ends.receiver.departed, ends.receiver.ended) == (0, 0)


async def test_resume_of_one_that_reads_changes_nothing(ends):
    ends.transport.resume()
    await ends.peer.send_all(b"data")
    await ends.receiver.until(lambda: ends.receiver.data == b"data")


async def test_the_end_of_the_stream_is_told_once(ends, monkeypatch):
    await ends.peer.send_all(b"last words")
    await ends.peer.aclose()
    await ends.receiver.until(lambda: ends.receiver.ended)
    async with reports_counted(monkeypatch) as count:
        await turns()
    assert (ends.receiver.ended, ends.receiver.data, ends.receiver.departed) == (1, b"last words", 0)
    assert count == [0]


async def test_a_reset_is_the_end_too(ends, monkeypatch):
    await ends.reset()
    await ends.receiver.until(lambda: ends.receiver.ended)
    async with reports_counted(monkeypatch) as count:
        await turns()
    assert ends.receiver.ended == 1
    assert count[0] <= 1  # after the end of reading, the reset may be reported once more


async def test_after_the_peers_half_close_can_still_be_written(ends):
    await ends.peer.send_eof()
    await ends.receiver.until(lambda: ends.receiver.ended)
    ends.transport.write(b"answer")
    assert await ends.receive(6) == b"answer"
    ends.transport.resume()  # which has no meaning any more
    await turns()
    assert ends.receiver.ended == 1


# --- the end while nobody reads ---


async def test_peer_end_is_reported_before_unread_data_and_data_stays(ends, monkeypatch):
    """The peer's end is told while its data is unread and the data can be read later."""
    ends.receiver.wanted = False
    await ends.peer.send_all(b"unread")
    await ends.peer.send_eof()
    await ends.receiver.until(lambda: ends.receiver.departed)
    async with reports_counted(monkeypatch) as count:
        await turns()
    assert count == [0]
    ends.transport.write(b"answer")
    assert await ends.receive(6) == b"answer"
    assert (ends.receiver.departed, ends.receiver.ended) == (1, 0)
    await ends.read_to_the_end()
    assert ends.receiver.data == b"unread"


async def test_reset_before_unread_data_is_reported_and_poller_sleeps(ends, monkeypatch):
    """A reset while data is unread is told and the poller sleeps on."""
    ends.receiver.wanted = False
    await ends.peer.send_all(b"unread")
    await ends.receiver.until(lambda: ends.receiver.asked)
    await ends.reset()
    await ends.receiver.until(lambda: ends.receiver.departed)
    async with reports_counted(monkeypatch) as count:
        await turns()
    assert count == [0]
    assert ends.transport.outbox.closed
    assert ends.receiver.moved
    ends.transport.write(b"nobody will read this")
    assert ends.transport.outbox.size == 0
    await ends.read_to_the_end()
    assert (ends.receiver.departed, ends.receiver.ended) == (1, 1)


async def test_dead_socket_is_read_only_as_far_as_receiver_wants(make):
    """A Unix socket keeps what was sent when its peer is closed."""
    ends = make(socket.socketpair())
    ends.receiver.wanted = False
    await ends.peer.send_all(b"unread")
    await ends.peer.aclose()
    await ends.receiver.until(lambda: ends.receiver.departed)
    ends.transport.resume()
    await turns()
    assert (ends.receiver.data, ends.receiver.ended) == (b"", 0)
    ends.receiver.wanted = True
    ends.receiver.on_data = lambda: setattr(ends.receiver, "wanted", False)
    ends.transport.resume()
    await ends.receiver.until(lambda: ends.receiver.data == b"unread")
    await turns()
    assert ends.receiver.ended == 0
    await ends.read_to_the_end()
    ends.transport.close()


async def test_drained_dead_socket_is_at_its_end(make):
    """Whatever the kernel says of a socket that it called broken, it is not asked for ever."""
    ends = make(socket.socketpair())
    ends.receiver.wanted = False
    ends.transport.ready(selector.ERROR_OR_HANGUP, trio.current_time())  # while the socket is well, and empty
    assert ends.receiver.departed == 1
    await ends.read_to_the_end()
    ends.transport.close()
    await ends.peer.aclose()


async def test_receiver_may_close_when_notified_that_peer_left(ends):
    """A receiver may close when it hears that the peer has left."""
    ends.receiver.wanted = False
    ends.receiver.on_departed = ends.transport.close
    await ends.reset()
    await ends.receiver.until(lambda: ends.receiver.departed)
    await turns()
    assert (ends.receiver.departed, ends.receiver.ended) == (1, 0)


async def test_a_report_without_data_behind_it_is_no_end(ends):
    """The kernel may say that a socket is readable, and have nothing (a bad checksum, say)."""
    ends.transport.ready(selector.READABLE, trio.current_time())
    assert ends.receiver.ended == 0
    await ends.peer.send_all(b"data")
    await ends.receiver.until(lambda: ends.receiver.data == b"data")


# --- writing ---


async def test_a_write_goes_to_the_socket_at_once_if_nothing_waits(ends):
    ends.transport.write(b"now")
    assert ends.sock.sends == 1
    assert ends.transport.outbox.size == 0
    assert await ends.receive(3) == b"now"


async def test_data_refused_by_the_socket_waits_and_arrives_in_order(ends):
    """What the socket does not take waits and arrives whole and in order."""
    parts = [os.urandom(300_000), b"", b"small", os.urandom(100_000), b"end"]
    for part in parts:
        ends.transport.write(part)
    assert ends.transport.outbox.full
    whole = b"".join(parts)
    assert await ends.receive(len(whole)) == whole
    await ends.receiver.until(lambda: not ends.transport.outbox.size)
    assert ends.receiver.moved


async def test_a_full_socket_does_not_keep_the_poller_awake(ends, monkeypatch):
    ends.transport.write(bytes(1_000_000))
    await stalled(monkeypatch)
    async with reports_counted(monkeypatch) as count:
        ends.transport.write(b"more")
        ends.transport.write(b"held", hold=True)
        for _ in range(20):
            ends.transport.flush()
        await turns()
    assert count == [0]


async def test_an_idle_socket_is_not_watched_for_room_to_write(ends, monkeypatch):
    ends.transport.write(bytes(500_000))
    await ends.receive(500_000)
    await ends.receiver.until(lambda: not ends.transport.outbox.size)
    await turns()
    async with reports_counted(monkeypatch) as count:
        await turns()
    assert count == [0]


async def test_write_after_reset_closes_outbox_and_reading_meets_end(ends):
    """A write after a reset closes the outbox and the end is met by reading."""
    await ends.reset()
    ends.transport.write(b"one")
    ends.transport.write(b"two")
    ends.transport.write(b"three", hold=True)
    await ends.receiver.until(lambda: ends.receiver.ended)
    assert ends.transport.outbox.closed
    assert ends.transport.outbox.size == 0
    assert ends.receiver.ended == 1


async def test_who_waits_for_room_hears_of_a_reset(ends):
    ends.transport.write(bytes(1_000_000))
    moved = ends.receiver.moved
    await ends.reset()
    await ends.receiver.until(lambda: ends.receiver.ended)
    await ends.receiver.until(lambda: ends.receiver.moved > moved)
    assert ends.transport.outbox.closed


async def test_finish_half_closes_after_all_that_was_written(ends):
    ends.transport.write(bytes(500_000))
    ends.transport.write(b"last")
    ends.transport.finish()
    received = await ends.receive(500_004)
    assert received.endswith(b"last")
    with trio.fail_after(5):
        assert await ends.peer.receive_some(1) == b""
    await ends.peer.send_all(b"still heard")
    await ends.receiver.until(lambda: ends.receiver.data == b"still heard")


async def test_finish_with_nothing_to_write_half_closes_at_once(ends):
    ends.transport.finish()
    with trio.fail_after(5):
        assert await ends.peer.receive_some(1) == b""


async def test_finish_after_a_reset_is_harmless(ends):
    ends.receiver.on_ended = ends.transport.finish
    await ends.reset()
    await ends.receiver.until(lambda: ends.receiver.ended)
    ends.transport.finish()
    ends.transport.write(b"too late")
    assert ends.transport.outbox.size == 0


# --- holding back ---


async def test_corked_data_is_sent_in_one_call_at_the_end_of_the_turn(ends):
    """What is held back leaves in one call at the end of the turn."""
    for _ in range(50):
        ends.transport.write(b"reply", hold=True)
    assert ends.sock.sends == 0
    await trio.lowlevel.checkpoint()
    await trio.lowlevel.checkpoint()
    assert ends.sock.sends == 1
    assert await ends.receive(250) == b"reply" * 50


async def test_a_write_that_is_not_held_takes_along_what_was(ends):
    ends.transport.write(b"one ", hold=True)
    ends.transport.write(b"two ", hold=True)
    ends.transport.write(b"three")
    assert ends.sock.sends == 1
    assert await ends.receive(13) == b"one two three"
    await turns()
    assert ends.sock.sends == 1


async def test_what_is_held_back_leaves_at_once_when_it_is_much(ends):
    for _ in range(CORK_BYTES // 1024 - 1):
        ends.transport.write(bytes(1024), hold=True)
    assert ends.sock.sends == 0
    ends.transport.write(bytes(1024), hold=True)
    assert ends.sock.sends == 1


async def test_flush_sends_what_is_held_back(ends):
    ends.transport.write(b"held", hold=True)
    ends.transport.flush()
    assert ends.sock.sends == 1
    assert ends.receiver.moved == 1


async def test_each_turn_has_its_own_flush(ends, make):
    """The flusher is asleep, awake already, or about to look: nothing that is held back stays behind."""
    other = make()
    for number in range(5):
        ends.transport.write(b"a", hold=True)
        if number % 2:
            other.transport.write(b"b", hold=True)
        await trio.lowlevel.checkpoint()
    assert await ends.receive(5) == b"aaaaa"
    assert await other.receive(2) == b"bb"


async def test_data_corked_before_the_poller_runs_is_sent_when_it_does(kind, nursery):
    """What is held back before the poller runs leaves when it does."""
    poller = kind()
    ends = Ends(poller, *tcp_pair(), nursery)
    ends.transport.write(b"early", hold=True)
    nursery.start_soon(poller.run)
    assert await ends.receive(5) == b"early"
    ends.transport.close()
    await ends.peer.aclose()


# --- ending ---


async def test_after_close_the_receiver_hears_nothing_more(ends):
    ends.receiver.wanted = False
    await ends.peer.send_all(b"data")
    await ends.receiver.until(lambda: ends.receiver.asked)
    ends.receiver.wanted = True
    ends.transport.resume()
    ends.transport.write(b"held", hold=True)
    ends.transport.close()
    ends.transport.close()
    for call in (
        ends.transport.resume,
        ends.transport.finish,
        ends.transport.flush,
        lambda: ends.transport.write(b"x"),
    ):
        call()
    ends.transport.write(b"x", hold=True)
    await turns()
    receiver = ends.receiver
    assert (receiver.data, receiver.ended, receiver.departed, receiver.moved) == (b"", 0, 0, 0)
    with trio.fail_after(5):
        assert await ends.peer.receive_some(10) == b""


async def test_one_that_was_never_started_can_be_closed(kind):
    ours, theirs = tcp_pair()
    with theirs:
        transport = SocketTransport(kind(), ours, HIGH_WATER)
        await transport.aclose()
        transport.start(None)
        assert ours.fileno() == -1


async def test_what_is_done_before_the_start_counts_from_the_start_on(kind, nursery):
    """A server that shuts down refuses who was accepted in the same turn."""
    ours, theirs = tcp_pair()
    poller = kind()
    nursery.start_soon(poller.run)
    transport = SocketTransport(poller, ours, HIGH_WATER)
    transport.receiver = Recorder()
    transport.write(bytes(500_000))
    transport.finish()
    transport.resume()
    await turns()
    transport.start(nursery)
    peer = trio.SocketStream(trio.socket.from_stdlib_socket(theirs))
    received = 0
    with trio.fail_after(5):
        while data := await peer.receive_some(65536):
            received += len(data)
    assert received == 500_000
    assert transport.receiver.ended == 0
    await peer.aclose()
    await transport.receiver.until(lambda: transport.receiver.ended)
    await transport.aclose()


async def test_receiver_may_close_its_transport_during_a_call(ends, make):
    """A receiver may close its transport in the middle of a call."""
    ends.receiver.on_data = ends.transport.close
    await ends.peer.send_all(b"data")
    await ends.peer.send_all(b"more")
    await ends.receiver.until(lambda: ends.receiver.data)
    other = make()
    await other.peer.send_all(b"the poller works on")
    await other.receiver.until(lambda: other.receiver.data == b"the poller works on")
    assert ends.receiver.ended == 0


async def test_receiver_may_close_another_ready_transport(make):
    """Both are in one list of ready sockets; the one that comes second hears nothing any more."""
    one, two = make(), make()
    one.receiver.on_data = two.transport.close
    two.receiver.on_data = one.transport.close
    for each in (one, two):
        await each.peer.send_all(b"data")
    await turns()
    assert sorted([bytes(one.receiver.data), bytes(two.receiver.data)]) == [b"", b"data"]


def fail() -> None:
    raise MemoryError


async def test_a_receiver_that_raises_loses_its_own_connection_only(ends, make, caplog):
    other = make()
    ends.receiver.on_data = ends.receiver.on_ended = fail
    await ends.peer.send_all(b"data")
    await ends.receiver.until(lambda: ends.receiver.ended == 1)
    await other.peer.send_all(b"data")
    await other.receiver.until(lambda: other.receiver.data == b"data")
    with trio.fail_after(5):
        assert await ends.peer.receive_some(1) == b""
    (record,) = caplog.records
    assert record.exc_info[0] is MemoryError


async def test_receiver_error_at_end_of_turn_loses_only_its_connection(ends, make, caplog):
    """A receiver that raises at the end of the turn loses its own connection only."""
    other = make()
    ends.receiver.outbox_moved = fail
    for each in (ends, other):
        each.transport.write(b"held", hold=True)
    await ends.receiver.until(lambda: ends.receiver.ended == 1)
    assert await other.receive(4) == b"held"
    (record,) = caplog.records
    assert record.exc_info[0] is MemoryError


async def test_reused_descriptor_does_not_get_events_of_the_old_one(make):
    """A receiver closes two connections, one of them itself, and opens new ones with their numbers in one call."""
    one, two = make(), make()
    fresh: list[Ends] = []
    pairs = [tcp_pair(), tcp_pair()]
    numbers = {one.sock.fileno(), two.sock.fileno()}

    def swap() -> None:
        one.transport.close()
        two.transport.close()
        for number, (ours, theirs) in zip(numbers, pairs, strict=True):
            os.dup2(ours.fileno(), number)
            ours.close()
            fresh.append(make((socket.socket(fileno=number), theirs)))

    one.receiver.on_data = two.receiver.on_data = swap
    for each in (one, two):
        await each.peer.send_all(b"data")
    await one.receiver.until(lambda: True)
    await turns()
    assert {each.sock.fileno() for each in fresh} == numbers
    for each in fresh:
        assert each.receiver.asked == 0, "an event of the old connection reached the new one"
        await each.peer.send_all(b"new")
        await each.receiver.until(lambda each=each: each.receiver.data == b"new")
        each.transport.close()
        await each.peer.aclose()


async def test_more_ready_sockets_than_one_batch_are_all_served(make, monkeypatch):
    monkeypatch.setattr("trio_ws.transport.selector.BATCH", 3)
    many = [make() for _ in range(10)]
    for each in many:
        await each.peer.send_all(b"data")
    for each in many:
        await each.receiver.until(lambda each=each: each.receiver.data == b"data")


async def test_a_cancelled_poller_gives_its_descriptor_back():
    poller = Poller()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(poller.run)
        await trio.testing.wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
    with pytest.raises(ValueError, match="closed"):
        poller.selector.fileno()


def test_without_a_kernel_that_has_it_there_is_no_poller(kind, monkeypatch):
    for module in (poller_module, solo_module):
        monkeypatch.setattr(module, "make_selector", None)
    assert not Poller.available()
    with pytest.raises(RuntimeError, match="use the stream transport"):
        kind()
