"""Worker threads for plain functions of users, which may block."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Awaitable, Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from contextvars import Context, ContextVar, copy_context
from types import FunctionType, MethodType, TracebackType
from typing import Any, Final, TypeAlias, TypeVar

import attrs
import trio

__all__ = [
    "Limiters",
    "ThreadedContext",
    "around_calls",
    "call",
    "in_loop",
    "layers",
    "run_in_thread",
    "runs_in_thread",
    "underlying",
    "variables_of_task",
]

T = TypeVar("T")

Around: TypeAlias = "Callable[[Callable[[], Awaitable[Any]]], Awaitable[Any]]"

around_calls: Final[ContextVar[Around | None]] = ContextVar("around_calls", default=None)
"""Makes the calls of short functions in threads; the test client holds virtual time meanwhile."""


@attrs.frozen(eq=False, repr=False)
class Limiters:
    """Bounds of an application's threads; None for Trio's own limiter."""

    views: trio.CapacityLimiter | None = None
    """Views and callbacks, which may run as long as a connection."""
    calls: trio.CapacityLimiter | None = None
    """Guards, dependencies, pages and other short calls."""
    exits: trio.CapacityLimiter | None = None
    """Clean-up. It never waits for calls, which may be waiting for what it gives back."""

    @classmethod
    def of(cls, max_threads: float) -> Limiters:
        """Return limiters of as many threads each."""
        return cls(*(trio.CapacityLimiter(max_threads) for _ in attrs.fields(cls)))


def in_loop(function: T) -> T:
    """Call a cheap plain function or class in the event loop.

    Without it a thread is used, which costs some 100 microseconds for each call. The function must not block:
    everything else waits for it. A class may say `in_loop = True` in its body instead, for its constructor and, of a
    guard, for `can_activate`. Plain views and callbacks of listeners always have a thread.
    """
    function.in_loop = True  # type: ignore[attr-defined]
    return function


def layers(function: Any) -> Iterator[Any]:
    """Yield a callable, and what it wraps, down to the `def`.

    Layers are partials, methods, decorators and callable objects.
    """
    yield function
    while not inspect.isclass(function):
        if isinstance(function, functools.partial):
            function = function.func
        elif isinstance(function, MethodType | staticmethod | classmethod):
            function = function.__func__
        elif (wrapped := getattr(function, "__wrapped__", None)) is not None:
            function = wrapped
        elif not isinstance(function, FunctionType) and isinstance(type(function).__call__, FunctionType):
            function = type(function).__call__
        else:
            return
        yield function


def underlying(function: Any) -> Any:
    """Return the function or class below all `layers`."""
    *_, written = layers(function)
    return written


def is_plain(function: Any) -> bool:
    """Return whether a function and its decorators are all synchronous."""
    return not any(
        inspect.iscoroutinefunction(layer) or inspect.isasyncgenfunction(layer) for layer in layers(function)
    )


def runs_in_thread(function: Any) -> bool:
    """Return whether a function is called in a thread.

    It is if it is plain, may block, and is not marked with `in_loop`.
    """
    cheap = any(
        getattr(layer, "in_loop", False) is True or getattr(getattr(layer, "__self__", None), "in_loop", False) is True
        for layer in layers(function)
    )
    return not cheap and is_plain(function) and not _does_nothing(underlying(function))


def _does_nothing(function: Any) -> bool:
    """Return whether it is a class without a constructor of its own."""
    return inspect.isclass(function) and function.__init__ is object.__init__ and function.__new__ is object.__new__


async def call(function: Callable[..., Any], *args: Any, limiter: trio.CapacityLimiter | None = None) -> Any:
    """Call a function, in a thread if it `runs_in_thread`.

    If its result is awaitable, it is awaited.

    Args:
        function: of a user.
        args: to call it with.
        limiter: bounds the threads; None for Trio's own.

    Raises:
        Exception: as the function raises it.
        trio.Cancelled: before the call, or in what it returned; the thread itself is waited for.
    """
    if runs_in_thread(function):
        value = await run_in_thread(functools.partial(function, *args), limiter)
    else:
        value = function(*args)
    return await value if inspect.isawaitable(value) else value


@contextmanager
def variables_of_task(context: Context | None = None) -> Iterator[Callable[[Callable[[], T]], T]]:
    """Lend this task's context variables to work in a thread; its changes hold in the task afterwards.

    Args:
        context: in which the work runs, if it goes on from other work: a variable can be reset only where it was set.
            None for a copy of the task's.
    """
    task = copy_context()
    lent = task.copy() if context is None else context

    def run(work: Callable[[], T]) -> T:
        if lent is context:
            lent.run(lambda: _take_over(task, copy_context()))
        return lent.run(work)

    try:
        yield run
    finally:
        _take_over(lent, task)


def _take_over(context: Context, before: Context) -> None:
    """Set the context variables that have another value in `context` than before."""
    for variable, value in context.items():
        if before.get(variable, _UNSET) is not value:
            variable.set(value)


_UNSET: Final = object()


async def run_in_thread(
    work: Callable[[], T], limiter: trio.CapacityLimiter | None, context: Context | None = None
) -> T:
    """Run a user's short function in a thread, and return its result.

    Args:
        work: the function.
        limiter: bounds the threads; None for Trio's own.
        context: as of `variables_of_task`.

    Raises:
        Exception: as the function raises it.
        trio.Cancelled: it has not begun.
    """

    around = around_calls.get()
    with variables_of_task(context) as lent:

        def boxed() -> tuple[T]:  # Trio takes a result that can be awaited for a mistake
            return (lent(work),)

        run = functools.partial(trio.to_thread.run_sync, boxed, limiter=limiter)
        (result,) = await (run() if around is None else around(run))
    return result


@attrs.frozen(eq=False, repr=False)
class ThreadedContext:
    """A plain context manager in asynchronous form: entered and left in threads, in one context.

    Args:
        manager: of a user.
        limiters: bound the threads.
    """

    manager: AbstractContextManager[Any]
    limiters: Limiters
    _context: Context = attrs.field(factory=copy_context, init=False)

    async def __aenter__(self) -> Any:
        return await run_in_thread(self.manager.__enter__, self.limiters.calls, self._context)

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        leave = functools.partial(self.manager.__exit__, kind, error, trace)
        with trio.CancelScope(shield=True):  # else a cancelled handler would keep what it depends on
            handled = await run_in_thread(leave, self.limiters.exits, self._context)
        return bool(handled)
