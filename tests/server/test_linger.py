"""The end of a plain HTTP answer: how long it waits for a client that takes it slowly."""

from __future__ import annotations

import trio
from support.transports import FakeTransport
from trio.testing import MockClock

from trio_ws import Limits
from trio_ws.server.handshake import ServerHandshake
from trio_ws.transport.socket_options import Uptake


class Dripping(FakeTransport):
    """Its peer takes a byte a second, for ever."""

    def uptake(self) -> Uptake:
        return Uptake((int(trio.current_time()), 0), self.outbox.size, True)


async def test_client_that_reads_for_ever_is_bounded(autojump_clock: MockClock) -> None:
    opening, transport = ServerHandshake(Limits()), Dripping(1024)
    transport.receiver = opening
    opening.refuse(transport, bytes(100_000))
    began = trio.current_time()
    with trio.move_on_after(3600):
        await opening.linger(transport, 5.0, 60.0)
    assert trio.current_time() - began == 60.0
