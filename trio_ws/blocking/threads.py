"""Plain `def` handlers in worker threads."""

from __future__ import annotations

import inspect
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator
from contextvars import copy_context
from functools import partial
from typing import TYPE_CHECKING, Any, Final, TypeVar

import trio

from trio_ws.blocking.websocket import BlockingWebSocket, expect_reading
from trio_ws.runtime.threads import Limiters, run_in_thread, underlying, variables_of_task

if TYPE_CHECKING:
    from trio_ws.websocket.websocket import WebSocket

__all__ = ["in_thread"]

T = TypeVar("T")

_END: Final = object()
"""Returned for a generator that has ended."""


def in_thread(
    function: Callable[..., Any], websocket: WebSocket, limiters: Limiters, *, last: bool = False, brief: bool = False
) -> Callable[..., Awaitable[Any] | AsyncGenerator[Any, None]]:
    """Return an asynchronous form of a function, run in a thread.

    Args:
        function: where it takes `websocket`, it gets the blocking one.
        websocket: the connection it is for.
        limiters: bound the threads.
        last: whether it is part of the clean-up.
        brief: whether it is a short call, for which views and callbacks leave room; it is no generator.

    Of a generator function it is an asynchronous generator, each step of which is made in a thread.

    Cancellation reaches the thread in whatever method of the connection it waits; the thread is waited for.
    """
    blocking = BlockingWebSocket(websocket)
    limiter = limiters.exits if last else limiters.views

    def filled(*args: Any, **kwargs: Any) -> Callable[[], Any]:
        expect_reading(websocket)
        swapped = [blocking if value is websocket else value for value in args]
        named = {name: blocking if value is websocket else value for name, value in kwargs.items()}
        return partial(function, *swapped, **named)

    async def run(*args: Any, **kwargs: Any) -> Any:
        call = filled(*args, **kwargs)
        if brief:
            result = await run_in_thread(call, limiters.calls)
            return await result if inspect.isawaitable(result) else result
        with variables_of_task() as lent:
            (result,) = await trio.to_thread.run_sync(lambda: (lent(call),), limiter=limiter)  # also to be awaited
        return await result if inspect.isawaitable(result) else result

    def run_generator(*args: Any, **kwargs: Any) -> AsyncGenerator[Any, None]:
        return _in_steps(filled(*args, **kwargs)(), limiters)

    return run_generator if inspect.isgeneratorfunction(underlying(function)) else run


async def _in_steps(generator: Generator[Any, Any, Any], limiters: Limiters) -> AsyncGenerator[Any, None]:
    """Yield what a plain generator does; it is closed with this one."""
    context = copy_context()

    async def step(work: Callable[[], T], limiter: trio.CapacityLimiter | None) -> T:
        with variables_of_task(context) as lent:
            return await trio.to_thread.run_sync(lent, work, limiter=limiter)

    try:
        while (value := await step(partial(next, generator, _END), limiters.views)) is not _END:
            yield value
    finally:
        with trio.CancelScope(shield=True):
            await step(generator.close, limiters.exits)
