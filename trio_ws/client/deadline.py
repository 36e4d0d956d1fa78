"""The deadline of an attempt to connect.

Before it ends the attempt, it waits for the input that has arrived.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, TypeVar

import trio

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from trio_ws.client.streams import ConnectProgress

__all__ = ["within"]

STEP_TURNS: Final = 8
"""Turns of the loop that a step, of TLS's handshake say, takes at most between reading and writing."""

Result = TypeVar("Result")


async def within(seconds: float, progress: ConnectProgress, attempt: Callable[[], Awaitable[Result]]) -> Result | None:
    """Await an attempt; return None if its time is over first.

    If the loop was held up, input that has arrived by then may complete a step. A step completed only then gives the
    attempt its full time again, since the other side could not continue before.

    Args:
        seconds: for all steps together.
        progress: has the time of the last step.
        attempt: a function, which is cancelled when its time is over.
    """
    result: Result | None = None
    failure: BaseException | None = None
    try:
        async with trio.open_nursery() as nursery:
            with trio.CancelScope() as scope:
                nursery.start_soon(_give_up_late, seconds, progress, scope)
                try:
                    result = await attempt()
                except trio.Cancelled:
                    raise
                except BaseException as error:  # the nursery would make a group of it
                    failure = error
            nursery.cancel_scope.shield = True  # a cancellation now must not lose the result, which is to be closed
            nursery.cancel_scope.cancel(reason="the attempt has ended")
    except BaseExceptionGroup:
        if failure is None:
            await trio.lowlevel.checkpoint_if_cancelled()  # the cancellation itself, not the nursery's group of it
            raise
    if failure is not None:
        raise failure
    return result


async def _give_up_late(seconds: float, progress: ConnectProgress, scope: trio.CancelScope) -> None:
    """Cancel an attempt when its time passed without a step."""
    deadline = trio.current_time() + seconds
    while True:
        await trio.sleep_until(deadline)
        for _ in range(STEP_TURNS):
            await trio.lowlevel.checkpoint()
        if progress.step_time <= deadline:
            break
        deadline = progress.step_time + seconds
    scope.cancel(reason="its time is over")
