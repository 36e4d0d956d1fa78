"""The fast path gives way and loses nothing: it yields, it can be cancelled anywhere, and what waits has a bound."""

from __future__ import annotations

from typing import Any

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st
from support.internals import internal
from support.networks import binary, ping, text
from support.transports import FakeTransport
from support.turns import Streak

from trio_ws import Limits, Timeouts
from trio_ws.connection.connection import Connection
from trio_ws.connection.inbox import YIELD_EVERY
from trio_ws.runtime.timers import Timers
from trio_ws.testing import cancel_everywhere

ROOMY = Limits(inbox_messages=1000, outbox_bytes=1 << 20)


async def arrived(websocket, count):
    """Wait until so many messages wait for their receiver."""
    while len(websocket.context.channel.reader.inbox.items) < count:
        await trio.sleep(0.001)


async def send_at_once(peer, contents):
    await peer.send(b"".join(peer.data(content) for content in contents))


@pytest.mark.parametrize("way", ["receive", "iterate", "receive and send", "send"])
async def test_operations_that_need_not_wait_yield_every_64_steps(rig, way):
    """300 messages wait, and there is room for 300 replies: nothing would ever make it wait."""
    count = 300
    longest = []

    async def body(websocket):
        await arrived(websocket, count)
        streak = Streak()
        if way == "iterate":
            async for _ in websocket:
                streak.step()
                if not websocket.context.channel.reader.inbox.items:
                    break
        else:
            for _ in range(count):
                if "receive" in way:
                    await websocket.receive()
                    streak.step()
                if "send" in way:
                    await websocket.send("x")
                    streak.step()
        trio.lowlevel.remove_instrument(streak)
        longest.append(streak.longest)

    async with rig.connect(body, limits=ROOMY) as peer:
        await send_at_once(peer, ["x"] * count)
        seen = await peer.rest()
    assert seen.count(("text", "x")) == (count if "send" in way else 0)
    assert longest == [YIELD_EVERY]
    assert YIELD_EVERY == 64, "the documentation says so"


@pytest.mark.sweep
async def test_busy_echo_can_be_cancelled_anywhere_without_loss(rig):
    """Replies are held back while messages wait; a cancellation may come where the receiver was woken, but not run."""
    contents = [f"{number:03}" for number in range(140)]  # it yields twice

    async def scenario(cut):
        received: list[str] = []
        sent: list[str] = []

        async def body(websocket):
            await arrived(websocket, len(contents) - 1)
            with cut():
                async for message in websocket:
                    received.append(message)
                    await websocket.send(message)
                    sent.append(message)
                    if len(sent) == len(contents):
                        break
            await websocket.send("after")
            while len(received) < len(contents):
                received.append(await websocket.receive())

        async with rig.connect(body, limits=ROOMY) as peer:
            await send_at_once(peer, contents[:-1])
            if cut.fired:
                await trio.testing.wait_all_tasks_blocked()
            await peer.message(contents[-1])
            seen = [content for kind, content in await peer.rest() if kind == "text"]
        assert received == contents
        assert seen == [*sent, "after"]
        assert len(sent) >= len(contents) or cut.cancelled
        rig.codes.clear()

    assert await cancel_everywhere(scenario) >= 4


async def test_self_cancelled_task_stops_at_next_send_or_receive(rig):
    """Also while its earlier replies are held back: those leave, the next message is not sent, none is lost."""

    async def body(websocket):
        await arrived(websocket, 3)
        assert await websocket.receive() == "one"
        await websocket.send("reply")
        for use in (
            lambda: websocket.send("never"),
            websocket.receive,
            websocket.recv,
            lambda: anext(aiter(websocket)),
        ):
            went_on = False
            with trio.CancelScope() as scope:
                scope.cancel()
                await use()
                went_on = True
            assert scope.cancelled_caught
            assert not went_on
        assert [await websocket.receive(), await websocket.receive()] == ["two", "three"]
        await websocket.send("end")

    async with rig.connect(body) as peer:
        await send_at_once(peer, ["one", "two", "three"])
        assert await peer.rest() == [("text", "reply"), ("text", "end"), ("close", (1000, ""))]


async def test_cancelled_woken_receiver_takes_or_leaves_the_message(rig):
    """The message and the cancellation come in the same turn, in either order."""
    contents = ["first", "second", "third"]

    async def body(websocket):
        received, cancelled = [], []
        inbox = websocket.context.channel.reader.inbox
        receiver = trio.lowlevel.current_task()

        class Cancelling(trio.abc.Instrument):
            """Cancels `scope` when a message has come, or its receiver is woken, who may take it from the socket."""

            scope: trio.CancelScope | None = None

            def task_scheduled(self, task):
                if self.scope is not None and (inbox.items or task is receiver):
                    self.scope.cancel()

        instrument = Cancelling()
        trio.lowlevel.add_instrument(instrument)
        for number in range(len(contents)):
            with trio.CancelScope() as instrument.scope:
                await websocket.send("ready")
                received.append(await websocket.receive())
                await trio.lowlevel.checkpoint()
            cancelled.append(instrument.scope.cancelled_caught)
            instrument.scope = None
            if len(received) == number:
                received.append(await websocket.receive())
        trio.lowlevel.remove_instrument(instrument)
        assert cancelled == [True] * len(contents)
        assert received == contents

    async with rig.connect(body) as peer:
        for content in contents:
            while await peer.next() != ("text", "ready"):
                pass
            await peer.message(content)
        assert (await peer.rest())[-1] == ("close", (1000, ""))


# --- the bounds ---

READ = 4096
"""Bytes of one read in the property test, at most."""
SIZES = st.one_of(st.just(6), st.integers(1, 40), st.integers(1, READ))
"""Of reads: a ping, a little, much."""


@given(
    data=st.data(),
    max_items=st.integers(1, 8),
    max_bytes=st.integers(1, 400),
    sizes=st.lists(st.integers(0, 300), max_size=60),
    texts=st.booleans(),
)
def test_slow_reader_queues_at_most_its_inbox_and_one_read(
    data: st.DataObject, max_items: int, max_bytes: int, sizes: list[int], texts: bool
) -> None:
    """Whatever comes in whatever reads and is taken whenever: nothing is lost, reordered or left lying."""
    trio.run(_feed_and_take, data, Limits(inbox_messages=max_items, inbox_bytes=max_bytes), sizes, texts)


async def _feed_and_take(data: st.DataObject, limits: Limits, sizes: list[int], texts: bool) -> None:
    transport = FakeTransport(limits.outbox_bytes)
    times = Timeouts(ping_interval=None)
    connection = Connection(transport, client=False, limits=limits, timeouts=times, timers=Timers())
    messages: list[Any] = [bytes([number]) * size for number, size in enumerate(sizes)]
    if texts:
        messages = [message.decode("ascii") for message in messages]
    # Pings among them take no place, and make nobody stop who has nothing to take.
    wire = b"".join(ping() * (len(message) % 3) + (text(message) if texts else binary(message)) for message in messages)
    largest = max(sizes, default=0)
    taken: list[Any] = []
    position = 0
    while position < len(wire) or len(taken) < len(messages):
        inbox = connection.reader.inbox
        can_read = position < len(wire) and connection.reader.wants_data()
        assert can_read or inbox.items, "reading stopped with nothing to take: it would never go on"
        if can_read and (not inbox.items or data.draw(st.booleans(), label="read")):
            size = data.draw(SIZES, label="size")
            connection.reader.data_received(memoryview(bytearray(wire[position : position + size])), 0.0)
            position += size
        else:
            resumed = transport.resumed
            taken.append(await connection.reader.receive())
            assert transport.resumed <= resumed + 1
        transport.take_all()
        held = sum(len(item) for item in inbox.items)  # type: ignore[arg-type, misc]
        assert len(inbox.items) <= limits.inbox_messages
        assert held <= inbox.size < limits.inbox_bytes + max(largest, 1)
        assert len(internal(connection.reader, "_unparsed")) < READ
        if internal(connection.reader, "_unparsed") or inbox.full:
            assert not connection.reader.wants_data()
        if not inbox.items:
            assert connection.reader.wants_data()
            assert inbox.size == 0
    assert taken == messages
