"""The check that allows the compiled core a look into Trio's tasks."""

from __future__ import annotations

from types import CodeType
from typing import Final

from trio.lowlevel import checkpoint_if_cancelled

__all__ = ["cancellation_is_visible"]

_KNOWN: Final = {
    "current_task",
    "_cancel_status",
    "effectively_cancelled",
    "main_task",
    "_runner",
    "ki_pending",
    "_core",
    "checkpoint",
    "AssertionError",
    "_cancel_points",
}
"""All names that `checkpoint_if_cancelled` uses in the versions of Trio in which it was read."""


def cancellation_is_visible() -> bool:
    """Return True if a task's attributes say whether it is cancelled, as far as can be told.

    There is no public way to ask that without a coroutine. If Trio's own function for it uses other names than those
    known, it has changed, and the core calls that function.
    """
    code: object = getattr(checkpoint_if_cancelled, "__code__", None)
    return isinstance(code, CodeType) and set(code.co_names) == _KNOWN
