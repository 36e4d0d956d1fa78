"""Solo: the poller's place for one socket, a client's. Trio waits for it, without an epoll in between.

What Trio cannot wait for is that the peer departs, or the connection breaks, while nobody wants the data: for that
there is an epoll (or kqueue) as long as it lasts. A client that reads has one descriptor.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import trio

from trio_ws.runtime.wakeup import AutoResetEvent
from trio_ws.transport.default_selector import make_selector
from trio_ws.transport.selector import PEER_CLOSED, READABLE, WRITABLE
from trio_ws.transport.sockets import shared_buffer

if TYPE_CHECKING:
    from trio_ws.transport.selector import Selector
    from trio_ws.transport.sockets import SocketTransport

__all__ = ["SingleSocketPoller"]

_ABOUT_READING: Final = READABLE | PEER_CLOSED
MISSES: Final = 16
"""Messages that our own task reads after the one who receives was not back in time: the attempt costs a turn."""


class SingleSocketPoller:
    """Watches the socket of one connection from one task, `run`; a second one waits for room to write when it has to.

    Raises:
        RuntimeError: the platform has neither epoll nor kqueue; see `Poller.available`.
    """

    def __init__(self) -> None:
        if make_selector is None:
            raise RuntimeError("no poller on this platform: use the stream transport")
        self.buffer: memoryview = shared_buffer()
        self.handshakes: int = 0
        """Steps of TLS handshakes in this turn: a client's handshake is over before."""
        self._transport: SocketTransport  # from `add`, or the first `cork`
        self._fd = -1  # while nothing is to be watched
        self._wanted = 0
        self._waits_for = -1  # the descriptor that our task waits for, or the one who receives in its place
        self._idle = AutoResetEvent()  # our task sleeps here while there is nothing to wait for
        self._handed_over = False
        self._misses = 0
        self._nursery: trio.Nursery | None = None
        self._writer = False  # the second task is there
        self._corked = False
        self._flusher = AutoResetEvent()

    @property
    def readiness(self) -> SingleSocketPoller:
        """What is told when something else is wanted of the socket."""
        return self

    def add(self, transport: SocketTransport, fd: int, wanted: int) -> None:
        """Begin to watch the transport's socket; there is only one."""
        self._transport = transport
        self._fd = fd
        self.change(fd, wanted)

    def change(self, _: int, wanted: int) -> None:
        """Watch the socket for something else."""
        before, self._wanted = self._wanted, wanted
        if (before ^ wanted) & _ABOUT_READING:
            self._idle.wake()
            self.interrupt()
        if wanted & WRITABLE and self._nursery is not None and not self._writer:
            self._writer = True
            self._nursery.start_soon(self._serve_writable)

    def remove(self, fd: int) -> None:
        """Stop watching the socket, which is about to be closed."""
        self._fd = -1
        self._wanted = 0
        if self._waits_for != fd:
            self.interrupt()
        trio.lowlevel.notify_closing(fd)

    def cork(self, transport: SocketTransport) -> None:
        """Flush the transport at the end of this scheduler turn."""
        self._transport = transport
        self._corked = True
        self._flusher.wake()

    def interrupt(self) -> None:
        """Let whoever waits for the socket look again at what there is to wait for."""
        if self._waits_for >= 0:
            trio.lowlevel.notify_closing(self._waits_for)

    # --- the one who receives may wait in our task's place -----------------------------------------------------------

    @property
    def free(self) -> bool:
        """Whether data is wanted and nobody waits for it: then the one who receives may `read`."""
        return self._waits_for < 0 and bool(self._wanted & READABLE)

    def hand_over(self) -> None:
        """The one who receives will run: leave the socket to it, until it calls `watch`."""
        if self._misses:
            self._misses -= 1
        else:
            self._handed_over = True

    def watch(self) -> None:
        """The one who receives has something to do: in the next turn our task looks whether it has come back."""
        self._handed_over = False
        self._idle.wake()

    # Ctrl-C strikes whatever code runs: not here, where the connection would lose its way to the network.
    @trio.lowlevel.enable_ki_protection
    async def run(self) -> None:
        """Read and write for the connection, for ever. Cancel it when the connection has ended."""
        async with trio.open_nursery() as self._nursery:
            self._nursery.start_soon(self._flush_corked)
            self.change(self._fd, self._wanted)
            while True:
                if self._fd < 0 or self._waits_for >= 0 or self._handed_over:
                    await self._idle.sleep()
                    if self._waits_for < 0:
                        self._misses = MISSES
                elif self._wanted & READABLE:
                    await self.read()
                else:
                    await self._look_out()

    @trio.lowlevel.enable_ki_protection
    async def read(self) -> None:
        """Wait for something to read, in whichever task this is, and pass it on; or return when `interrupt`ed.

        Call it only if it is `free`.
        """
        self._waits_for = self._fd
        try:
            await trio.lowlevel.wait_readable(self._fd)
        except trio.ClosedResourceError:
            return  # interrupted
        except OSError:  # the kernel watches as much as it may
            self._transport.give_up()
            return
        finally:
            self._waits_for = -1
        if self._wanted & READABLE:
            self._pass_on(READABLE)

    async def _look_out(self) -> None:
        """While data is not wanted, see whether the peer departs, or the connection breaks."""
        await trio.lowlevel.checkpoint()  # most handlers take what has come in their next turn
        if self._fd < 0 or self._wanted & READABLE:
            return
        assert make_selector is not None
        try:
            readiness = make_selector()
        except OSError:  # descriptors are used up: then it is seen when data is wanted again
            await self._idle.sleep()
            return
        try:
            for _, matter in await self._report(readiness):
                self._pass_on(matter)
        except trio.ClosedResourceError:
            pass  # interrupted
        except OSError:
            self._transport.give_up()
        finally:
            readiness.close()

    async def _report(self, readiness: Selector) -> list[tuple[int, int]]:
        """Wait until something is the matter with the socket, and return it."""
        readiness.add(self._fd, self._wanted & PEER_CLOSED)
        self._waits_for = readiness.fileno()
        try:
            await trio.lowlevel.wait_readable(self._waits_for)
            return readiness.poll()
        finally:
            trio.lowlevel.notify_closing(self._waits_for)
            self._waits_for = -1

    async def _serve_writable(self) -> None:
        """As long as something waits for room to write, send it."""
        while self._wanted & WRITABLE:
            try:
                await trio.lowlevel.wait_writable(self._fd)
            except trio.ClosedResourceError:
                continue  # it is closed, or another task was interrupted
            except OSError:
                self._transport.give_up()
            if self._wanted & WRITABLE:
                self._pass_on(WRITABLE)
        self._writer = False

    async def _flush_corked(self) -> None:
        """Run once in each scheduler turn after one in which something was held back."""
        while True:
            if not self._corked:
                await self._flusher.sleep()
            else:
                await trio.lowlevel.checkpoint()  # one that has more to do than its share of a turn came again
            self._corked = False
            try:
                self._transport.uncork()
            except Exception:
                self._transport.give_up()

    def _pass_on(self, matter: int) -> None:
        """Tell the transport what is the matter with its socket."""
        try:
            self._transport.ready(matter, trio.current_time())
        except Exception:
            self._transport.give_up()
