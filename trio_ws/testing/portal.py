"""A Trio loop in a thread, through which blocking code calls async functions."""

from __future__ import annotations

import threading
from collections.abc import Awaitable, Callable, Generator
from contextlib import AbstractAsyncContextManager, contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any, Generic, Self, TypeVar

import trio
import trio.testing

from trio_ws.testing.clock import time_passing

if TYPE_CHECKING:
    from types import TracebackType

__all__ = ["BlockingPortal"]

T = TypeVar("T")


class BlockingPortal:
    """A Trio loop that runs in a thread for a block: `with BlockingPortal() as portal`.

    Args:
        clock: a clock of `held_clock`, by which time passes only during calls; None for real time.

    Raises:
        RuntimeError: this thread runs a Trio loop, which the block would stop.
    """

    _nursery: trio.Nursery
    _stop: trio.Event
    _token: trio.lowlevel.TrioToken

    def __init__(self, clock: trio.testing.MockClock | None = None) -> None:
        self._clock = clock
        self._calls: list[object] = []  # those in which time passes
        self._ready = threading.Event()
        run = partial(trio.run, self._main, clock=clock)
        self._thread = threading.Thread(target=run, name="trio_ws portal", daemon=True)

    def __enter__(self) -> Self:
        if trio.lowlevel.in_trio_run():
            raise RuntimeError("this test runs in Trio: write `async with` instead of `with`")
        self._thread.start()
        self._ready.wait()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._token.run_sync_soon(self._stop.set)
        self._thread.join()

    async def _main(self) -> None:
        async with trio.open_nursery() as self._nursery:
            self._stop = trio.Event()
            self._token = trio.lowlevel.current_trio_token()
            self._ready.set()
            await self._stop.wait()

    def run(self, function: Callable[..., Awaitable[T]], *args: Any) -> T:
        """Call an async function in the loop; return its value or raise its error."""
        return trio.from_thread.run(self._call, partial(function, *args), trio_token=self._token)

    def run_sync(self, function: Callable[..., T], *args: Any) -> T:
        """Call a function in the loop; return its value or raise its error."""
        return trio.from_thread.run_sync(function, *args, trio_token=self._token)

    async def _call(self, function: Callable[[], Awaitable[T]]) -> T:
        with time_passing(self._clock, self._calls):
            return await function()

    @contextmanager
    def hold(self, manager: AbstractAsyncContextManager[T]) -> Generator[T, None, None]:
        """Enter an async context manager in the loop and exit it with the block, in the same task."""
        held = _HeldContext(manager)
        value: T = self.run(self._nursery.start, held.run)
        try:
            yield value
        except BaseException as error:
            self.run(held.leave, error)  # raises it, unless the manager suppresses or replaces it
        else:
            self.run(held.leave, None)


class _HeldContext(Generic[T]):
    """An async context manager that one task enters and exits."""

    def __init__(self, manager: AbstractAsyncContextManager[T]) -> None:
        self._manager = manager
        self._exit_requested = trio.Event()
        self._exited = trio.Event()
        self._entered = False
        self._error: BaseException | None = None

    async def run(self, *, task_status: trio.TaskStatus[T]) -> None:
        """Enter, wait for `leave`, and exit; `leave` raises the errors of the exit."""
        try:
            async with self._manager as value:
                self._entered = True
                task_status.started(value)
                await self._exit_requested.wait()
                self._raise()
            self._error = None
        except BaseException as error:
            if not self._entered:
                raise
            self._error = error
        finally:
            self._exited.set()

    async def leave(self, error: BaseException | None) -> None:
        """Exit the context with or without an error, and raise the result."""
        if not self._exited.is_set():
            self._error = error
        self._exit_requested.set()
        await self._exited.wait()
        self._raise()

    def _raise(self) -> None:
        if self._error is not None:
            raise self._error
