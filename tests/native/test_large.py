"""Large messages that arrive in parts: received into their own buffers, and as the Python code receives them."""

from __future__ import annotations

import os
import select
import tracemalloc
from contextlib import suppress
from itertools import pairwise
from typing import Any, Literal

import pytest
import trio
from hypothesis import example, given
from hypothesis import strategies as st
from support.internals import internal
from support.machine import traced_memory
from trio.testing import wait_all_tasks_blocked

from native.ends import end, masked, start, xored
from trio_ws import Limits
from trio_ws.native.choice import core
from trio_ws.transport.sockets import SocketTransport

pytestmark = pytest.mark.skipif(os.name != "posix" or core is None, reason="the compiled core does not run")

LIMIT = 150_000
"""Bytes of the largest message: some in the tests are larger."""

sizes = st.one_of(st.integers(0, 300), st.integers(900, 9000), st.integers(60_000, LIMIT + 500))
texts = st.sampled_from(["a", "é", "€", "😀", "text: größer"])
broken = st.sampled_from(["\xff", "\xc3", "\xe2\x82", "\xed\xa0\x80", "\xf4\x90", "\xe0\x80", "\xc0\x80"])


@st.composite
def payloads(draw: st.DrawFn) -> tuple[int, bytes]:
    """Opcode and payload of a data frame; some texts have a wrong byte somewhere."""
    size, part = draw(sizes), draw(texts).encode()
    payload = (part * (size // len(part) + 1))[:size]
    if draw(st.booleans()):
        return 0x82, payload
    payload = payload.decode(errors="ignore").encode()
    if draw(st.integers(0, 4)) == 0:
        at = draw(st.integers(0, len(payload)))
        payload = payload[:at] + draw(broken).encode("latin-1") + payload[at:]
    return 0x81, payload


frames = st.lists(st.one_of(payloads(), payloads(), st.just((0x89, b"ping")), st.just((0x8A, b""))), max_size=5)
Action = Literal["receive", "stream", "close"]


def built(frame_list: list[tuple[int, bytes]], *, client: bool) -> bytes:
    """Return frames as the peer sends them."""
    return b"".join(
        start(first, len(payload), mask=not client) + (payload if client else xored(payload))
        for first, payload in frame_list
    )


async def outcome(pieces: list[bytes], action: Action, when: int, *, python: bool, client: bool) -> list[Any]:
    """Send data in pieces; return what came into the inbox, how it ended, and what the peer got."""
    got: list[str | bytes] = []
    seen: list[Any] = []  # after each piece: a wrong byte is found with its part
    async with end(Limits(max_message_size=LIMIT), python=python, client=client) as ours:
        connection = ours.connection
        for number, piece in enumerate(pieces):
            if number == when and action == "close":
                connection.closing.begin_close(3000, "")
            if number == when and action == "stream":
                begun = connection.endpoint.decoder.stream_next()
                if begun is not None:
                    connection.inbox.put(begun, 0)
            left = piece
            while left:
                try:
                    left = left[ours.peer.send(left) :]
                except OSError:  # the connection was closed
                    break
                await wait_all_tasks_blocked()
                while connection.inbox.items:
                    got.append(connection.reader.take())
            seen.append((len(joined(got)), connection.closing.close_info))
        await wait_all_tasks_blocked()
        answers = b""
        with suppress(BlockingIOError):
            answers = ours.peer.recv(1 << 20)
        if client:  # each frame has a key of its own
            answers = bytes(len(answers))
        return [joined(got), seen, answers, internal(connection.endpoint.decoder, "_between")]


def joined(items: list[Any]) -> list[Any]:
    """Return messages, and parts of one as one: where they are cut is the network's."""
    whole: list[Any] = []
    parts: list[Any] | None = None
    for item in items:
        if isinstance(item, str | bytes):
            whole.append(item)
            continue
        if parts is None:
            parts = []
            whole.append(parts)
        parts.append(item.data)
        if item.message_finished:
            whole[-1] = ("whole", parts[0][:0].join(parts))
            parts = None
    return [("cut", each[0][:0].join(each)) if isinstance(each, list) else each for each in whole]


@given(
    frames,
    st.lists(st.integers(0, 400_000), max_size=4),
    st.sampled_from(["receive", "receive", "stream", "close"]),
    st.integers(0, 4),
    st.booleans(),
)
@example([(0x82, b"x" * LIMIT)], [3, 10, 5000, 100_000], "receive", 0, False)
@example([(0x81, "größer".encode() * 9000), (0x89, b"ping")], [20, 70_001, 70_002, 70_003], "receive", 0, False)
@example([(0x81, b"a" * 90_000 + b"\xed\xa0\x80")], [20, 70_000, 90_009, 90_012], "receive", 0, False)
@example([(0x82, b"x" * 100_000), (0x82, b"y" * 100_000)], [5000, 50_000, 120_000], "stream", 2, False)
@example([(0x82, b"x" * 100_000), (0x88, b"")], [5000, 50_000], "close", 1, False)
def test_native_parts_are_what_python_makes_of_them(
    frame_list: list[tuple[int, bytes]], cuts: list[int], action: Action, when: int, client: bool
) -> None:
    data = built(frame_list, client=client)
    places = sorted(min(cut, len(data)) for cut in cuts)
    pieces = [data[begin:after] for begin, after in pairwise([0, *places, len(data)])]

    async def both() -> None:
        ours = await outcome(pieces, action, when, python=False, client=client)
        assert ours == await outcome(pieces, action, when, python=True, client=client)

    trio.run(both)


async def test_native_a_header_alone_reserves_no_memory() -> None:
    async with end(Limits(max_message_size=16 * 1024 * 1024)) as ours:
        ours.sends("begin")
        await wait_all_tasks_blocked()
        with traced_memory():
            ours.peer.send(start(0x82, 16 * 1024 * 1024))
            await wait_all_tasks_blocked()
            held, peak = tracemalloc.get_traced_memory()
            assert peak < 40_000
            for _ in range(30):  # a byte at a time reserves no more
                ours.peer.send(b"x")
                await wait_all_tasks_blocked()
            assert tracemalloc.get_traced_memory()[0] < 40_000
            sent = 0
            while sent < 1_000_000:
                sent += ours.peer.send(bytes(100_000))
                await wait_all_tasks_blocked()
                held, _ = tracemalloc.get_traced_memory()
                assert held < 5 * sent + 40_000
            assert held > sent
            ours.connection.transport.close()
            ours.connection.endpoint.decoder.release()
            assert tracemalloc.get_traced_memory()[0] < 40_000


@pytest.mark.skipif(not hasattr(select, "epoll"), reason="the core reads with epoll")
async def test_native_a_turn_reads_no_more_than_the_buffer() -> None:
    """A message's own buffer has room for more, and more has arrived."""
    async with end() as ours:
        reader, decoder = ours.connection.reader, ours.connection.endpoint.decoder
        transport: SocketTransport = ours.connection.transport
        fd = internal(transport, "_fd")
        epoll = select.epoll()
        epoll.register(fd, select.EPOLLIN)
        buffer = memoryview(bytearray(8192))
        ours.peer.send(start(0x82, 1_000_000) + bytes(100_000))
        for turn in range(1, 5):
            count, _, unfinished = core.poll(epoll.fileno(), 10, [*[None] * fd, transport], buffer, 0.0)
            assert (count, unfinished) == (1, [])
            assert len(internal(decoder, "_partial").take()[3]) == turn * 8192 - 14
        assert not reader.inbox.items
        epoll.close()


@pytest.mark.parametrize("size", [1500, 70_000])
async def test_native_a_message_is_there_with_its_last_byte(size: int) -> None:
    async with end() as ours:
        data = masked(b"x" * size) + masked("next")
        ours.peer.send(data[: size // 2])
        await wait_all_tasks_blocked()
        assert internal(ours.connection.endpoint.decoder, "_partial") is not None
        ours.peer.send(data[size // 2 :])
        assert await ours.ws.receive() == b"x" * size
        assert await ours.ws.receive() == "next"
        assert internal(ours.connection.endpoint.decoder, "_partial") is None
