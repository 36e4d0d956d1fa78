"""The poller: one task that reads the sockets of all connections of a server into one shared buffer.

A connection on it has no task and no buffer of its own for reading: its bytes are parsed where they were read, and its
handler is woken with the messages. What it watches is in `polled`. It needs a platform that has epoll or kqueue.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import trio

from trio_ws.runtime.wakeup import AutoResetEvent
from trio_ws.transport.default_selector import make_selector
from trio_ws.transport.selector import Selector
from trio_ws.transport.sockets import shared_buffer

if TYPE_CHECKING:
    from trio_ws.transport.sockets import SocketTransport

__all__ = ["Poller"]

BUSY: Final = 4
"""Sockets that were ready in one go, from which on more will be in the next turn: the poller looks at once, and spares
Trio to be asked to wait, and to wait, and to wake it."""


class Poller:
    """Watches the sockets of many connections from one task, `run`.

    Raises:
        RuntimeError: the platform has neither epoll nor kqueue; see `available`.
    """

    def __init__(self) -> None:
        if make_selector is None:
            raise RuntimeError("no poller on this platform: use the stream transport")
        self.readiness: Selector = make_selector()
        self.buffer: memoryview = shared_buffer()
        self.handshakes: int = 0
        """Steps of TLS handshakes in this turn."""
        self._transports: dict[int, SocketTransport] = {}
        self._corked: list[SocketTransport] = []
        self._flusher = AutoResetEvent()

    @staticmethod
    def available() -> bool:
        """Say whether this platform has a poller."""
        return make_selector is not None

    def add(self, transport: SocketTransport, fd: int, wanted: int) -> None:
        """Begin to watch a transport's socket."""
        self.readiness.add(fd, wanted)
        self._transports[fd] = transport

    def remove(self, fd: int) -> None:
        """Stop watching a socket that is about to be closed."""
        del self._transports[fd]
        self.readiness.remove(fd)

    def cork(self, transport: SocketTransport) -> None:
        """Flush `transport` at the end of this scheduler turn."""
        self._corked.append(transport)
        self._flusher.wake()

    # Ctrl-C strikes whatever code runs: not here, where all connections would lose their way to the network.
    @trio.lowlevel.enable_ki_protection
    async def run(self) -> None:
        """Read and write for all connections, for ever. Cancel it when the last connection has ended."""
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._flush_corked)
                await self._serve_ready()
        finally:
            trio.lowlevel.notify_closing(self.readiness.fileno())
            self.readiness.close()

    async def _serve_ready(self) -> None:
        while True:
            await trio.lowlevel.wait_readable(self.readiness.fileno())
            while self._serve_once() >= BUSY:
                await trio.lowlevel.checkpoint()  # those who were woken run now; meanwhile others have become ready

    def _serve_once(self) -> int:
        """Read and write for the sockets that are ready; return how many they were."""
        transports = self._transports
        # Looked up before the first is called: that one may close others, whose descriptors are used again.
        found = [(transports[fd], matter) for fd, matter in self.readiness.poll()]
        now = trio.current_time()
        self.handshakes = 0
        for transport, matter in found:
            try:
                transport.ready(matter, now)
            except Exception:
                transport.give_up()
        return len(found)

    @trio.lowlevel.enable_ki_protection
    async def _flush_corked(self) -> None:
        """Run once in each scheduler turn after one in which something was held back."""
        while True:
            if not self._corked:
                await self._flusher.sleep()
            else:
                await trio.lowlevel.checkpoint()  # one that has more to do than its share of a turn came again
            corked, self._corked = self._corked, []
            for transport in corked:
                try:
                    transport.uncork()
                except Exception:
                    transport.give_up()
            del corked, transport  # many may be closed by now, and the next turn may be far
