"""The end of a plain HTTP answer: how long it waits for a client that takes it slowly."""

from __future__ import annotations

import pytest
import trio
from support.transports import FakeTransport
from trio.testing import MockClock

from trio_ws import Limits
from trio_ws.server.request_receiver import RequestReceiver
from trio_ws.transport.socket_options import Uptake


class Dripping(FakeTransport):
    """Its peer takes a byte a second, for ever."""

    def uptake(self) -> Uptake:
        return Uptake((int(trio.current_time()), 0), self.outbox.size, True)


async def seconds_of_linger(receiver: RequestReceiver, transport: FakeTransport) -> float:
    began = trio.current_time()
    await receiver.linger(transport, 5.0, 60.0)
    return trio.current_time() - began


@pytest.mark.parametrize("size", [1, 1000])
async def test_client_that_takes_nothing_has_the_patience(autojump_clock: MockClock, size: int) -> None:
    receiver, transport = RequestReceiver(Limits()), FakeTransport(1024)
    transport.receiver = receiver
    receiver.send_answer(transport, bytes(size))
    assert await seconds_of_linger(receiver, transport) == 5.0


@pytest.mark.parametrize(("left", "seconds"), [(0, 1.0), (1, 5.0)])
async def test_client_that_took_all_has_less_time_than_for_a_byte(
    autojump_clock: MockClock, nursery: trio.Nursery, left: int, seconds: float
) -> None:
    receiver, transport = RequestReceiver(Limits()), FakeTransport(1024)
    transport.receiver = receiver
    receiver.send_answer(transport, bytes(100))

    async def take() -> None:
        await trio.sleep(2)
        transport.outbox.advance(100 - left)
        receiver.outbox_moved()

    nursery.start_soon(take)
    assert await seconds_of_linger(receiver, transport) == 2.0 + seconds


async def test_client_that_reads_for_ever_is_bounded(autojump_clock: MockClock) -> None:
    receiver, transport = RequestReceiver(Limits()), Dripping(1024)
    transport.receiver = receiver
    receiver.send_answer(transport, bytes(100_000))
    began = trio.current_time()
    with trio.move_on_after(3600):
        await receiver.linger(transport, 5.0, 60.0)
    assert trio.current_time() - began == 60.0
