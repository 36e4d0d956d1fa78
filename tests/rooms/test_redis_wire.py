"""The connection for calls and notifications: what it sends and reads, without a Redis."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

import anyio
import pytest
import trio
from coredis.exceptions import AuthorizationError, ResponseError
from coredis.parser import Parser
from trio.testing import wait_all_tasks_blocked

from trio_ws import BackplaneRefused
from trio_ws.rooms.redis.channels import Channels
from trio_ws.rooms.redis.wire import Wire, open_wire, packed


class MemoryStream:
    """What anyio's streams are to a wire that is encrypted."""

    def __init__(self) -> None:
        self.sent: list[bytes] = []
        self._give, self._take = trio.open_memory_channel[bytes](10)

    async def send(self, data: bytes) -> None:
        await trio.lowlevel.checkpoint()
        self.sent.append(data)

    async def receive(self) -> bytes:
        return await self._take.receive()

    def give(self, data: bytes) -> None:
        self._give.send_nowait(data)


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    theirs.setblocking(False)
    with ours, theirs:
        yield ours, theirs


def test_words_are_packed_as_redis_reads_them() -> None:
    assert packed((b"SET", "\N{SNOWMAN}", 7, b"")) == b"*4\r\n$3\r\nSET\r\n$3\r\n\xe2\x98\x83\r\n$1\r\n7\r\n$0\r\n\r\n"


@pytest.mark.parametrize("word", [object(), None, 1.5])
def test_word_that_is_no_text_is_refused(word) -> None:
    with pytest.raises(TypeError):
        packed((word,))


async def test_answers_and_notifications_reach_their_functions(pair) -> None:
    ours, theirs = pair
    wire, answers, pushed = Wire(None, ours, Parser(), 60), list[Any](), list[Any]()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(wire.run, pushed.append)
        wire.send(b"one two", (answers.append, lambda answer: answers.append((2, answer))))
        assert theirs.recv(100) == b"one two", "at once, without a task"
        theirs.send(b"+a\r\n>3\r\n$7\r\nmessage\r\n$1\r\nc\r\n$1\r\nd\r\n-ERR")
        with trio.fail_after(10):
            while not pushed:
                await trio.sleep(0.001)
            theirs.send(b" no\r\n")
            while len(answers) < 2:
                await trio.sleep(0.001)
        nursery.cancel_scope.cancel()
    assert answers[0] == b"a"
    assert isinstance(answers[1][1], ResponseError)
    assert pushed == [[b"message", b"c", b"d"]]


async def test_bytes_beyond_the_sockets_buffer_are_sent_in_order(pair) -> None:
    ours, theirs = pair
    wire, received = Wire(None, ours, Parser(), 60), bytearray()
    ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
    pieces = [bytes([index]) * 100_000 for index in range(5)]
    async with trio.open_nursery() as nursery:
        nursery.start_soon(wire.run, lambda _: None)
        for piece in pieces:
            wire.send(piece, (lambda _: None,))
        with trio.fail_after(20):
            while len(received) < 500_000:
                await trio.lowlevel.wait_readable(theirs)
                received += theirs.recv(65536)
        nursery.cancel_scope.cancel()
    assert bytes(received) == b"".join(pieces)


async def test_stream_that_is_encrypted_is_written_by_a_task(autojump_clock) -> None:
    stream, answers = MemoryStream(), list[Any]()
    wire = Wire(stream, None, Parser(), 60)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(wire.run, lambda _: None)
        wire.send(b"a", (answers.append,))
        wire.send(b"b", (answers.append,))
        await wait_all_tasks_blocked()
        stream.give(b"+1\r\n+2\r\n")
        await wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
    assert b"".join(stream.sent) == b"ab"
    assert answers == [b"1", b"2"]


async def test_end_of_the_connection_ends_the_wire(pair) -> None:
    ours, theirs = pair
    theirs.close()
    wire = Wire(None, ours, Parser(), 60)
    wire.send(b"lost", (lambda _: None,))
    with pytest.raises(ExceptionGroup) as caught:
        await wire.run(lambda _: None)
    assert caught.group_contains(OSError)


async def test_socket_that_coredis_closes_ends_the_wire(pair) -> None:
    """As it does with all connections when Sentinel names another primary."""
    ours, _theirs = pair
    wire = Wire(None, ours, Parser(), 60)

    async def close_it() -> None:
        await wait_all_tasks_blocked()
        trio.lowlevel.notify_closing(ours)
        ours.close()

    with pytest.raises(ExceptionGroup) as caught:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(close_it)
            nursery.start_soon(wire.run, lambda _: None)
    assert caught.group_contains(ConnectionResetError)


@pytest.mark.parametrize("error", [anyio.EndOfStream, anyio.ClosedResourceError, anyio.BrokenResourceError])
@pytest.mark.parametrize("half", ["receive", "send"])
async def test_end_of_an_encrypted_stream_is_a_lost_connection(autojump_clock, monkeypatch, error, half) -> None:
    async def fail(*_: object) -> None:
        raise error

    stream = MemoryStream()
    monkeypatch.setattr(stream, half, fail)
    wire = Wire(stream, None, Parser(), 60)
    wire.send(b"call", (lambda _: None,))
    with pytest.raises(ExceptionGroup) as caught:
        await wire.run(lambda _: None)
    assert caught.group_contains(ConnectionResetError)


async def test_subscription_that_is_refused_ends_the_wire(autojump_clock) -> None:
    """Its error is not taken for the answer to the call behind it."""
    stream, answers = MemoryStream(), list[Any]()
    wire = Wire(stream, None, Parser(), 60)
    wire.subscribe((b"SUBSCRIBE", b"c"))
    wire.send(b"call", (answers.append,))
    stream.give(b">3\r\n$9\r\nsubscribe\r\n$1\r\nc\r\n:1\r\n+PONG\r\n+answer\r\n")
    with trio.move_on_after(1):
        await wire.run(lambda _: None)
    assert answers == [b"answer"]
    wire.subscribe((b"SUBSCRIBE", b"d"))
    wire.send(b"call", (answers.append,))
    stream.give(b"-NOPERM not that\r\n+PONG\r\n+answer\r\n")
    with pytest.raises(ExceptionGroup) as caught:
        await wire.run(lambda _: None)
    assert caught.group_contains(AuthorizationError)
    assert answers == [b"answer"]


async def test_call_without_an_answer_ends_the_wire_after_its_time(autojump_clock) -> None:
    stream = MemoryStream()
    wire, start = Wire(stream, None, Parser(), 5), trio.current_time()

    async def call_later() -> None:
        await trio.sleep(3)
        wire.send(b"call", (lambda _: None,))

    with pytest.raises(ExceptionGroup) as caught:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(call_later)
            nursery.start_soon(wire.run, lambda _: None)
    assert caught.group_contains(trio.TooSlowError)
    assert trio.current_time() - start == pytest.approx(8)


async def test_silent_redis_is_asked_for_a_sign_of_life(autojump_clock) -> None:
    stream, start = MemoryStream(), trio.current_time()
    wire = Wire(stream, None, Parser(), 5)

    async def answer_once() -> None:
        while not stream.sent:
            await trio.sleep(0.1)
        stream.give(b"+PONG\r\n")

    with pytest.raises(ExceptionGroup) as caught:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(answer_once)
            nursery.start_soon(wire.run, lambda _: None)
    assert caught.group_contains(trio.TooSlowError)
    assert stream.sent == [packed((b"PING",))] * 2
    assert trio.current_time() - start == pytest.approx(20, abs=6)


async def test_last_answer_is_read_though_nothing_can_be_sent(autojump_clock, monkeypatch) -> None:
    """Redis refuses a text by its size, and ends the connection while we still send it."""

    failed, answers = trio.Event(), list[Any]()
    received = iter([b"-ERR Protocol error: invalid bulk length\r\n"])

    async def fail(_: bytes) -> None:
        failed.set()
        raise anyio.BrokenResourceError

    async def receive() -> bytes:
        await failed.wait()
        await trio.lowlevel.checkpoint()  # as decryption may take
        for data in received:
            return data
        raise anyio.EndOfStream

    stream = MemoryStream()
    monkeypatch.setattr(stream, "send", fail)
    monkeypatch.setattr(stream, "receive", receive)
    wire = Wire(stream, None, Parser(), 60)
    wire.send(b"large", (answers.append,))
    with pytest.raises(ExceptionGroup) as caught:
        await wire.run(lambda _: None)
    assert caught.group_contains(ConnectionResetError)
    assert [str(answer) for answer in answers] == ["Protocol error: invalid bulk length"]


async def test_answer_to_nothing_ends_the_wire_as_a_lost_connection(autojump_clock) -> None:
    stream = MemoryStream()
    stream.give(b"+what\r\n")
    with pytest.raises(ExceptionGroup) as caught:
        await Wire(stream, None, Parser(), 60).run(lambda _: None)
    assert caught.group_contains(ConnectionResetError, match="not asked: b'what'")


async def test_push_of_another_kind_is_no_acknowledgement(autojump_clock) -> None:
    stream, messages = MemoryStream(), list[Any]()
    channels = Channels(Wire(stream, None, Parser(), 60), 60)
    stream.give(b">2\r\n+invalidate\r\n_\r\n>4\r\n+pmessage\r\n+p*\r\n+p\r\n+d\r\n>3\r\n+message\r\n+c\r\n+d\r\n")
    with trio.move_on_after(1):
        await channels.listen(lambda *message: messages.append(message))
    assert messages == [(b"c", b"d")]


@pytest.mark.parametrize(("last", "commands"), [(1024, 1), (1025, 2), (100 * 1024, 2)])
async def test_names_of_one_command_have_64_kib_at_most(last: int, commands: int) -> None:
    stream = MemoryStream()
    channels = Channels(Wire(stream, None, Parser(), 60), 60)
    names = [b"%04d" % number * 256 for number in range(63)] + [b"x" * last]
    async with trio.open_nursery() as nursery:
        nursery.start_soon(channels.listen, lambda *_: None)
        nursery.start_soon(channels.subscribe, *names)
        await wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
    sent = b"".join(stream.sent)
    assert sent.count(b"SUBSCRIBE") == commands
    assert all(name in sent for name in names)


async def test_busy_wire_holds_nothing_that_is_parsed(autojump_clock) -> None:
    """Also if each read ends within a notification."""
    stream, parser, messages = MemoryStream(), Parser(), list[bytes]()
    frames = [b">3\r\n+message\r\n+c\r\n$10000\r\n%b\r\n" % (b"%04d!" % number * 2000) for number in range(400)]
    data, most = b"".join(frames), 0
    async with trio.open_nursery() as nursery:
        nursery.start_soon(Wire(stream, None, parser, 60).run, lambda pushed: messages.append(pushed[2]))
        for start in range(0, len(data), 70_001):
            stream.give(data[start : start + 70_001])
            await wait_all_tasks_blocked()
            most = max(most, len(parser.localbuffer.getvalue()))
        nursery.cancel_scope.cancel()
    assert [message[:5] for message in messages] == [b"%04d!" % number for number in range(400)]
    assert {len(message) for message in messages} == {10_000}
    assert most < 1_500_000


class HesitantSocket:
    """A socket that the kernel calls writable, and does not write to at first."""

    def __init__(self, real: socket.socket) -> None:
        self._real = real
        self.tries = 0

    def fileno(self) -> int:
        return self._real.fileno()

    def send(self, data: bytes | bytearray) -> int:
        self.tries += 1
        if self.tries <= 2:
            raise BlockingIOError
        return self._real.send(data)

    def recv(self, size: int) -> bytes:
        return self._real.recv(size)


async def test_socket_that_takes_nothing_after_all_is_tried_again(pair) -> None:
    ours, theirs = pair
    hesitant = HesitantSocket(ours)
    wire = Wire(None, hesitant, Parser(), 60)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(wire.run, lambda _: None)
        wire.send(b"call", (lambda _: None,))
        with trio.fail_after(10):
            await trio.lowlevel.wait_readable(theirs)
        nursery.cancel_scope.cancel()
    assert (theirs.recv(100), hesitant.tries) == (b"call", 3)


class ForeignClient:
    """What a coredis would be that reads on from its stream, or that never answers."""

    decode_responses = False

    def __init__(self, *, answers: bool) -> None:
        self.connection_pool = self
        self.connection_kwargs: dict[str, object] = {}
        self.invalidated = False
        self._answers = answers

    @asynccontextmanager
    async def acquire(self) -> AsyncIterator[ForeignClient]:
        self.stream: object = MemoryStream()
        yield self

    async def create_request(self, _: bytes) -> bytes:
        await trio.sleep(0 if self._answers else 3600)
        return b"PONG"

    def invalidate(self) -> None:
        self.invalidated = True


@pytest.mark.parametrize(("answers", "error"), [(True, BackplaneRefused), (False, trio.TooSlowError)])
async def test_connection_that_cannot_be_taken_over_is_refused(autojump_clock, answers, error) -> None:
    client = ForeignClient(answers=answers)
    with pytest.raises(error):
        async with open_wire(client, 5):
            pytest.fail("two read from it")
    assert client.invalidated
