"""Bounded clean-up of a context that is left after cancellation."""

from __future__ import annotations

import math
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import trio

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator
    from contextlib import AbstractAsyncContextManager

__all__ = ["is_cancelled", "unwound"]


def is_cancelled() -> bool:
    """Return True if the current task's next checkpoint raises `Cancelled`."""
    return trio.current_effective_deadline() == -math.inf


@asynccontextmanager
async def unwound(context: AbstractAsyncContextManager[object], seconds: float) -> AsyncGenerator[None, None]:
    """Enter a context, and bound and shield its exit if the block is cancelled.

    Args:
        context: entered for the block.
        seconds: limit for the exit of a cancelled block.

    Raises:
        trio.Cancelled: as the block raises it.
    """
    with trio.CancelScope() as scope:
        async with context:
            try:
                yield
            finally:
                if is_cancelled():
                    scope.deadline = trio.current_time() + seconds
                    scope.shield = True
