"""TLS on the poller alone, on real sockets: what it decrypts and encrypts, how it waits, and how it ends."""

from __future__ import annotations

import gc
import logging
import os
import shutil
import socket
import ssl
import subprocess
import weakref
from functools import partial
from itertools import pairwise

import pytest
import trio
import trustme
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.internals import internal, set_internal
from support.receivers import Recorder
from support.tls import TLSPeer, authority, client_tls, server_tls, trusting

from transport.test_poller import HIGH_WATER, CountingSocket, reports_counted, stalled, tcp_pair, turns
from trio_ws.runtime.log import ConnectionLog
from trio_ws.transport import selector
from trio_ws.transport.outbox import WRITE_BYTES
from trio_ws.transport.poller import Poller
from trio_ws.transport.tls import MAX_PENDING_OUTPUT, TLSTransport
from trio_ws.transport.tls_session import RECORD_BYTES, RECORDS, TLSSession

__all__ = ["authority", "client_tls", "server_tls"]  # fixtures

pytestmark = pytest.mark.skipif(not Poller.available(), reason="this platform has no poller")


class Ends:
    """A transport on a poller, its socket, its receiver, and the peer."""

    def __init__(self, poller: Poller, nursery: trio.Nursery, server: ssl.SSLContext, client: ssl.SSLContext) -> None:
        ours, theirs = tcp_pair()
        self.sock = CountingSocket(fileno=ours.detach())
        self.transport = TLSTransport(poller, self.sock, TLSSession(server), HIGH_WATER)
        self.transport.receiver = self.receiver = Recorder()
        theirs.setblocking(False)
        self.peer = TLSPeer(trio.SocketStream(trio.socket.from_stdlib_socket(theirs)), client)
        self.transport.start(nursery)

    async def read_to_the_end(self) -> None:
        self.receiver.wanted = True
        self.transport.resume()
        await self.receiver.until(lambda: self.receiver.ended)


@pytest.fixture
async def poller(nursery):
    poller = Poller()
    nursery.start_soon(poller.run)
    return poller


@pytest.fixture
async def make(poller, nursery, server_tls, client_tls):
    """Make ends that have shaken hands, or not; all sockets are closed at the end."""
    made: list[Ends] = []

    async def make_ends(*, shaken: bool = True, client: ssl.SSLContext = client_tls) -> Ends:
        made.append(Ends(poller, nursery, server_tls, client))
        if shaken:
            await made[-1].peer.shake_hands()
        return made[-1]

    yield make_ends
    for ends in made:
        ends.transport.close()
        await trio.aclose_forcefully(ends.peer.stream)


@pytest.fixture
async def ends(make):
    return await make()


@pytest.fixture(params=[ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def version(request, client_tls):
    """What the client speaks: with each, others of TLS's own messages pass."""
    client_tls.maximum_version = request.param
    return request.param


# --- the handshake ---


async def test_poller_does_the_handshake_and_bytes_pass_both_ways(version, ends):
    """The handshake is done by the poller and bytes pass both ways."""
    ends.transport.write(b"hello")
    assert await ends.peer.receive(5) == b"hello"
    await ends.peer.send(b"hi")
    await ends.receiver.until(lambda: ends.receiver.data == b"hi")
    assert (ends.receiver.ended, ends.receiver.departed) == (0, 0)


async def test_writes_before_the_handshake_wait_and_poller_sleeps(make, monkeypatch):
    """What is written before the handshake waits for it and does not keep the poller awake."""
    ends = await make(shaken=False)
    async with reports_counted(monkeypatch) as count:
        ends.transport.write(b"first ")
        ends.transport.write(b"held ", hold=True)
        ends.transport.write(b"last")
        ends.transport.finish()
        await turns()
    assert count == [0]
    assert ends.transport.outbox.size == 15
    await ends.peer.shake_hands()
    assert await ends.peer.receive(15) == b"first held last"
    assert await ends.peer.some() == b""
    assert ends.transport.outbox.size == 0


async def test_finish_before_the_handshake_waits_for_it(make):
    ends = await make(shaken=False)
    ends.transport.finish()
    await ends.peer.shake_hands()
    assert await ends.peer.some() == b""
    await ends.peer.send(b"still heard")
    await ends.receiver.until(lambda: ends.receiver.data == b"still heard")


async def test_a_hello_of_more_than_a_record(make, client_tls):
    client_tls.set_alpn_protocols([f"{number:0250}" for number in range(100)])
    ends = await make(client=client_tls)
    ends.transport.write(b"hello")
    assert await ends.peer.receive(5) == b"hello"


async def test_data_in_the_last_handshake_packet_is_not_lost(make):
    """What came in the same packet as the end of the handshake is not lost."""
    ends = await make(shaken=False)
    peer = ends.peer
    with pytest.raises(ssl.SSLWantReadError):
        peer.tls.do_handshake()
    await peer.stream.send_all(peer.outgoing.read())
    while True:
        peer.incoming.write(await peer.stream.receive_some())
        try:
            peer.tls.do_handshake()
            break
        except ssl.SSLWantReadError:
            assert not peer.outgoing.pending
    finished = peer.outgoing.read()
    await peer.stream.send_all(finished + peer.sealed(bytes(3 * RECORD_BYTES) + b"early"))
    await ends.receiver.until(lambda: ends.receiver.data == bytes(3 * RECORD_BYTES) + b"early")


async def test_a_peer_that_takes_the_handshake_slowly_gets_all_of_it(make):
    """The server's part is more than the socket takes: a long chain of certificates, say."""
    ends = await make(shaken=False)
    room = [100]

    def narrow(data):
        count = min(len(data), room[0])
        room[0] -= count
        if not count:
            raise BlockingIOError
        return CountingSocket.send(ends.sock, data[:count])

    sock = Forwarding(ends.sock, narrow)
    set_internal(ends.transport, "_socket._sock", sock)
    with pytest.raises(ssl.SSLWantReadError):
        ends.peer.tls.do_handshake()
    await ends.peer.stream.send_all(ends.peer.outgoing.read())
    while not sock.refused:
        await trio.lowlevel.checkpoint()
    room[0] = 1_000_000
    await ends.peer.shake_hands()
    ends.transport.write(b"hello")
    assert await ends.peer.receive(5) == b"hello"


class Forwarding:
    """A socket whose `send` is another."""

    def __init__(self, sock: socket.socket, send) -> None:
        self._sock = sock
        self._send = send
        self.refused = 0

    def send(self, data):
        try:
            return self._send(data)
        except BlockingIOError:
            self.refused += 1
            raise

    def __getattr__(self, name):
        return getattr(self._sock, name)


@pytest.mark.parametrize(
    "garbage", [b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n", bytes(100), b"\x16\x03\x01\xff\xff" + b"\xff" * 70_000]
)
async def test_a_peer_that_does_not_speak_tls_is_gone(make, garbage, caplog):
    caplog.set_level(logging.DEBUG)
    ends, other = await make(shaken=False), await make()
    ends.transport.log = ConnectionLog(7, ("192.0.2.1", 5))
    ends.transport.write(b"hello")
    await ends.peer.stream.send_all(garbage)
    await ends.receiver.until(lambda: ends.receiver.ended and ends.receiver.moved)
    assert (ends.receiver.ended, ends.receiver.data) == (1, b"")
    assert ends.transport.outbox.closed
    await other.peer.send(b"the poller works on")
    await other.receiver.until(lambda: other.receiver.data == b"the poller works on")
    (record,) = caplog.records
    assert record.levelno == (logging.INFO if record.tls_error == "HTTP_REQUEST" else logging.DEBUG)
    assert record.getMessage().startswith(f"#7 from 192.0.2.1:5: TLS failed: {record.tls_error}")


async def test_a_peer_that_does_not_trust_the_certificate_is_gone(make):
    ends = await make(shaken=False, client=trusting(trustme.CA()))
    with pytest.raises(ssl.SSLCertVerificationError):
        await ends.peer.shake_hands()
    await ends.peer.stream.send_all(ends.peer.outgoing.read())  # the alert
    await ends.receiver.until(lambda: ends.receiver.ended)
    assert ends.transport.outbox.closed


@pytest.mark.parametrize("beginning", [0, 1, 100])
async def test_a_peer_that_leaves_in_the_handshake_is_gone(make, beginning):
    ends = await make(shaken=False)
    with pytest.raises(ssl.SSLWantReadError):
        ends.peer.tls.do_handshake()
    await ends.peer.stream.send_all(ends.peer.outgoing.read()[:beginning])
    await ends.peer.stream.send_eof()
    await ends.receiver.until(lambda: ends.receiver.ended)
    assert ends.receiver.ended == 1


# --- reading ---


@pytest.mark.slow
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(st.integers(1, 40_000), st.booleans()), min_size=1, max_size=5), st.data())
def test_ciphertext_may_be_cut_anywhere(server_tls, client_tls, messages, data):
    """Records within packets and packets within records; replies are written in the middle of it."""

    async def main() -> None:
        poller = Poller()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(poller.run)
            ends = Ends(poller, nursery, server_tls, client_tls)
            try:
                await ends.peer.shake_hands()
                await exchange(ends)
            finally:
                ends.transport.close()
                await trio.aclose_forcefully(ends.peer.stream)
            nursery.cancel_scope.cancel()

    async def exchange(ends: Ends) -> None:
        expected = b""
        for size, cork in messages:
            plain = os.urandom(size)
            expected += plain
            cipher = ends.peer.sealed(plain)
            cuts = data.draw(st.lists(st.integers(1, len(cipher)), max_size=3).map(sorted))
            for start, end in pairwise([0, *cuts, len(cipher)]):
                await ends.peer.stream.send_all(cipher[start:end])
                await trio.lowlevel.checkpoint()
            ends.transport.write(plain, hold=cork)
        await ends.receiver.until(lambda: len(ends.receiver.data) == len(expected))
        assert ends.receiver.data == expected
        assert await ends.peer.receive(len(expected)) == expected

    trio.run(main)


async def test_large_messages_pass_both_ways(ends, nursery):
    large = os.urandom(3_000_000)
    nursery.start_soon(ends.peer.send, large)
    await ends.receiver.until(lambda: len(ends.receiver.data) == len(large))
    assert ends.receiver.data == large
    ends.transport.write(large)
    assert ends.transport.outbox.full
    assert await ends.peer.receive(len(large)) == large
    await ends.receiver.until(lambda: not ends.transport.outbox.size)
    assert ends.receiver.moved


async def test_tiny_records_are_decrypted_in_bounded_turns(ends, make):
    """Nothing more has to come from the socket for the rest of them."""
    count = 20 * RECORDS
    sizes: list[int] = []
    ends.receiver.on_data = lambda: sizes.append(len(ends.receiver.data))
    other = await make()
    seen: list[int] = []
    other.receiver.on_data = lambda: seen.append(len(ends.receiver.data))
    whole = b"".join(ends.peer.sealed(b"x") for _ in range(count))
    arrived = memoryview(whole)
    while arrived:  # into the kernel, before the poller looks
        arrived = arrived[internal(ends.peer.stream.socket, "_sock").send(arrived) :]
    internal(other.peer.stream.socket, "_sock").send(other.peer.sealed(b"y"))
    await ends.receiver.until(lambda: len(ends.receiver.data) == count)
    assert max(after - before for before, after in pairwise([0, *sizes])) <= RECORDS
    (behind,) = seen
    assert behind <= 2 * RECORDS


async def test_unwanted_data_is_kept_and_given_on_resume_while_silent(ends, monkeypatch):
    """What is not wanted is kept and given on resume though the socket is silent."""

    ends.receiver.on_data = ends.receiver.stop
    whole = b"".join(ends.peer.sealed(b"x") for _ in range(3 * RECORDS))
    await ends.peer.stream.send_all(whole)
    await ends.receiver.until(lambda: ends.receiver.data)
    async with reports_counted(monkeypatch) as count:
        await turns()
        for share in (1, 2, 3):
            assert len(ends.receiver.data) == share * RECORDS
            ends.receiver.wanted = True
            ends.transport.resume()
            await turns()
    assert count == [0]
    ends.receiver.on_data = None
    await ends.peer.send(b"more")
    await ends.receiver.until(lambda: ends.receiver.data.endswith(b"more"))


async def test_plaintext_beyond_the_turn_limit_waits_for_the_next(ends):
    """More plaintext than a turn has room for waits for the next."""
    set_internal(ends.transport, "_plaintext", internal(ends.transport, "_plaintext")[: 3 * RECORD_BYTES])
    sizes: list[int] = []
    ends.receiver.on_data = lambda: sizes.append(len(ends.receiver.data))
    await ends.peer.send(bytes(7 * RECORD_BYTES))
    await ends.receiver.until(lambda: len(ends.receiver.data) == 7 * RECORD_BYTES)
    assert max(after - before for before, after in pairwise([0, *sizes])) <= 3 * RECORD_BYTES


async def test_unwanted_data_does_not_hide_that_the_peer_has_left(ends):
    ends.receiver.wanted = False
    await ends.peer.send(b"unread")
    await ends.peer.stream.send_eof()
    await ends.receiver.until(lambda: ends.receiver.departed)
    await ends.read_to_the_end()
    assert ends.receiver.data == b"unread"


async def test_a_reset_behind_what_was_not_wanted_lets_that_be_read(ends):
    ends.receiver.on_data = ends.receiver.stop
    await ends.peer.stream.send_all(b"".join(ends.peer.sealed(b"x") for _ in range(2 * RECORDS)))
    await ends.receiver.until(lambda: len(ends.receiver.data) == RECORDS)
    await ends.peer.reset()
    await ends.receiver.until(lambda: ends.receiver.departed)
    ends.receiver.on_data = None
    await ends.read_to_the_end()
    assert len(ends.receiver.data) == 2 * RECORDS


async def test_drained_dead_socket_is_at_its_end(ends):
    """A dead socket that has nothing left to read is at its end."""
    ends.receiver.wanted = False
    ends.transport.ready(selector.ERROR_OR_HANGUP, trio.current_time())  # while the socket is well, and empty
    await ends.read_to_the_end()


async def test_a_report_without_data_behind_it_is_no_end(ends):
    ends.transport.ready(selector.READABLE, trio.current_time())
    assert ends.receiver.ended == 0


async def test_a_reset_is_the_end(ends):
    await ends.peer.reset()
    await ends.receiver.until(lambda: ends.receiver.ended)
    assert ends.receiver.ended == 1


# --- how it ends ---


async def test_close_notify_is_the_end_and_can_be_answered_with_data(ends):
    """The peer's close_notify is the end and can be answered with data."""
    await ends.peer.stream.send_all(ends.peer.sealed(b"last words") + ends.peer.goodbye())
    await ends.receiver.until(lambda: ends.receiver.ended)
    assert (ends.receiver.ended, ends.receiver.data) == (1, b"last words")
    ends.transport.write(b"answer")
    ends.transport.resume()  # which has no meaning any more
    await ends.peer.stream.send_eof()
    await turns()
    assert ends.receiver.ended == 1


async def test_close_notify_behind_unwanted_data_is_reported_and_waits(ends):
    """A close_notify behind what was not wanted is told and waits."""

    ends.receiver.on_data = ends.receiver.stop
    await ends.peer.stream.send_all(ends.peer.sealed(b"last words") + ends.peer.goodbye())
    await ends.receiver.until(lambda: ends.receiver.departed)
    assert (ends.receiver.ended, ends.receiver.data) == (0, b"last words")
    await ends.read_to_the_end()
    assert ends.receiver.ended == 1


async def test_an_end_without_close_notify_is_an_end_like_any_other(ends):
    """Browsers leave that way, and WebSocket has a goodbye of its own."""
    await ends.peer.stream.send_all(ends.peer.sealed(b"whole") + ends.peer.sealed(b"never complete")[:10])
    await ends.peer.stream.send_eof()
    await ends.receiver.until(lambda: ends.receiver.ended)
    assert (ends.receiver.ended, ends.receiver.data) == (1, b"whole")
    ends.transport.write(b"answer")
    assert await ends.peer.receive(6) == b"answer"


async def test_a_spoilt_record_is_the_end_after_what_came_before_it(ends, caplog):
    caplog.set_level(logging.DEBUG)
    cipher = bytearray(ends.peer.sealed(b"spoilt"))
    cipher[-1] ^= 1
    await ends.peer.stream.send_all(ends.peer.sealed(b"") + bytes(cipher))
    await ends.receiver.until(lambda: ends.receiver.ended and ends.receiver.moved)
    assert ends.receiver.data == b""
    assert ends.transport.outbox.closed
    with pytest.raises(ssl.SSLError, match=r"(?i)alert"):
        await ends.peer.some()
    assert caplog.records == []  # nobody has said which connection it is


async def test_close_says_goodbye_if_all_was_sent(ends):
    ends.transport.write(b"last words")
    ends.transport.close()
    ends.transport.close()
    assert await ends.peer.receive(10) == b"last words"
    assert await ends.peer.some() == b""
    assert ends.peer.notified


async def test_close_with_something_unsent_says_no_goodbye(ends):
    """The peer can tell that the end is missing."""
    ends.transport.write(bytes(1_000_000))
    ends.transport.close()
    received = 0
    while data := await ends.peer.some():
        received += len(data)
    assert received < 1_000_000
    assert not ends.peer.notified


async def test_finish_half_closes_tcp_after_all_written_data(ends):
    """Finish half closes the TCP below after all that was written."""
    ends.transport.write(bytes(500_000))
    ends.transport.write(b"last")
    ends.transport.finish()
    assert (await ends.peer.receive(500_004)).endswith(b"last")
    assert await ends.peer.some() == b""
    assert not ends.peer.notified
    await ends.peer.send(b"still heard")
    await ends.receiver.until(lambda: ends.receiver.data == b"still heard")


async def test_after_close_the_receiver_hears_nothing_more(ends):
    ends.receiver.on_data = ends.transport.close
    await ends.peer.stream.send_all(ends.peer.sealed(b"one") + ends.peer.goodbye())
    await ends.receiver.until(lambda: ends.receiver.data)
    ends.transport.write(b"too late")
    ends.transport.resume()
    ends.transport.finish()
    ends.transport.flush()
    await turns()
    assert (ends.receiver.ended, ends.receiver.departed, ends.receiver.moved) == (0, 0, 0)


async def test_one_that_is_closed_within_its_first_call_gets_no_more(ends):
    ends.receiver.on_data = ends.transport.close
    await ends.peer.stream.send_all(b"".join(ends.peer.sealed(b"x") for _ in range(2 * RECORDS)))
    await ends.receiver.until(lambda: ends.receiver.data)
    await turns()
    assert len(ends.receiver.data) == RECORDS


async def test_one_that_was_never_started_can_be_closed(poller, server_tls):
    ours, theirs = tcp_pair()
    with theirs:
        transport = TLSTransport(poller, ours, TLSSession(server_tls), HIGH_WATER)
        await transport.aclose()
        assert ours.fileno() == -1


# --- writing ---


async def test_what_is_held_back_leaves_in_one_record_and_one_call(ends):
    sends = ends.sock.sends
    for _ in range(50):
        ends.transport.write(b"reply", hold=True)
    assert ends.sock.sends == sends
    await trio.lowlevel.checkpoint()
    await trio.lowlevel.checkpoint()
    assert ends.sock.sends == sends + 1
    assert await ends.peer.some() == b"reply" * 50


async def test_data_refused_by_the_socket_waits_and_arrives_in_order(ends):
    """What the socket does not take waits and arrives whole and in order."""
    parts = [os.urandom(300_000), b"", b"small", os.urandom(100_000), b"end"]
    for part in parts:
        ends.transport.write(part)
    whole = b"".join(parts)
    assert ends.transport.outbox.size <= len(whole)
    assert await ends.peer.receive(len(whole)) == whole
    await ends.receiver.until(lambda: not ends.transport.outbox.size)


async def test_stalled_peer_costs_only_its_outbox_and_no_turns(ends, monkeypatch):
    """A peer that does not read costs no more than its outbox and no turns."""
    ends.transport.write(bytes(1_000_000))
    await stalled(monkeypatch)
    waiting = ends.transport.outbox.size
    async with reports_counted(monkeypatch) as count:
        ends.transport.write(b"more")
        ends.transport.write(b"held", hold=True)
        for _ in range(20):
            ends.transport.flush()
        await turns()
    assert count == [0]
    assert ends.transport.outbox.size == waiting + 8
    assert internal(ends.transport, "_socket").outbox.size <= WRITE_BYTES + 1024


async def fill(ends: Ends) -> int:
    """Write until ciphertext waits, and no plaintext besides; return how much was written."""
    size = 0
    while not ends.transport.outbox.size:
        ends.transport.write(bytes(WRITE_BYTES))
        size += WRITE_BYTES
    assert ends.transport.outbox.size == WRITE_BYTES
    return size


async def test_half_close_comes_after_a_record_of_tls_that_waits(ends):
    """TLS's own records wait for the ciphertext before them: here stands one with data, which shows."""
    size = await fill(ends)
    internal(ends.transport, "_session._tls").write(b"own")
    ends.transport.finish()
    assert await ends.peer.receive(size + 3) == bytes(size) + b"own"
    assert await ends.peer.some() == b""
    assert not ends.transport.outbox.closed


async def test_half_close_takes_a_record_of_tls_along(ends):
    internal(ends.transport, "_session._tls").write(b"own")
    ends.transport.finish()
    assert await ends.peer.receive(3) == b"own"
    assert await ends.peer.some() == b""


async def test_events_after_close_with_waiting_ciphertext_do_nothing(ends):
    await fill(ends)
    ends.transport.close()
    moved = ends.receiver.moved
    ends.transport.ready(selector.WRITABLE | selector.READABLE, trio.current_time())
    ends.transport.uncork()
    ends.transport.flush()
    ends.transport.resume()
    assert ends.transport.look()
    assert (ends.receiver.moved, ends.receiver.ended) == (moved, 0)
    assert ends.transport.outbox.size == 0


async def test_error_of_receiver_closes_both_transports_and_no_others(make, caplog):
    """The poller's client is the TLS transport: an error above it is logged with its connection."""
    ends, other = await make(), await make()
    ends.transport.log = ConnectionLog(7, ("192.0.2.1", 5))

    def fail() -> None:
        raise ZeroDivisionError

    ends.receiver.on_data = fail
    await ends.peer.send(b"x")
    await ends.receiver.until(lambda: ends.receiver.ended)
    assert (ends.transport.outbox.closed, ends.sock.fileno()) == (True, -1)
    (record,) = caplog.records
    assert record.getMessage() == "unexpected error in connection #7 from 192.0.2.1:5, closing it"
    await other.peer.send(b"y")
    await other.receiver.until(lambda: other.receiver.data == b"y")


async def test_a_peer_that_reads_slowly_is_seen_to_progress(ends):
    ends.transport.write(bytes(1_000_000))
    last, taken = ends.transport.uptake().taken, 0
    while taken < 900_000:
        taken += len(await ends.peer.some())
        await turns(1)
    assert ends.transport.uptake().taken > last


async def test_write_after_reset_closes_outbox_and_reading_meets_end(ends):
    """A write after a reset closes the outbox and the end is met by reading."""
    await ends.peer.reset()
    for _ in range(3):
        ends.transport.write(bytes(200_000))
    await ends.receiver.until(lambda: ends.receiver.ended)
    assert ends.transport.outbox.closed
    assert ends.transport.outbox.size == 0


async def test_shorter_records_are_written_if_the_peer_asks_for_them(ends, monkeypatch):
    """RFC 6066 4: not every TLS object takes all it is given at once."""

    class Short:
        def __init__(self, tls: ssl.SSLObject) -> None:
            self._tls = tls

        def write(self, data) -> int:
            return self._tls.write(data[:512])

        def __getattr__(self, name):
            return getattr(self._tls, name)

    set_internal(ends.transport, "_session._tls", Short(internal(ends.transport, "_session._tls")))
    whole = os.urandom(50_000)
    ends.transport.write(whole)
    assert await ends.peer.receive(len(whole)) == whole


class Failing:
    """A TLS object that cannot write."""

    def __init__(self, tls: ssl.SSLObject) -> None:
        self._tls = tls

    def write(self, data) -> int:
        raise ssl.SSLWantReadError

    def __getattr__(self, name):
        return getattr(self._tls, name)


async def test_write_that_needs_a_new_handshake_is_a_broken_write(ends):
    """Renegotiation is not supported."""
    set_internal(ends.transport, "_session._tls", Failing(internal(ends.transport, "_session._tls")))
    ends.transport.write(bytes(200_000))
    assert ends.transport.outbox.closed
    await ends.receiver.until(lambda: ends.receiver.moved)


async def test_peer_with_endless_tls_requests_unread_is_aborted(ends):
    """Each key update may ask for one in return (RFC 8446 4.6.3), whatever else waits for the peer."""
    ends.transport.write(bytes(1_000_000))
    await turns()
    await ends.peer.send(b"one")
    await ends.receiver.until(lambda: ends.receiver.data == b"one")
    assert not ends.transport.outbox.closed
    internal(ends.transport, "_session._outgoing").write(bytes(MAX_PENDING_OUTPUT + 1))
    await ends.peer.send(b"two")
    await ends.receiver.until(lambda: ends.receiver.ended)
    assert ends.transport.outbox.closed


class Program:
    """`openssl s_client`, which can do what Python's ssl cannot: update its keys, and ask for new ones of ours."""

    def __init__(self, process: trio.Process) -> None:
        self._process = process
        self._said = b""

    async def type(self, line: bytes) -> None:
        await self._process.stdin.send_all(line)

    async def says(self, words: bytes) -> None:
        with trio.fail_after(10):
            while words not in self._said:
                more = await self._process.stdout.receive_some()
                assert more, self._said
                self._said += more
        self._said = self._said.partition(words)[2]


@pytest.mark.skipif(shutil.which("openssl") is None, reason="there is no openssl command here")
@pytest.mark.parametrize("line", [b"K\n", b"k\n"], ids=["asks for one in return", "asks for none"])
async def test_key_updates_of_peer_are_answered_and_bytes_pass(poller, nursery, server_tls, line):
    """The peer's key updates are answered and bytes pass both ways."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        command = ["openssl", "s_client", "-tls1_3", "-connect", f"127.0.0.1:{listener.getsockname()[1]}"]
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
        process = await nursery.start(partial(trio.run_process, command, check=False, **pipes))
        sock, _ = await trio.to_thread.run_sync(listener.accept)
    program = Program(process)
    transport = TLSTransport(poller, sock, TLSSession(server_tls), HIGH_WATER)
    transport.receiver = receiver = Recorder()
    transport.start(nursery)
    await program.says(b"Verify return code")
    for number in (b"1", b"2"):
        await program.type(line)
        await program.says(b"KEYUPDATE")
        await program.type(b"hello" + number)
        await receiver.until(lambda number=number: receiver.data.endswith(b"hello" + number))
        transport.write(b"answer" + number)
        await program.says(b"answer" + number)
    assert not transport.outbox.closed
    transport.close()
    process.kill()


# --- what it costs ---


@pytest.mark.slow
async def test_handshakes_leave_nothing_behind(make, poller, nursery, server_tls, client_tls):
    """Neither those that succeed nor those that fail."""
    left: list[weakref.ref[ssl.SSLObject]] = []
    for number in range(20):
        ends = Ends(poller, nursery, server_tls, client_tls)
        if number % 2:
            await ends.peer.stream.send_all(b"GET / HTTP/1.1\r\n\r\n")
            await ends.receiver.until(lambda ends=ends: ends.receiver.ended)
        else:
            await ends.peer.shake_hands()
        ends.transport.close()
        await ends.peer.stream.aclose()
        left.append(weakref.ref(internal(ends.transport, "_session._tls")))
    ends = await make()  # the poller remembers the last ones that it served
    ends.transport.write(b"held", hold=True)
    assert await ends.peer.receive(4) == b"held"
    gc.collect()
    assert [each for each in left if each() is not None] == []
