"""Virtual time for tests, which stands still while functions of the application run in threads."""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable, Generator, Iterator
from contextlib import contextmanager
from functools import wraps
from typing import Any, ParamSpec, TypeVar

import outcome
import trio
import trio.testing

from trio_ws.runtime.threads import around_calls

__all__ = ["ClientClock", "NoVirtualTime", "held_clock", "time_held_for_threads", "time_passing", "virtual_time"]

P = ParamSpec("P")
T = TypeVar("T")


class NoVirtualTime(RuntimeError):  # noqa: N818 - a state of the test
    """A test client was asked for virtual time where the time is not its own; the message has the fix.

    Example:
        with pytest.raises(NoVirtualTime):
            async with app.test_client(virtual_time=True, network=SocketNetwork()):
                pass
    """


def virtual_time(function: Callable[P, Awaitable[T]]) -> Callable[P, T]:
    """Run an async test by a clock that jumps over all waiting, in a Trio run of its own.

    The result is a plain function: with Hypothesis each example has its own run and its own clock, no fixture is
    needed and no health check has to be suppressed. It works with pytest-trio and without, and for unittest.

    Example:
        @given(messages())
        @virtual_time
        async def test_an_hour_later(message):
            async with app.test_client() as client, client.websocket_connect("/echo") as ws:
                await trio.sleep(3600)
                await ws.send(message)
                assert await ws.receive() == message

    Args:
        function: the test; its arguments are those of the result.

    Raises:
        RuntimeError: (the result) it was called within Trio.
    """

    @wraps(function)
    def run(*args: P.args, **kwargs: P.kwargs) -> T:
        async def main() -> T:
            return await function(*args, **kwargs)

        if trio.lowlevel.in_trio_run():
            raise RuntimeError(f"{function.__name__} has a Trio run of its own: call it outside of Trio")
        return trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0))

    return run


class ClientClock:
    """The clock of a test client's Trio run.

    Example:
        async with app.test_client() as client:
            began = client.clock.now()
            await client.clock.sleep(3600)
            assert client.clock.now() - began >= 3600
    """

    @property
    def virtual(self) -> bool:
        """True for virtual time, in which waiting takes no time.

        Raises:
            RuntimeError: it is not called within Trio.
        """
        return isinstance(trio.lowlevel.current_clock(), trio.testing.MockClock)

    def now(self) -> float:
        """Return the time in seconds; only differences have a meaning.

        Raises:
            RuntimeError: it is not called within Trio.
        """
        return trio.current_time()

    async def sleep(self, seconds: float) -> None:
        """Let time pass for the server and the client.

        Virtual time that does not jump by itself, as with pytest-trio's `mock_clock`, is set forward.

        Args:
            seconds: 0 or more.

        Raises:
            ValueError: it is less than 0.
            trio.Cancelled: before the time was over.
        """
        clock = trio.lowlevel.current_clock()
        if isinstance(clock, trio.testing.MockClock) and not clock.rate and clock.autojump_threshold == math.inf:
            await trio.testing.wait_all_tasks_blocked()
            clock.jump(seconds)
            await trio.testing.wait_all_tasks_blocked()
        else:
            await trio.sleep(seconds)


def held_clock() -> trio.testing.MockClock:
    """Return a clock that stands still except within `time_passing`."""
    return trio.testing.MockClock(rate=0.0, autojump_threshold=math.inf)


@contextmanager
def time_passing(clock: trio.testing.MockClock | None, calls: list[object]) -> Generator[None, None, None]:
    """Let virtual time jump over waiting for the duration of a block.

    Args:
        clock: made by `held_clock`; None for the system's time, which always passes.
        calls: the blocks that are entered; the time stands still again when the last one is left.
    """
    if clock is None:
        yield
        return
    call = object()
    calls.append(call)
    clock.autojump_threshold = 0
    try:
        yield
    finally:
        calls.remove(call)
        if not calls:
            clock.autojump_threshold = math.inf


@contextmanager
def time_held_for_threads() -> Iterator[None]:
    """Keep an autojump clock from jumping while tasks wait for a thread.

    It affects the tasks that are started in the block. With other clocks it does nothing.
    """
    if not isinstance(trio.lowlevel.current_clock(), trio.testing.MockClock):
        yield
        return
    token = around_calls.set(_hold)
    try:
        yield
    finally:
        around_calls.reset(token)


async def _hold(run: Callable[[], Awaitable[Any]]) -> Any:
    async with trio.open_nursery() as nursery:
        # Trio's clock does not jump while a task waits for all others to be blocked.
        nursery.start_soon(trio.testing.wait_all_tasks_blocked, math.inf)
        result: outcome.Outcome[Any] = await outcome.acapture(run)
        nursery.cancel_scope.cancel(reason="the thread has ended")
    return result.unwrap()
