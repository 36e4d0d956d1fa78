"""A poller for one socket, a client's, without an epoll in between.

Trio itself waits for the socket. It cannot wait for the peer's end, or an error, while data is not wanted: for that
time there is an epoll (or kqueue). A client that reads has one descriptor.
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
    from trio_ws.transport.watching import PollerClient

__all__ = ["SingleSocketPoller"]

_ABOUT_READING: Final = READABLE | PEER_CLOSED
MISSES: Final = 16
"""Messages that our own task reads after the receiving task was not back in time: the attempt costs a turn."""


class SingleSocketPoller:
    """A poller of one socket, with one task, `run`.

    A second task waits for room to write when it has to.

    Raises:
        RuntimeError: the platform has neither epoll nor kqueue; see `Poller.available`.
    """

    def __init__(self) -> None:
        if make_selector is None:
            raise RuntimeError("no poller on this platform: use the stream transport")
        self.buffer: memoryview = shared_buffer()
        self.handshakes: int = 0
        """Steps of TLS handshakes in this turn: a client's handshake is over before."""
        self._transport: PollerClient  # from `add`, or the first `cork`
        self._fd = -1  # while nothing is to be watched
        self._interest = 0
        self._waits_for = -1  # the descriptor that our task waits for, or the receiving task in its place
        self._idle = AutoResetEvent()  # our task sleeps here while it has nothing to wait for
        self._handed_over = False
        self._misses = 0
        self._nursery: trio.Nursery | None = None
        self._writer = False  # the second task runs
        self._corked = False
        self._flusher = AutoResetEvent()

    @property
    def selector(self) -> SingleSocketPoller:
        """The poller itself, which keeps its only socket's events."""
        return self

    def add(self, transport: PollerClient, fd: int, interest: int) -> None:
        """Begin to watch the transport's socket; there is only one."""
        self._transport = transport
        self._fd = fd
        self.change(fd, interest)

    def change(self, _: int, interest: int) -> None:
        """Watch the socket for other events."""
        before, self._interest = self._interest, interest
        if (before ^ interest) & _ABOUT_READING:
            self._idle.wake()
            self.interrupt()
        if interest & WRITABLE and self._nursery is not None and not self._writer:
            self._writer = True
            self._nursery.start_soon(self._serve_writable)

    def remove(self, fd: int) -> None:
        """Stop watching the socket, which is about to be closed."""
        self._fd = -1
        self._interest = 0
        if self._waits_for != fd:
            self.interrupt()
        trio.lowlevel.notify_closing(fd)

    def cork(self, transport: PollerClient) -> None:
        """Flush the transport at the end of this scheduler turn."""
        self._transport = transport
        self._corked = True
        self._flusher.wake()

    def interrupt(self) -> None:
        """Wake the task that waits for the socket.

        It looks at its interest again.
        """
        if self._waits_for >= 0:
            trio.lowlevel.notify_closing(self._waits_for)

    # --- the receiving task may wait in our task's place -------------------------------------------------------------

    @property
    def free(self) -> bool:
        """Whether data is wanted and no task waits for it.

        Then the receiving task may `read`.
        """
        return self._waits_for < 0 and bool(self._interest & READABLE)

    def hand_over(self) -> None:
        """Leave the socket to the receiving task, which will run, until `watch`."""
        if self._misses:
            self._misses -= 1
        else:
            self._handed_over = True

    def watch(self) -> None:
        """Take the socket back unless the receiving task returns next turn."""
        self._handed_over = False
        self._idle.wake()

    # Ctrl-C interrupts the code that runs: not here, where the connection would lose its access to the network.
    @trio.lowlevel.enable_ki_protection
    async def run(self) -> None:
        """Read and write for the connection, for ever.

        Cancel it when the connection has ended.
        """
        async with trio.open_nursery() as self._nursery:
            self._nursery.start_soon(self._flush_corked)
            self.change(self._fd, self._interest)
            while True:
                if self._fd < 0 or self._waits_for >= 0 or self._handed_over:
                    await self._idle.sleep()
                    if self._waits_for < 0:
                        self._misses = MISSES
                elif self._interest & READABLE:
                    await self.read()
                else:
                    await self._look_out()

    @trio.lowlevel.enable_ki_protection
    async def read(self) -> None:
        """Wait for data in the current task, and pass it on.

        It returns early when it is interrupted. Call it only if the socket is `free`.
        """
        self._waits_for = self._fd
        try:
            await trio.lowlevel.wait_readable(self._fd)
        except trio.ClosedResourceError:
            return  # interrupted
        except OSError:  # the kernel's limit of watched descriptors
            self._transport.give_up()
            return
        finally:
            self._waits_for = -1
        if self._interest & READABLE:
            self._pass_on(READABLE)

    async def _look_out(self) -> None:
        """Watch for the peer's end or an error while reading is paused."""
        await trio.lowlevel.checkpoint()  # most handlers take received messages in their next turn
        if self._fd < 0 or self._interest & READABLE:
            return
        assert make_selector is not None
        try:
            selector = make_selector()
        except OSError:  # out of descriptors: the end is seen when data is wanted again
            await self._idle.sleep()
            return
        try:
            for _, events in await self._report(selector):
                self._pass_on(events)
        except trio.ClosedResourceError:
            pass  # interrupted
        except OSError:
            self._transport.give_up()
        finally:
            selector.close()

    async def _report(self, selector: Selector) -> list[tuple[int, int]]:
        """Wait for events of the socket and return them."""
        selector.add(self._fd, self._interest & PEER_CLOSED)
        self._waits_for = selector.fileno()
        try:
            await trio.lowlevel.wait_readable(self._waits_for)
            return selector.poll()
        finally:
            trio.lowlevel.notify_closing(self._waits_for)
            self._waits_for = -1

    async def _serve_writable(self) -> None:
        """Write while data waits for room in the socket."""
        while self._interest & WRITABLE:
            try:
                await trio.lowlevel.wait_writable(self._fd)
            except trio.ClosedResourceError:
                continue  # it is closed, or another task was interrupted
            except OSError:
                self._transport.give_up()
            if self._interest & WRITABLE:
                self._pass_on(WRITABLE)
        self._writer = False

    async def _flush_corked(self) -> None:
        """Flush the transport, once in each scheduler turn that corked it."""
        while True:
            if not self._corked:
                await self._flusher.sleep()
            else:
                await trio.lowlevel.checkpoint()  # a transport with more work than its share of a turn corked again
            self._corked = False
            try:
                self._transport.uncork()
            except Exception:
                self._transport.give_up()

    def _pass_on(self, events: int) -> None:
        """Pass events of the socket to the transport."""
        try:
            self._transport.ready(events, trio.current_time())
        except Exception:
            self._transport.give_up()
