"""A nursery for the library's tasks around a block of user code."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import trio

__all__ = ["open_background"]


@asynccontextmanager
async def open_background() -> AsyncGenerator[trio.Nursery, None]:
    """Open a nursery whose tasks are cancelled when the block ends.

    An error of the block leaves it as it is. Only if a task has failed too there is a group, of all their errors.
    """
    failure: BaseException | None = None
    try:
        async with trio.open_nursery() as nursery:
            try:
                yield nursery
            except BaseException as error:
                failure = error
            nursery.cancel_scope.cancel(reason="the block has ended")
    except BaseException as error:
        if failure is None or isinstance(failure, trio.Cancelled):
            raise
        others = error.exceptions if isinstance(error, BaseExceptionGroup) else (error,)
        raise BaseExceptionGroup("errors in a block and in its background tasks", [failure, *others]) from None
    if failure is not None:
        raise failure
