"""One connection to Redis for calls and for what it pushes, read and written by one task.

coredis makes the connection: it dials, encrypts, authenticates, and parses what Redis sends. In between, a message and
its answer crossed three of its tasks and two of its queues. Here both are on one connection, so a message that comes
back to its own process arrives with the answer, and one read has both.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Any, Final, Protocol, TypeAlias

import trio

from trio_ws.errors import BackplaneRefused
from trio_ws.runtime.wakeup import AutoResetEvent

if TYPE_CHECKING:
    from trio_ws.rooms.redis.client import Client

__all__ = ["AnswerHandler", "PushHandler", "Wire", "open_wire", "packed", "packed_words"]

_READ: Final = 64 * 1024
"""Bytes that are read at once: with more, the C library asks the kernel for the memory of each read."""
_PARSED: Final = 1024 * 1024
"""Bytes that are parsed and held, at most, beside one read."""
_PING: Final = (b"PING",)
_TAKE_OVER: Final = 1.0
"""Seconds in which coredis reads the stream that it is given; it does so at once."""
_LAST_ANSWERS: Final = 0.2
"""Seconds to read on when nothing can be sent any more: Redis says why it ends a connection."""

AnswerHandler: TypeAlias = Callable[[Any], None]
"""Called with the answer to a call, which may be an exception of coredis. It neither waits nor raises."""
PushHandler: TypeAlias = "Callable[[list[Any]], None]"
"""Called with what Redis pushes. It neither waits nor raises."""


def packed(words: Sequence[str | bytes | int]) -> bytes:
    """Return a command as Redis reads it (RESP, an array of bulk strings)."""
    return b"*%d\r\n%b" % (len(words), packed_words(words))


def packed_words(words: Sequence[str | bytes | int]) -> bytes:
    """Return a part of a command as Redis reads it.

    Raises:
        TypeError: one of them is something else.
    """
    parts: list[bytes] = []
    for word in words:
        if isinstance(word, int):
            data = b"%d" % word
        elif isinstance(word, str):
            data = word.encode()
        else:
            data = word
        parts.append(b"$%d\r\n%b\r\n" % (len(data), data))
    return b"".join(parts)


class RawSocket(Protocol):
    """A socket that does not block, as Python has it."""

    def fileno(self) -> int:
        """Return its descriptor."""

    def send(self, data: bytes | bytearray, /) -> int:
        """Send some of the bytes, and return how many."""

    def recv(self, size: int, /) -> bytes:
        """Return some bytes; none at the end."""


class Wire:
    """Calls in order, each with a function for its answer.

    Args:
        stream: the stream of a connection of coredis that nothing else uses.
        raw: its socket if bytes go through it as they are, else None.
        parser: a parser of coredis.
        seconds: how long an answer may take, and how long Redis may be silent.
    """

    def __init__(self, stream: Any, raw: RawSocket | None, parser: Any, seconds: float) -> None:
        self._stream = stream
        self._raw = raw
        self._parser = parser
        self._seconds = seconds
        self._expected: deque[tuple[float, AnswerHandler]] = deque()  # and until when
        self._unsent: bytearray = bytearray()
        self._wakeup = AutoResetEvent()
        self._is_alive = False

    def subscribe(self, words: Sequence[bytes]) -> None:
        """Send a command that is answered by what is pushed, or by an error, which breaks the connection."""
        self.send(
            packed(words) + packed(_PING), (_refuse, _ignore)
        )  # the answer behind it shows that there was no error

    def send(self, data: bytes, handlers: Sequence[AnswerHandler]) -> None:
        """Send commands, at once if the socket takes them.

        Args:
            data: the commands.
            handlers: functions for their answers.
        """
        until = trio.current_time() + self._seconds
        self._expected.extend([(until, handler) for handler in handlers])
        if self._raw is not None and not self._unsent:
            try:
                sent = self._raw.send(data)
            except OSError:  # the socket is full, or broken: the tasks that wait for it get that error
                sent = 0
            if sent == len(data):
                return
            data = data[sent:]
        self._unsent += data
        self._wakeup.wake()

    async def run(self, on_push: PushHandler) -> None:
        """Receive answers and what is pushed, until the connection breaks.

        Raises:
            trio.TooSlowError: an answer takes too long.
            Exception: the connection broke.
        """
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._check_life)
            nursery.start_soon(self._until_lost, self._write)
            await self._until_lost(self._read, on_push)

    async def _until_lost(self, work: Callable[..., Awaitable[None]], *arguments: Any) -> None:
        """Run one half, with an error of the network for each way in which a stream ends."""
        import anyio  # noqa: PLC0415 - coredis uses it

        ends = (
            trio.ClosedResourceError,  # coredis has ended the connection, as there is another primary
            anyio.ClosedResourceError,
            anyio.BrokenResourceError,
            anyio.EndOfStream,
        )
        try:
            await work(*arguments)
        except ends as error:
            raise ConnectionResetError("the connection to Redis has ended") from error

    async def _read(self, on_push: PushHandler) -> None:
        from coredis.constants.resp import DataType  # noqa: PLC0415 - an extra
        from coredis.parser import NotEnoughData  # noqa: PLC0415

        parser, expected = self._parser, self._expected
        while True:
            parser.feed(await self._receive())
            self._is_alive = True
            while not isinstance(found := parser.parse(), NotEnoughData):
                kind, value = found
                if kind is DataType.PUSH:
                    on_push(value)
                    continue
                if not expected:
                    raise ConnectionResetError(f"Redis answers what was not asked: {value!r:.80}")
                _, on_answer = expected.popleft()
                if on_answer is _refuse:
                    _refuse(value)
                    _, on_answer = expected.popleft()  # there was none: it is that to the next one
                on_answer(value)
            _forget_parsed(parser)

    async def _receive(self) -> bytes:
        if self._raw is None:
            data: bytes = await self._stream.receive()
            return data
        await trio.lowlevel.wait_readable(self._raw)
        try:
            data = self._raw.recv(_READ)
        except BlockingIOError:  # another one had read it
            return b""
        if not data:
            raise ConnectionResetError("Redis has closed the connection")
        return data

    async def _write(self) -> None:
        while True:
            if not self._unsent:
                await self._wakeup.sleep()
                continue
            try:
                await self._send_some()
            except Exception:
                await trio.sleep(_LAST_ANSWERS)  # `_read` ends before that, if the connection is over
                raise

    async def _send_some(self) -> None:
        if self._raw is None:
            data, self._unsent = bytes(self._unsent), bytearray()
            await self._stream.send(data)
            return
        await trio.lowlevel.wait_writable(self._raw)
        with suppress(BlockingIOError):  # the kernel has no memory just now
            del self._unsent[: self._raw.send(self._unsent)]

    async def _check_life(self) -> None:
        """Fail if an answer takes too long; ask for one where Redis is silent and none is expected."""
        while True:
            self._is_alive = False
            if not self._expected:
                await trio.sleep(self._seconds)
                if not (self._is_alive or self._expected):
                    self.send(packed(_PING), (_ignore,))
                continue
            first = self._expected[0]
            await trio.sleep_until(first[0])
            await trio.lowlevel.checkpoint()  # the answer may be there: this process may have been stopped
            if self._expected and self._expected[0] is first:
                raise trio.TooSlowError(f"Redis has not answered for {self._seconds:g} s (command_timeout)")


def _forget_parsed(parser: Any) -> None:
    """Let a parser drop what it has parsed: coredis's keeps all until a read ends between two answers."""
    if getattr(parser, "bytes_read", 0) < _PARSED:
        return
    buffer = parser.localbuffer
    buffer.seek(parser.bytes_read)
    rest = buffer.read()
    buffer.seek(0)
    buffer.truncate()
    buffer.write(rest)
    parser.bytes_read, parser.bytes_written = 0, len(rest)


def _refuse(answer: object) -> None:
    """Take the answer to a command that has none but an error."""
    if isinstance(answer, Exception):
        raise answer


def _ignore(_: object) -> None:
    """Take an answer that needs nothing done."""


class _Taken:
    """A stream without data, which coredis reads in place of its own."""

    def __init__(self, stream: Any, pause: float) -> None:
        self.is_read: trio.Event = trio.Event()
        self._stream = stream
        self._pause = pause

    async def receive(self) -> bytes:
        self.is_read.set()
        await trio.sleep(self._pause)
        return b""

    async def send(self, data: bytes) -> None:
        await self._stream.send(data)


@asynccontextmanager
async def open_wire(client: Client, seconds: float) -> AsyncGenerator[Wire, None]:
    """Take a connection of a client within a block.

    Args:
        client: has the connection.
        seconds: as of `Wire`.

    Raises:
        ValueError: the client decodes what it reads.
        BackplaneRefused: coredis does not hand its connection over, as a later version may not.
        trio.TooSlowError: there is no connection, or Redis does not answer.
    """
    from anyio.abc import SocketAttribute, SocketStream  # noqa: PLC0415 - coredis uses it
    from coredis.parser import Parser  # noqa: PLC0415

    pool = client.connection_pool
    if client.decode_responses:
        raise ValueError(
            "the backplane needs a client of coredis that leaves bytes as they are: decode_responses=False"
        )
    with trio.fail_after(2 * seconds) as scope:
        async with pool.acquire() as connection:
            try:
                stream = connection.stream
                pause = (pool.connection_kwargs.get("max_idle_time") or math.inf) / 2
                await _take_over(connection, _Taken(stream, pause))
                scope.deadline = math.inf
                raw = stream.extra(SocketAttribute.raw_socket) if isinstance(stream, SocketStream) else None
                yield Wire(stream, raw, Parser(), seconds)
            finally:
                connection.invalidate()


async def _take_over(connection: Any, taken: _Taken) -> None:
    """Let coredis read another stream."""
    connection.stream = taken
    await connection.create_request(b"PING")  # its task reads the new stream from then on
    with trio.move_on_after(_TAKE_OVER):
        await taken.is_read.wait()
    if taken.is_read.is_set():
        return
    import coredis  # noqa: PLC0415 - an extra

    raise BackplaneRefused(f"coredis {coredis.__version__} does not hand its connection over: install 6.9 of it")
