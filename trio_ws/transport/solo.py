"""Solo: the poller's place for one socket, a client's. Trio waits for it, without an epoll in between.

What Trio cannot wait for is that the peer departs, or the connection breaks, while nobody wants the data: for that
there is an epoll (or kqueue) as long as it lasts. A client that reads has one descriptor.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio

from trio_ws.transport.poller import shared_buffer
from trio_ws.transport.readiness import DEPARTED, READABLE, WRITABLE, make_readiness

if TYPE_CHECKING:
    from trio_ws.transport.poller import PollerTransport

__all__ = ["Solo"]

_ABOUT_READING = READABLE | DEPARTED


class _Alarm:
    """One task sleeps until another wakes it."""

    __slots__ = ("_sleeper",)

    def __init__(self) -> None:
        self._sleeper: trio.lowlevel.Task | None = None

    async def sleep(self) -> None:
        """Sleep until `wake`."""
        self._sleeper = trio.lowlevel.current_task()
        await trio.lowlevel.wait_task_rescheduled(self._abort)

    def _abort(self, _: trio.lowlevel.RaiseCancelT) -> trio.lowlevel.Abort:
        self._sleeper = None
        return trio.lowlevel.Abort.SUCCEEDED

    def wake(self) -> bool:
        """Wake the one who sleeps; return whether there is one."""
        sleeper, self._sleeper = self._sleeper, None
        if sleeper is None:
            return False
        trio.lowlevel.reschedule(sleeper)
        return True


class Solo:
    """Watches the socket of one connection from one task, `run`; a second one waits for room to write when it has to.

    Raises:
        RuntimeError: the platform has neither epoll nor kqueue; see `Poller.available`.
    """

    def __init__(self) -> None:
        if make_readiness is None:
            raise RuntimeError("no poller on this platform: use the stream transport")
        self.buffer: memoryview = shared_buffer()
        self._transport: PollerTransport | None = None
        self._fd = -1  # while nothing is to be watched
        self._wanted = 0
        self._waits_for = -1  # the descriptor that our task waits for
        self._idle = _Alarm()  # our task sleeps here while there is nothing to wait for
        self._nursery: trio.Nursery | None = None
        self._writer = False  # the second task is there
        self._corked = False
        self._flusher = _Alarm()

    @property
    def readiness(self) -> Solo:
        """What is told when something else is wanted of the socket."""
        return self

    def add(self, transport: PollerTransport, fd: int, wanted: int) -> None:
        """Begin to watch the transport's socket; there is only one."""
        self._transport = transport
        self._fd = fd
        self.change(fd, wanted)

    def change(self, _: int, wanted: int) -> None:
        """Watch the socket for something else."""
        before, self._wanted = self._wanted, wanted
        if (before ^ wanted) & _ABOUT_READING:
            self._interrupt()
        if wanted & WRITABLE and self._nursery is not None and not self._writer:
            self._writer = True
            self._nursery.start_soon(self._serve_writable)

    def remove(self, fd: int) -> None:
        """Stop watching the socket, which is about to be closed."""
        self._fd = -1
        self._wanted = 0
        if self._waits_for != fd:
            self._interrupt()
        trio.lowlevel.notify_closing(fd)

    def cork(self, transport: PollerTransport) -> None:
        """Flush the transport at the end of this scheduler turn."""
        self._transport = transport
        self._corked = True
        self._flusher.wake()

    def _interrupt(self) -> None:
        """Let our task look again at what it is to wait for."""
        if not self._idle.wake() and self._waits_for >= 0:
            trio.lowlevel.notify_closing(self._waits_for)

    # Ctrl-C strikes whatever code runs: not here, where the connection would lose its way to the network.
    @trio.lowlevel.enable_ki_protection
    async def run(self) -> None:
        """Read and write for the connection, for ever. Cancel it when the connection has ended."""
        async with trio.open_nursery() as self._nursery:
            self._nursery.start_soon(self._flush_corked)
            self.change(self._fd, self._wanted)
            while True:
                if self._fd < 0:
                    await self._idle.sleep()
                elif self._wanted & READABLE:
                    await self._serve_readable()
                else:
                    await self._look_out()

    async def _serve_readable(self) -> None:
        self._waits_for = self._fd
        try:
            await trio.lowlevel.wait_readable(self._fd)
        except trio.ClosedResourceError:
            return  # interrupted
        finally:
            self._waits_for = -1
        if self._wanted & READABLE:
            self._pass_on(READABLE)

    async def _look_out(self) -> None:
        """While data is not wanted, see whether the peer departs, or the connection breaks."""
        await trio.lowlevel.checkpoint()  # most handlers take what has come in their next turn
        if self._fd < 0 or self._wanted & READABLE:
            return
        assert make_readiness is not None
        try:
            readiness = make_readiness()
            readiness.add(self._fd, self._wanted & DEPARTED)
        except OSError:  # descriptors are used up: then it is seen when data is wanted again
            await self._idle.sleep()
            return
        self._waits_for = readiness.fileno()
        try:
            await trio.lowlevel.wait_readable(self._waits_for)
            found = readiness.poll()
        except trio.ClosedResourceError:
            return  # interrupted
        finally:
            trio.lowlevel.notify_closing(self._waits_for)
            self._waits_for = -1
            readiness.close()
        for _, matter in found:
            self._pass_on(matter)

    async def _serve_writable(self) -> None:
        """As long as something waits for room to write, send it."""
        while self._wanted & WRITABLE:
            try:
                await trio.lowlevel.wait_writable(self._fd)
            except trio.ClosedResourceError:
                continue  # it is closed, or our other task was interrupted
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
            transport = self._transport
            assert transport is not None
            try:
                transport.uncork()
            except Exception:
                transport.give_up()

    def _pass_on(self, matter: int) -> None:
        """Tell the transport what is the matter with its socket."""
        transport = self._transport
        assert transport is not None
        try:
            transport.ready(matter, trio.current_time())
        except Exception:
            transport.give_up()
