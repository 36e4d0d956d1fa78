"""A model of a whole connection: our client against our server, both doing random things, some of them cancelled.

Each side runs a program: tasks that send, one that receives, then an end. What a side's sends have returned for is what
the other side must receive, whole and in that order; what was cancelled must not arrive. Nothing may hang.
"""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Awaitable, Callable, Iterator
from functools import partial
from itertools import cycle
from typing import Any, Literal

import attrs
import pytest
import trio
from hypothesis import Phase, event, given, settings
from hypothesis import strategies as st
from trio.testing import MockClock, lockstep_stream_pair, memory_stream_pair

from trio_ws import Limits, Timeouts, WebSocket, WebSocketDisconnect, open_websocket, serve_websocket
from trio_ws.transport.poller import Poller

TIMES = Timeouts(ping_interval=None, shutdown_grace=0.0, close_timeout=3.0)
FIN = "the end of the program"
VIRTUAL_PATIENCE = 300.0
REAL_PATIENCE = 20.0

# --- programs ---

Kind = Literal["text", "binary", "stream", "ping", "pong", "pause"]


@attrs.frozen
class Step:
    """One thing that a task does.

    `sizes` are the characters or bytes of the message or of its fragments, or the turns of a pause. `cancel` is after
    how many turns it is cancelled.
    """

    kind: Kind
    sizes: tuple[int, ...]
    cancel: int | None


@attrs.frozen
class Listen:
    """How the receiving task takes one message: after a pause, whole or as a stream, perhaps cancelled."""

    pause: int
    stream: bool
    cancel: int | None


@attrs.frozen
class Side:
    senders: tuple[tuple[Step, ...], ...]
    listening: tuple[Listen, ...]
    """Repeated until the end."""
    inbox_messages: int
    inbox_bytes: int
    outbox_bytes: int

    @property
    def limits(self) -> Limits:
        return Limits(inbox_messages=self.inbox_messages, inbox_bytes=self.inbox_bytes, outbox_bytes=self.outbox_bytes)


Ending = Literal["all is said", "client closes", "server closes", "both close", "abort"]


@attrs.frozen
class Program:
    client: Side
    server: Side
    ending: Ending
    compression: bool
    cuts: tuple[int, ...]
    """What the client and the server get from their streams at most, one read after the other."""
    bounded: bool
    """Whether the network keeps nothing."""


CANCEL = st.none() | st.none() | st.integers(0, 12)
SIZE = st.sampled_from([0, 1, 5, 124, 125, 126, 300, 3000]) | st.integers(0, 700)
STEPS = st.one_of(
    st.builds(Step, st.sampled_from(["text", "binary"]), st.tuples(SIZE), CANCEL),
    st.builds(Step, st.sampled_from(["text", "binary"]), st.tuples(SIZE), CANCEL),
    st.builds(Step, st.just("stream"), st.lists(SIZE, max_size=4).map(tuple), st.none() | CANCEL),
    st.builds(Step, st.sampled_from(["ping", "pong"]), st.just(()), CANCEL),
    st.builds(Step, st.just("pause"), st.tuples(st.integers(0, 20)), st.none()),
)
LISTEN = st.builds(Listen, st.sampled_from([0, 0, 0, 1, 5, 40]), st.sampled_from([False, False, True]), CANCEL)
SIDES = st.builds(
    Side,
    senders=st.lists(st.lists(STEPS, max_size=12).map(tuple), min_size=1, max_size=3).map(tuple),
    # The last one waits: a program that only ever cancels would not come to its end.
    listening=st.lists(LISTEN, max_size=6).map(lambda some: (*some, Listen(0, False, None))),
    inbox_messages=st.integers(1, 6),
    inbox_bytes=st.sampled_from([1, 100, 1000, 1 << 20]),
    outbox_bytes=st.sampled_from([1, 100, 1000, 1 << 16]),
)
PROGRAMS = st.builds(
    Program,
    client=SIDES,
    server=SIDES,
    ending=st.sampled_from(["all is said", "all is said", "client closes", "server closes", "both close", "abort"]),
    compression=st.booleans(),
    cuts=st.lists(st.integers(1, 50) | st.just(1 << 16), min_size=1, max_size=5).map(tuple),
    bounded=st.booleans(),
)

# --- running one side ---

Part = tuple[str, Any]
"""("whole", message), or ("part", its beginning) where the receiver was cancelled in the middle of a stream."""


@attrs.define
class Record:
    """What one side has done, and seen."""

    sent: list[Any] = attrs.field(factory=list)
    """Messages for which a send has returned."""
    got: list[Part] = attrs.field(factory=list)
    begun: list[Any] = attrs.field(factory=list)
    """Messages that were begun as streams: the beginning of one that was cut off may arrive, and nothing behind it."""
    cancelled: int = 0
    ended: bool = False
    """Whether somebody was told that the connection has ended."""
    code: int | None = None


async def turns(count: int) -> None:
    for _ in range(count):
        await trio.lowlevel.checkpoint()


async def attempt(nursery: trio.Nursery, act: Callable[[], Awaitable[object]], cancel: int | None) -> bool:
    """Do it, cancel it after some turns; return whether it was cancelled."""
    with trio.CancelScope() as scope:
        if cancel is not None:
            nursery.start_soon(cancel_after, scope, cancel)
        await act()
    return scope.cancelled_caught


async def cancel_after(scope: trio.CancelScope, count: int) -> None:
    await turns(count)
    scope.cancel()


class Player:
    """Plays one side of a program."""

    def __init__(self, name: str, side: Side, ending: Ending, record: Record) -> None:
        self.name = name
        self.side = side
        self.ending = ending
        self.record = record
        self.heard_all = trio.Event()

    async def play(self, ws: WebSocket) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self.listen, ws)
            async with trio.open_nursery() as senders:
                for number, steps in enumerate(self.side.senders):
                    senders.start_soon(self.send, ws, number, steps)
            await self.end(ws)
            await self.heard_all.wait()
            nursery.cancel_scope.cancel()
        self.record.code = ws.close_code

    async def end(self, ws: WebSocket) -> None:
        if self.ending == "abort" and self.name == "client":
            ws.context.channel.closing.abort(1013, "aborted")
        elif self.ending in ("both close", f"{self.name} closes"):
            await ws.ensure_closed(1000, "done")
        elif self.ending == "all is said":
            try:
                await ws.send(FIN)
                self.record.sent.append(FIN)
            except WebSocketDisconnect:
                self.record.ended = True

    # --- sending ---

    async def send(self, ws: WebSocket, number: int, steps: tuple[Step, ...]) -> None:
        async with trio.open_nursery() as nursery:
            for position, step in enumerate(steps):
                label = f"{self.name} {number}.{position} "
                try:
                    cancelled = await attempt(nursery, partial(self.do, ws, step, label), step.cancel)
                except WebSocketDisconnect:
                    self.record.ended = True
                    break
                self.record.cancelled += cancelled

    async def do(self, ws: WebSocket, step: Step, label: str) -> None:
        match step.kind:
            case "pause":
                await turns(step.sizes[0])
            case "ping":
                assert await ws.ping() >= 0
            case "pong":
                await ws.pong(b"unasked")
            case "stream":
                parts = [f"{label}\u00e9" * (size and 1) + "." * size for size in step.sizes]
                message = "".join(parts) if parts else b""
                self.record.begun.append(message)
                await ws.send_stream(slowly(parts))
                self.record.sent.append(message)
            case "text":
                await self.send_one(ws, label + "\u20ac" * step.sizes[0])
            case "binary":
                await self.send_one(ws, label.encode() + bytes(step.sizes[0]))

    async def send_one(self, ws: WebSocket, message: str | bytes) -> None:
        await ws.send(message)
        self.record.sent.append(message)

    # --- receiving ---

    async def listen(self, ws: WebSocket) -> None:
        async with trio.open_nursery() as nursery:
            for how in cycle(self.side.listening):
                await turns(how.pause)
                take = self.take_stream if how.stream else self.take
                try:
                    self.record.cancelled += await attempt(nursery, partial(take, ws), how.cancel)
                except WebSocketDisconnect:
                    self.record.ended = True
                    break
                if self.record.got and is_fin(self.record.got[-1]):
                    break
            self.heard_all.set()
            # A pong may come behind what is left of the last message.
            with contextlib.suppress(WebSocketDisconnect):
                await self.take(ws)

    async def take(self, ws: WebSocket) -> None:
        self.record.got.append(("whole", await ws.receive()))

    async def take_stream(self, ws: WebSocket) -> None:
        parts: list[Any] = []
        whole = False
        try:
            async for part in ws.receive_stream():
                parts.append(part)
            whole = True
        finally:
            if whole or parts:
                joined = type(parts[0])().join(parts) if parts else None
                self.record.got.append(("whole" if whole else "part", joined))


def is_fin(part: Part) -> bool:
    """Whether it is the last message, or the beginning of that: what is left of it is dropped."""
    return isinstance(part[1], str) and part[1] != "" and FIN.startswith(part[1])


async def slowly(parts: list[str]) -> Any:
    for part in parts:
        await turns(2)
        yield part


# --- judging ---


def matches(got: Part, sent: Any) -> bool:
    how, content = got
    if content is None:  # an empty message came as a stream of no parts
        return sent in ("", b"")
    if how == "whole":
        return type(content) is type(sent) and content == sent
    return type(content) is type(sent) and sent.startswith(content)


def check(sender: Record, receiver: Record, *, all_of_it: bool) -> None:
    """What was received is what was sent: all of it, or its beginning."""
    got = list(receiver.got)
    if len(got) > len(sender.sent) and got[-1][0] == "part":
        last = got.pop()
        assert any(matches(last, message) for message in sender.begun)
    for number, part in enumerate(got):
        assert number < len(sender.sent), f"received what was not sent: {part!r:.80}"
        assert matches(part, sender.sent[number]), f"message {number}: {part!r:.80} for {sender.sent[number]!r:.80}"
    if all_of_it:
        assert len(receiver.got) == len(sender.sent), "messages were lost"


def judge(program: Program, client: Record, server: Record) -> None:
    codes = (client.code, server.code)
    event(f"{program.ending}: {codes}")
    event(f"cancelled: {bool(client.cancelled or server.cancelled)}")
    for record in (client, server):
        assert record.code is not None or not record.ended, "told of an end that is none"
    clean = codes == (1000, 1000)
    check(client, server, all_of_it=clean and program.ending in ("all is said", "client closes"))
    check(server, client, all_of_it=clean and program.ending in ("all is said", "server closes"))
    if not clean:
        broken_stream = any(
            step.kind == "stream" and step.cancel is not None
            for side in (program.client, program.server)
            for steps in side.senders
            for step in steps
        )
        assert program.ending == "abort" or broken_stream, f"nobody asked for {codes}"


# --- networks ---


class Cut(trio.abc.HalfCloseableStream):
    """A stream that gives what it has in small pieces."""

    def __init__(self, stream: Any, cuts: tuple[int, ...]) -> None:
        self._stream = stream
        self._cuts: Iterator[int] = cycle(cuts)

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        await self._stream.send_all(data)

    async def wait_send_all_might_not_block(self) -> None:
        await self._stream.wait_send_all_might_not_block()

    async def send_eof(self) -> None:
        await self._stream.send_eof()

    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        return await self._stream.receive_some(min(max_bytes or 65536, next(self._cuts)))

    async def aclose(self) -> None:
        await self._stream.aclose()


class OnePair(trio.abc.Listener[trio.abc.Stream]):
    """A listener that gives one stream."""

    def __init__(self) -> None:
        self._sender, self._receiver = trio.open_memory_channel[trio.abc.Stream](1)

    def give(self, stream: trio.abc.Stream) -> None:
        self._sender.send_nowait(stream)

    async def accept(self) -> trio.abc.Stream:
        return await self._receiver.receive()

    async def aclose(self) -> None:
        self._receiver.close()


def memory(program: Program) -> tuple[Any, Any]:
    ours, theirs = lockstep_stream_pair() if program.bounded else memory_stream_pair()
    return Cut(ours, program.cuts), Cut(theirs, program.cuts)


def sockets(program: Program) -> tuple[Any, Any]:
    pair = socket.socketpair()
    for sock in pair:
        sock.setblocking(False)
        if program.bounded:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
    ours, theirs = (trio.SocketStream(trio.socket.from_stdlib_socket(sock)) for sock in pair)
    return ours, theirs


async def run(program: Program, pair: tuple[Any, Any], *, poller: bool, patience: float) -> tuple[Record, Record]:
    client, server = Record(), Record()
    options: dict[str, Any] = {
        "timeouts": TIMES,
        "poller": poller,
        "compression": program.compression,
        "when_peer_leaves": "finish",
    }
    over = trio.Event()

    async def handler(ws: WebSocket) -> None:
        try:
            await Player("server", program.server, program.ending, server).play(ws)
        finally:
            server.code = ws.close_code
            over.set()

    listener = OnePair()
    listener.give(pair[1])
    with trio.fail_after(patience):
        async with trio.open_nursery() as nursery:
            await nursery.start(
                partial(
                    serve_websocket,
                    handler,
                    listeners=[listener],
                    limits=program.server.limits,
                    strict=True,
                    caught_close_codes=all,
                    **options,
                )
            )
            async with open_websocket(
                "ws://localhost/", stream=pair[0], limits=program.client.limits, caught_close_codes=all, **options
            ) as ws:
                await Player("client", program.client, program.ending, client).play(ws)
                await over.wait()
            client.code = ws.close_code
            nursery.cancel_scope.cancel()
    if program.ending == "all is said" and server.code is None:
        server.code = 1000  # the handler was over before the client's close frame
    return client, server


QUICKLY = settings(phases=set(Phase) - {Phase.explain})  # to explain runs a failing program hundreds of times


@given(PROGRAMS)
@QUICKLY
def test_stream_transport_loses_tears_and_reorders_nothing(program):
    """Nothing is lost torn reordered or left hanging on the stream transport."""

    async def main() -> tuple[Record, Record]:
        return await run(program, memory(program), poller=False, patience=VIRTUAL_PATIENCE)

    judge(program, *trio.run(main, clock=MockClock(autojump_threshold=0)))


@pytest.mark.skipif(not Poller.available(), reason="this platform has no poller")
@given(PROGRAMS)
@settings(QUICKLY, max_examples=settings.default.max_examples // 2)
def test_poller_loses_tears_and_reorders_nothing(program):
    """Nothing is lost torn reordered or left hanging on the poller."""

    async def main() -> tuple[Record, Record]:
        return await run(program, sockets(program), poller=True, patience=REAL_PATIENCE)

    judge(program, *trio.run(main))
