"""A receiver that notes what a transport tells it, and that tests can wait for."""

from __future__ import annotations

from collections.abc import Callable

import trio


class Recorder:
    """Everything that a transport has told so far."""

    def __init__(self) -> None:
        self.wanted = True
        self.data = bytearray()
        self.departed = 0
        self.ended = 0
        self.moved = 0
        self.asked = 0
        self.on_data: Callable[[], object] | None = None
        """Called in the middle of `data_received`."""
        self.on_departed: Callable[[], object] | None = None
        """Called in the middle of `peer_closed`."""
        self.on_ended: Callable[[], object] | None = None
        """Called in the middle of `network_ended`."""
        self._changed = trio.lowlevel.ParkingLot()

    def stop(self) -> None:
        """Want nothing more."""
        self.wanted = False

    def wants_data(self) -> bool:
        self.asked += 1
        self._changed.unpark_all()
        return self.wanted

    def data_received(self, data: memoryview, now: float) -> None:
        self.data += data
        self._changed.unpark_all()
        if self.on_data is not None:
            self.on_data()

    def peer_closed(self) -> None:
        self.departed += 1
        self._changed.unpark_all()
        if self.on_departed is not None:
            self.on_departed()

    def network_ended(self) -> None:
        self.ended += 1
        self._changed.unpark_all()
        if self.on_ended is not None:
            self.on_ended()

    def outbox_moved(self) -> None:
        self.moved += 1
        self._changed.unpark_all()

    async def until(self, condition: Callable[[], object]) -> None:
        """Wait until `condition` holds, which is looked at whenever the transport says something."""
        with trio.fail_after(20):
            while not condition():
                await self._changed.park()
