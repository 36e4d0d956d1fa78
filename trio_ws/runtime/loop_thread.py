"""A Trio loop in a thread, through which blocking code of any thread calls async functions."""

from __future__ import annotations

import os
import threading
from collections.abc import Awaitable, Callable, Generator
from contextlib import AbstractAsyncContextManager, contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any, Final, Generic, Self, TypeVar

import trio

from trio_ws.errors import LocalProtocolError

if TYPE_CHECKING:
    from types import TracebackType

__all__ = ["LoopThread"]

T = TypeVar("T")

_CALLABLE: Final = "connect in the process and for the time in which you call it"


class LoopThread:
    """A Trio loop that runs in a thread for a block: `with LoopThread() as loop`.

    Args:
        name: of the thread.
        clock: of the loop; None for real time.

    Raises:
        RuntimeError: this thread runs a Trio loop, which the block would stop.
    """

    _nursery: trio.Nursery
    _stop: trio.Event
    _token: trio.lowlevel.TrioToken

    def __init__(self, name: str, clock: trio.abc.Clock | None = None) -> None:
        self._ready = threading.Event()
        self._process = os.getpid()
        run = partial(trio.run, self._main, clock=clock)
        self._thread = threading.Thread(target=run, name=name, daemon=True)

    def __enter__(self) -> Self:
        if trio.lowlevel.in_trio_run():
            raise RuntimeError("this runs in Trio: write `async with` instead of `with`")
        self._process = os.getpid()
        self._thread.start()
        self._ready.wait()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._is_here:
            self._token.run_sync_soon(self._stop.set)
            self._thread.join()

    @property
    def _is_here(self) -> bool:
        """False in a process that was forked off, which has no thread but the one that forked."""
        return os.getpid() == self._process

    async def _main(self) -> None:
        async with trio.open_nursery() as self._nursery:
            self._stop = trio.Event()
            self._token = trio.lowlevel.current_trio_token()
            self._ready.set()
            await self._stop.wait()
            self._nursery.cancel_scope.cancel(reason="the block has ended")  # contexts that are held all the same

    def run(self, function: Callable[..., Awaitable[T]], *args: Any) -> T:
        """Call an async function in the loop; return its value or raise its error.

        Raises:
            LocalProtocolError: the block has ended, also while the function ran, or this process was forked off within
                it.
        """
        if not self._is_here:
            raise LocalProtocolError(f"the process was forked after it had connected: {_CALLABLE}")
        try:
            return trio.from_thread.run(function, *args, trio_token=self._token)
        except (trio.RunFinishedError, trio.Cancelled):  # nothing but the end of the loop cancels a call
            raise LocalProtocolError(f"the connection has ended: {_CALLABLE}") from None

    def run_sync(self, function: Callable[..., T], *args: Any) -> T:
        """Call a function in the loop; return its value or raise its error."""
        return trio.from_thread.run_sync(function, *args, trio_token=self._token)

    @contextmanager
    def hold(self, manager: AbstractAsyncContextManager[T]) -> Generator[T, None, None]:
        """Enter an async context manager in the loop and exit it with the block, in the same task."""
        held = _HeldContext(manager)
        value: T = self.run(self._nursery.start, held.run)
        try:
            yield value
        except BaseException as error:
            self._leave(held, error)  # raises it, unless the manager suppresses or replaces it
        else:
            self._leave(held, None)

    def _leave(self, held: _HeldContext[Any], error: BaseException | None) -> None:
        if self._is_here:
            self.run(held.leave, error)
        elif error is not None:
            raise error


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
