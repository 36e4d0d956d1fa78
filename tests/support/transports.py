"""A transport that only notes what it is told, for tests of what is above it."""

from __future__ import annotations

import trio

from trio_ws.transport.base import Transport
from trio_ws.transport.outbox import Outbox


class FakeTransport(Transport):
    """Keeps what is written in its outbox, until the test lets the network take it."""

    def __init__(self, high_water: int) -> None:
        self.outbox = Outbox(high_water)
        self.resumed = 0
        self.finished = self.closed = False

    def start(self, nursery: trio.Nursery) -> None:
        """There is nothing to start."""

    async def aclose(self) -> None:
        self.close()

    def write(self, data, *, hold=False) -> None:
        self.outbox.put(data)

    def flush(self) -> None:
        """The network takes nothing by itself."""

    def resume(self) -> None:
        self.resumed += 1

    def finish(self) -> None:
        self.finished = True

    def close(self) -> None:
        self.closed = True
        self.outbox.close()

    def take_all(self) -> bytes:
        """Let the network take everything."""
        taken = b""
        while self.outbox.size:
            head = self.outbox.peek()
            taken += head
            self.outbox.advance(len(head))
        self.receiver.outbox_moved()
        return taken
