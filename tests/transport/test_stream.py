"""The stream transport alone: over memory streams, in virtual time, and over sockets and TLS."""

from __future__ import annotations

import logging
import socket
import struct

import pytest
import trio
import trio.lowlevel
from support.receivers import Recorder
from support.tls import authority, client_tls, server_tls
from trio.testing import lockstep_stream_pair, memory_stream_one_way_pair, memory_stream_pair

from trio_ws.runtime.log import ConnectionLog
from trio_ws.transport import stream as module
from trio_ws.transport.outbox import WRITE_BYTES
from trio_ws.transport.stream import CLOSE_NOTIFY_TIMEOUT, StreamTransport

__all__ = ["authority", "client_tls", "server_tls"]  # fixtures

HIGH_WATER = 64 * 1024


@pytest.fixture
async def start(nursery):
    """Start transports; those that a failed test leaves behind are closed."""
    started: list[StreamTransport] = []

    def start(stream: trio.abc.Stream, around: trio.Nursery = nursery) -> tuple[StreamTransport, Recorder]:
        transport = StreamTransport(stream, HIGH_WATER)
        transport.receiver = receiver = Recorder()
        transport.start(around)
        started.append(transport)
        return transport, receiver

    yield start
    for transport in started:
        transport.close()


async def received(stream: trio.abc.Stream, size: int) -> bytes:
    data = b""
    with trio.fail_after(5):
        while len(data) < size:
            more = await stream.receive_some(size - len(data))
            assert more, "the stream has ended"
            data += more
    return data


# --- memory streams, in virtual time ---


async def test_what_arrives_is_given_to_the_receiver_and_the_end_once(start, autojump_clock):
    ours, theirs = memory_stream_pair()
    transport, receiver = start(ours)
    await theirs.send_all(b"data")
    await receiver.until(lambda: receiver.data == b"data")
    await theirs.aclose()
    await receiver.until(lambda: receiver.ended)
    await trio.sleep(10)
    assert (receiver.ended, receiver.departed) == (1, 0)
    await transport.aclose()


async def test_data_that_is_not_wanted_is_not_read(start, autojump_clock):
    ours, theirs = memory_stream_pair()
    transport, receiver = start(ours)
    receiver.wanted = False
    await theirs.send_all(b"data")
    await trio.sleep(10)
    transport.resume()
    await trio.sleep(10)
    assert receiver.data == b""
    receiver.wanted = True
    transport.resume()
    await receiver.until(lambda: receiver.data == b"data")
    await transport.aclose()


async def test_data_written_in_one_turn_is_sent_together_in_order(start, autojump_clock):
    """What is written in one turn leaves together and in order."""
    sent = []
    ours, theirs = memory_stream_pair()
    send_all = ours.send_all

    async def counting(data):
        sent.append(bytes(data))
        await send_all(data)

    ours.send_all = counting  # type: ignore[method-assign]
    transport, receiver = start(ours)
    for part in (b"one ", b"two ", b"three"):
        transport.write(part, hold=True)
    transport.flush()
    assert await received(theirs, 13) == b"one two three"
    assert sent == [b"one two three"]
    assert receiver.moved == 1
    await transport.aclose()


async def test_a_large_message_is_seen_to_progress(start, autojump_clock):
    """A peer that takes 64 KiB in ten seconds is slow, not stuck."""
    ours, theirs = lockstep_stream_pair()
    transport, _ = start(ours)
    transport.write(bytes(3 * WRITE_BYTES))
    last = 0
    for _ in range(2):
        await trio.sleep(10)
        await received(theirs, WRITE_BYTES)
        await trio.sleep(1)
        assert transport.outbox.written > last
        last = transport.outbox.written
    assert transport.outbox.size == WRITE_BYTES
    await transport.aclose()


async def test_finish_half_closes_after_all_that_was_written(start, autojump_clock):
    ours, theirs = lockstep_stream_pair()
    transport, receiver = start(ours)
    transport.write(b"last words")
    transport.finish()
    assert await received(theirs, 10) == b"last words"
    assert await theirs.receive_some(1) == b""
    await theirs.send_all(b"still heard")
    await receiver.until(lambda: receiver.data == b"still heard")
    await transport.aclose()


class CannotHalfClose(trio.abc.Stream):
    """A stream without `send_eof`."""

    def __init__(self, stream: trio.abc.Stream) -> None:
        self._stream = stream

    async def send_all(self, data):
        await self._stream.send_all(data)

    async def wait_send_all_might_not_block(self):
        await self._stream.wait_send_all_might_not_block()

    async def receive_some(self, max_bytes=None):
        return await self._stream.receive_some(max_bytes)

    async def aclose(self):
        await self._stream.aclose()


async def test_finish_without_half_close_support_ends_with_aclose(start, autojump_clock):
    """Finish on a stream that cannot half close ends with aclose."""
    ours, theirs = memory_stream_pair()
    transport, _ = start(CannotHalfClose(ours))
    transport.write(b"last words")
    transport.finish()
    assert await received(theirs, 10) == b"last words"
    await transport.aclose()
    assert await theirs.receive_some(1) == b""


async def test_a_broken_write_closes_the_outbox_and_reading_goes_on(start, autojump_clock):
    to_them, their_in = memory_stream_one_way_pair()
    their_out, to_us = memory_stream_one_way_pair()
    transport, receiver = start(trio.StapledStream(to_them, to_us))
    await their_in.aclose()
    transport.write(b"nobody reads this")
    await receiver.until(lambda: transport.outbox.closed)
    assert (receiver.moved, receiver.ended) == (1, 0)
    await their_out.send_all(b"last words")
    await receiver.until(lambda: receiver.data == b"last words")
    await their_out.aclose()
    await receiver.until(lambda: receiver.ended)
    await transport.aclose()


async def test_broken_write_reports_that_the_peer_left_without_reader(start, autojump_clock):
    """A broken write tells that the peer has left while nobody reads."""
    ours, theirs = memory_stream_pair()
    transport, receiver = start(ours)
    receiver.wanted = False
    await theirs.send_all(b"unread")
    await theirs.aclose()
    await trio.sleep(10)
    assert receiver.departed == 0  # nobody can see that
    transport.write(b"hello?")
    await receiver.until(lambda: receiver.departed)
    receiver.wanted = True
    transport.resume()
    await receiver.until(lambda: receiver.ended)
    assert (receiver.data, receiver.departed) == (b"unread", 1)
    await transport.aclose()


async def test_after_close_the_receiver_hears_nothing_more(start, autojump_clock):
    ours, theirs = memory_stream_pair()
    transport, receiver = start(ours)
    await trio.sleep(1)
    transport.close()
    transport.close()
    transport.write(b"too late")
    await trio.sleep(10)
    with pytest.raises(trio.BrokenResourceError):
        await theirs.send_all(b"data")
    assert (receiver.data, receiver.ended, receiver.moved) == (b"", 0, 0)
    await transport.aclose()


async def test_close_ends_the_network_connection_without_waiting_task(start, autojump_clock):
    """Close ends the network connection though nobody waits for it."""
    ours, theirs = memory_stream_pair()
    transport, _ = start(ours)
    await trio.sleep(1)
    transport.close()
    assert await theirs.receive_some(1) == b""


@pytest.mark.parametrize("when", ["reading", "writing"])
async def test_a_receiver_that_raises_loses_its_own_connection_only(start, when, caplog, autojump_clock):
    def fail() -> None:
        raise MemoryError

    ours, theirs = memory_stream_pair()
    transport, receiver = start(ours)
    if when == "reading":
        receiver.on_data = receiver.on_ended = fail
        await theirs.send_all(b"data")
    else:
        receiver.outbox_moved = fail
        transport.write(b"data")
        assert await received(theirs, 4) == b"data"
    await receiver.until(lambda: receiver.ended == 1)
    assert await theirs.receive_some(1) == b""
    (record,) = caplog.records
    assert [type(error) for error in record.exc_info[1].exceptions] == [MemoryError]


async def test_one_that_was_never_started_can_be_closed(autojump_clock):
    ours, theirs = memory_stream_pair()
    await StreamTransport(ours, HIGH_WATER).aclose()
    assert await theirs.receive_some(1) == b""


async def test_its_tasks_outlive_the_cancellation_around_them(start, autojump_clock):
    """Goodbyes are said while what is around is cancelled already."""
    ours, theirs = memory_stream_pair()
    async with trio.open_nursery() as nursery:
        transport, _ = start(ours, nursery)
        nursery.cancel_scope.cancel()
        transport.write(b"goodbye")
        with trio.CancelScope(shield=True):
            assert await received(theirs, 7) == b"goodbye"
        await transport.aclose()


class Stuck(CannotHalfClose):
    """A stream whose `aclose` waits for ever, and hangs up when it is cancelled."""

    closed = False

    async def aclose(self):
        try:
            await trio.sleep_forever()
        finally:
            self.closed = True


async def test_closing_takes_a_bounded_time_and_ignores_cancellation(start, autojump_clock):
    stream = Stuck(memory_stream_pair()[0])
    transport, _ = start(stream)
    start_time = trio.current_time()
    with trio.CancelScope() as scope:
        scope.cancel()
        await transport.aclose()
    assert trio.current_time() - start_time == CLOSE_NOTIFY_TIMEOUT
    assert stream.closed


async def test_after_a_broken_write_there_is_nobody_to_say_goodbye_to(start, autojump_clock):
    ours, theirs = memory_stream_pair()
    stream = Stuck(ours)
    transport, receiver = start(stream)
    await theirs.aclose()
    transport.write(b"hello?")
    await receiver.until(lambda: transport.outbox.closed)
    start_time = trio.current_time()
    await transport.aclose()
    assert trio.current_time() == start_time
    assert stream.closed


class Rude(CannotHalfClose):
    async def aclose(self):
        await trio.aclose_forcefully(self._stream)
        raise trio.BrokenResourceError


async def test_a_stream_that_breaks_while_it_is_closed_is_closed(start, autojump_clock):
    transport, _ = start(Rude(memory_stream_pair()[0]))
    await transport.aclose()


# --- sockets, in real time ---


async def socket_pair() -> tuple[trio.SocketStream, trio.SocketStream]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        theirs = await trio.open_tcp_stream(*listener.getsockname())
        ours, _ = listener.accept()
    ours.setblocking(False)
    return trio.SocketStream(trio.socket.from_stdlib_socket(ours)), theirs


async def leave_gently(peer: trio.SocketStream) -> None:
    await peer.send_eof()


async def reset(peer: trio.SocketStream) -> None:
    peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    await peer.aclose()


@pytest.mark.skipif(not module._RDHUP, reason="this platform cannot tell")
@pytest.mark.parametrize("leave", [leave_gently, reset])
async def test_on_a_socket_the_peers_end_is_seen_behind_unread_data(start, leave, monkeypatch):
    monkeypatch.setattr(module, "CHECK_INTERVAL", 0.01)
    ours, theirs = await socket_pair()
    transport, receiver = start(ours)
    receiver.wanted = False
    await theirs.send_all(b"unread")
    await receiver.until(lambda: receiver.asked >= 3)  # it looks again and again
    assert receiver.departed == 0
    await leave(theirs)
    await receiver.until(lambda: receiver.departed)
    receiver.wanted = True
    transport.resume()
    await receiver.until(lambda: receiver.ended)
    assert receiver.departed == 1
    await transport.aclose()
    await theirs.aclose()


async def test_peer_end_is_seen_at_next_read_if_platform_cannot_report(start, monkeypatch):
    """Where the platform cannot tell the end is seen when reading goes on."""
    monkeypatch.setattr(module, "_RDHUP", 0)
    ours, theirs = await socket_pair()
    transport, receiver = start(ours)
    receiver.wanted = False
    await theirs.aclose()
    await trio.testing.wait_all_tasks_blocked(0.01)
    assert receiver.departed == 0
    receiver.wanted = True
    transport.resume()
    await receiver.until(lambda: receiver.ended)
    await transport.aclose()


async def test_a_reset_is_the_end(start):
    ours, theirs = await socket_pair()
    transport, receiver = start(ours)
    await reset(theirs)
    await receiver.until(lambda: receiver.ended)
    await transport.aclose()


# --- TLS ---


@pytest.fixture
async def tls(server_tls, client_tls):
    """Our end of a TLS connection, not shaken hands yet, and the peer's."""
    ours, theirs = await socket_pair()
    server = trio.SSLStream(ours, server_tls, server_side=True, https_compatible=True)
    client = trio.SSLStream(theirs, client_tls, server_hostname="localhost", https_compatible=True)
    yield server, client
    await trio.aclose_forcefully(client)


async def test_over_tls_bytes_pass_both_ways_and_the_end_is_announced(tls, start):
    server, client = tls
    transport, receiver = start(server)
    transport.write(b"hello")
    assert await received(client, 5) == b"hello"
    await client.send_all(b"hi")
    await receiver.until(lambda: receiver.data == b"hi")
    with trio.fail_after(5):
        async with trio.open_nursery() as inner:
            inner.start_soon(transport.aclose)
            assert await client.receive_some(1) == b""


async def test_over_tls_finish_half_closes_the_tcp_below(tls, start):
    server, client = tls
    transport, receiver = start(server)
    await client.do_handshake()
    transport.write(b"bye")
    transport.finish()
    assert await received(client, 3) == b"bye"
    with trio.fail_after(5):
        assert await client.receive_some(1) == b""  # https_compatible: the end of TCP is the end
    await client.transport_stream.send_all(b"no TLS record, but it arrives")
    await receiver.until(lambda: receiver.ended)
    await transport.aclose()


@pytest.mark.skipif(not module._RDHUP, reason="this platform cannot tell")
async def test_over_tls_the_peers_end_is_seen_behind_unread_data(tls, start, monkeypatch):
    monkeypatch.setattr(module, "CHECK_INTERVAL", 0.01)
    server, client = tls
    transport, receiver = start(server)
    await client.send_all(b"a")
    receiver.wanted = False
    await receiver.until(lambda: receiver.data)
    await client.send_all(b"unread")
    await client.transport_stream.send_eof()
    await receiver.until(lambda: receiver.departed)
    await transport.aclose()


async def test_a_peer_that_does_not_speak_tls_is_gone(start, server_tls, caplog):
    caplog.set_level(logging.DEBUG)
    ours, theirs = await socket_pair()
    transport, receiver = start(trio.SSLStream(ours, server_tls, server_side=True))
    transport.log = ConnectionLog(7, ("192.0.2.1", 5))
    transport.write(b"hello")
    await theirs.send_all(b"GET / HTTP/1.1\r\n\r\n")
    await receiver.until(lambda: receiver.ended)
    (record,) = caplog.records
    assert record.levelno == (logging.INFO if record.tls_error == "HTTP_REQUEST" else logging.DEBUG)
    assert record.getMessage().startswith(f"#7 from 192.0.2.1:5: TLS failed: {record.tls_error}")
    await transport.aclose()
    await theirs.aclose()


async def test_look_waits_some_turns_for_a_step_of_the_handshake(start, server_tls):
    """A deadline takes effect only after that, as the reader may be about to complete the step."""
    ours, theirs = await socket_pair()
    transport, _ = start(trio.SSLStream(ours, server_tls, server_side=True))
    assert [transport.look() for _ in range(module.STEP_TURNS + 2)] == [False] * module.STEP_TURNS + [True] * 2
    await transport.aclose()
    await theirs.aclose()


async def test_a_peer_that_leaves_in_the_handshake_is_gone(start, server_tls, caplog):
    caplog.set_level(logging.DEBUG)
    ours, theirs = await socket_pair()
    transport, receiver = start(trio.SSLStream(ours, server_tls, server_side=True))
    transport.log = ConnectionLog(7, ("192.0.2.1", 5))
    await reset(theirs)
    await receiver.until(lambda: receiver.ended)
    assert caplog.records == []
    await transport.aclose()
    await theirs.aclose()
