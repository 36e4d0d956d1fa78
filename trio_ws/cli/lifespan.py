"""Errors of an application's lifespan, in one line of the command."""

from __future__ import annotations

import traceback
from collections.abc import Iterator

from trio_ws.app.inclusion import LIFESPAN_NOTE
from trio_ws.cli.loading import UsageError
from trio_ws.escaping import printable
from trio_ws.server.signals import print_line

__all__ = ["lifespan_error"]

_MOST_CAUSES = 5


def lifespan_error(error: Exception, *, verbose: bool) -> UsageError | None:
    """Return the error of the command for one that a lifespan has raised; None for every other.

    Args:
        error: as the application's run raised it.
        verbose: whether its traceback is written to standard error.
    """
    if not _is_noted(error):
        return None
    if verbose:
        print_line("".join(traceback.format_exception(error)).rstrip("\n"))
    causes = ", because of ".join(map(_described, _causes(error)))
    hint = "" if verbose else " (--log-level debug shows the traceback)"
    return UsageError(f"the lifespan of the application failed: {causes}{hint}")


def _is_noted(error: BaseException) -> bool:
    if LIFESPAN_NOTE in getattr(error, "__notes__", ()):
        return True
    return isinstance(error, BaseExceptionGroup) and any(map(_is_noted, error.exceptions))


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    """Yield an error and what led to it; of a group its first member."""
    for _ in range(_MOST_CAUSES):
        while isinstance(error, BaseExceptionGroup):
            error = error.exceptions[0]
        if error is None:
            return
        yield error
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)


def _described(error: BaseException) -> str:
    text = " ".join(str(error).split())
    return printable(f"{type(error).__name__}: {text}" if text else type(error).__name__)
