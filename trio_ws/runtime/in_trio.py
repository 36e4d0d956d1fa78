"""A check that a function is awaited in a run of Trio."""

from __future__ import annotations

import trio

__all__ = ["check_in_trio"]


def check_in_trio(call: str) -> None:
    """Check that Trio runs the caller.

    Args:
        call: of the function that checks, for the message, such as "app.serve()".

    Raises:
        RuntimeError: asyncio, or nothing, runs it.
    """
    if not trio.lowlevel.in_trio_task():
        raise RuntimeError(f"{call} runs under Trio, not asyncio: write `trio.run(main)`, and `await` it in main()")
