"""A task that reads the sockets of all of a server's connections.

A connection on it has no task and no read buffer of its own: its bytes are parsed where they were read, and its handler
is woken with the messages. The transports are in `sockets`. It needs epoll or kqueue.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import trio
from trio.lowlevel import reschedule

from trio_ws.native.choice import core
from trio_ws.runtime.wakeup import RESUME, AutoResetEvent
from trio_ws.transport import selector
from trio_ws.transport.default_selector import make_selector
from trio_ws.transport.selector import Selector
from trio_ws.transport.sockets import shared_buffer

if TYPE_CHECKING:
    from trio_ws.transport.watching import PollerClient

__all__ = ["Poller"]

BUSY: Final = 4
"""Ready sockets in one poll, from which on the next turn will have more: the poller polls again at once, which saves
Trio's wait and wake-up."""


class Poller:
    """A poller of many sockets, with one task, `run`.

    Raises:
        RuntimeError: the platform has neither epoll nor kqueue; see `available`.
    """

    def __init__(self) -> None:
        if make_selector is None:
            raise RuntimeError("no poller on this platform: use the stream transport")
        self.selector: Selector = make_selector()
        self.buffer: memoryview = shared_buffer()
        self.handshakes: int = 0
        """Steps of TLS handshakes in this turn."""
        self._transports: list[PollerClient | None] = []  # by descriptor; a dictionary takes 100 bytes for each
        self._corked: list[PollerClient] = []
        self._flusher = AutoResetEvent()

    @staticmethod
    def available() -> bool:
        """Return whether this platform has a poller."""
        return make_selector is not None

    def add(self, transport: PollerClient, fd: int, interest: int) -> None:
        """Begin to watch a transport's socket."""
        self.selector.add(fd, interest)
        transports = self._transports
        if fd >= len(transports):
            transports.extend([None] * (fd + 1 - len(transports)))
        transports[fd] = transport

    def remove(self, fd: int) -> None:
        """Stop watching a socket that is about to be closed."""
        self._transports[fd] = None
        self.selector.remove(fd)

    def cork(self, transport: PollerClient) -> None:
        """Flush `transport` at the end of this scheduler turn."""
        self._corked.append(transport)
        self._flusher.wake()

    # Ctrl-C interrupts the code that runs: not here, where all connections would lose their access to the network.
    @trio.lowlevel.enable_ki_protection
    async def run(self) -> None:
        """Read and write for all connections, for ever.

        Cancel it when the last connection has ended.
        """
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._flush_corked)
                await self._serve_ready()
        finally:
            trio.lowlevel.notify_closing(self.selector.fileno())
            self.selector.close()

    async def _serve_ready(self) -> None:
        serve = self._serve_once if core is None or not self.selector.is_epoll else self._serve_compiled
        while True:
            await trio.lowlevel.wait_readable(self.selector.fileno())
            while serve() >= BUSY:
                await trio.lowlevel.checkpoint()  # woken tasks run now; meanwhile more sockets have become ready

    def _serve_once(self) -> int:
        """Read and write for the sockets that are ready; return their number."""
        transports = self._transports
        # Looked up before the first is called: it may close others, whose descriptors are reused.
        found = [(transport, events) for fd, events in self.selector.poll() if (transport := transports[fd])]
        now = trio.current_time()
        self.handshakes = 0
        for transport, events in found:
            try:
                transport.ready(events, now)
            except Exception:
                transport.give_up()
        return len(found)

    def _serve_compiled(self) -> int:
        """Do as `_serve_once`, with reading and parsing in one call."""
        now = trio.current_time()
        self.handshakes = 0
        fd = self.selector.fileno()
        count, woken, unfinished = core.poll(fd, selector.BATCH, self._transports, self.buffer, now)
        for task in woken:
            reschedule(task, RESUME)
        for transport, matter in unfinished:
            self._finish(transport, matter, now)
        return int(count)

    def _finish(self, transport: Any, matter: int | Exception, now: float) -> None:
        """Do what the compiled core has left: handle events, or an exception."""
        try:
            if isinstance(matter, Exception):
                raise matter
            transport.ready(matter, now)
        except Exception:
            transport.give_up()

    @trio.lowlevel.enable_ki_protection
    async def _flush_corked(self) -> None:
        """Flush corked transports, once in each scheduler turn that had some."""
        while True:
            if not self._corked:
                await self._flusher.sleep()
            else:
                await trio.lowlevel.checkpoint()  # a transport with more work than its share of a turn corked again
            corked, self._corked = self._corked, []
            for transport in corked:
                try:
                    transport.uncork()
                except Exception:
                    transport.give_up()
            del corked, transport  # many may be closed by now, and the next turn may be far
