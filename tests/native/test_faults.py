"""The fused path over a socket pair, while system calls are cut short, interrupted, refused and reset.

The core of `make sanitize` lets tests say how system calls fail; other builds run the same without faults.
"""

from __future__ import annotations

import errno
import os
import socket

import pytest
import trio
from hypothesis import example, given
from hypothesis import strategies as st
from trio.testing import wait_all_tasks_blocked

from native.ends import end, masked
from trio_ws.connection.prepared import PreparedMessage
from trio_ws.native.choice import core

pytestmark = pytest.mark.skipif(os.name != "posix" or core is None, reason="the compiled core does not run")

HARMLESS = st.one_of(
    st.integers(1, 20),
    st.integers(1, 100_000),
    st.sampled_from([-errno.EAGAIN, -errno.EINTR, -errno.EWOULDBLOCK]),
)
MESSAGES = st.lists(
    st.one_of(
        st.text(max_size=20), st.binary(max_size=200), st.sampled_from(["x" * 3000, b"y" * 40_000, "ä" * 30_000])
    ),
    max_size=12,
)


def script(faults: list[int]) -> None:
    if hasattr(core, "script_faults"):
        core.script_faults(faults)


def frame(message: str | bytes) -> bytes:
    """Return a server's frame."""
    payload = message.encode() if isinstance(message, str) else message
    size = bytes([len(payload)]) if len(payload) < 126 else b"\x7e" + len(payload).to_bytes(2)
    return bytes([0x81 if isinstance(message, str) else 0x82]) + size + payload


async def echoed(messages: list[str | bytes], cuts: list[int], faults: list[int]) -> bytes:
    """Send messages in parts, echo each, and return what the peer got."""
    got = bytearray()
    script(faults)
    async with end() as ours:

        async def read() -> None:
            while True:
                await trio.lowlevel.wait_readable(ours.peer)
                got.extend(ours.peer.recv(1 << 20))

        async def echo() -> None:
            for message in messages:
                assert await ours.ws.receive() == message
                await ours.ws.send(message)

        async def write() -> None:
            data = b"".join(map(masked, messages))
            for begin, after in zip([0, *cuts], [*cuts, len(data)], strict=True):
                part = data[begin:after]
                while part:
                    await trio.lowlevel.wait_writable(ours.peer)
                    part = part[ours.peer.send(part) :]
                await wait_all_tasks_blocked()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(read)
            nursery.start_soon(write)
            with trio.move_on_after(0.5 if -errno.ECONNRESET in faults or -errno.EPIPE in faults else 30):
                await echo()
                while len(got) < sum(len(frame(each)) for each in messages):
                    await trio.lowlevel.checkpoint()
            nursery.cancel_scope.cancel()
    script([])
    return bytes(got)


@given(MESSAGES, st.lists(st.integers(0, 5000), max_size=3), st.lists(HARMLESS, max_size=30))
@example(["x" * 3000, b"y" * 40_000], [], [5, 1, 2, 3, 4000, -errno.EAGAIN, 7])
def test_native_messages_pass_whole_and_in_order(
    messages: list[str | bytes], cuts: list[int], faults: list[int]
) -> None:
    size = len(b"".join(map(masked, messages)))
    cuts = sorted(min(cut, size) for cut in cuts)
    assert trio.run(echoed, messages, cuts, faults) == b"".join(map(frame, messages))


@pytest.mark.skipif(not hasattr(core, "script_faults"), reason="only the build of `make sanitize` has faults")
@given(MESSAGES, st.lists(HARMLESS, max_size=10), st.sampled_from([-errno.ECONNRESET, -errno.EPIPE]))
def test_native_a_reset_tears_no_earlier_frame(messages: list[str | bytes], faults: list[int], reset: int) -> None:
    whole = b"".join(map(frame, messages))
    assert whole.startswith(trio.run(echoed, messages, [], [*faults, reset]))


async def offered(messages: list[str | bytes], faults: list[int]) -> bytes:
    """Offer messages as a broadcast does, each as soon as there is room, and return what the peer got."""
    whole = sum(len(frame(each)) for each in messages)
    got = bytearray()
    script(faults)
    async with end() as ours:
        for message in messages:
            prepared = PreparedMessage(message)
            prepared.plain = frame(message)
            while not ours.connection.writer.offer(prepared, hold=len(messages) % 2 == 1):
                got += await some(ours.peer)
        while len(got) < whole:
            got += await some(ours.peer)
    script([])
    return bytes(got)


async def some(peer: socket.socket) -> bytes:
    await trio.lowlevel.wait_readable(peer)
    return peer.recv(1 << 20)


@given(MESSAGES, st.lists(HARMLESS, max_size=30))
@example([b"y" * 40_000] * 6, [5, 1, -errno.EAGAIN])
def test_native_frames_of_many_pass_whole_and_in_order(messages: list[str | bytes], faults: list[int]) -> None:
    assert trio.run(offered, messages, faults) == b"".join(map(frame, messages))
