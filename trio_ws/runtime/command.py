"""Marks that the command `trio-ws` leaves for applications: its import of a module, a worker's number."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Final

__all__ = ["WORKER_VARIABLE", "RunDuringImportError", "check_not_importing", "importing"]

WORKER_VARIABLE: Final = "TRIO_WS_WORKER"
"""The environment variable with the worker's number, from 1; a replacement has the same number."""

_MODULE: Final[ContextVar[str | None]] = ContextVar("trio_ws.command_import", default=None)


class RunDuringImportError(RuntimeError):
    """`App.run` was called by a module that the command `trio-ws` imports."""


@contextmanager
def importing(module: str) -> Generator[None]:
    """Mark a block as the import of a module by the command.

    Args:
        module: its name, for the message of the error.
    """
    token = _MODULE.set(module)
    try:
        yield
    finally:
        _MODULE.reset(token)


def check_not_importing() -> None:
    """Raise the error of a module that serves while it is imported.

    Raises:
        RunDuringImportError: the command imports a module, which would never return.
    """
    module = _MODULE.get()
    if module is not None:
        raise RunDuringImportError(
            f"{module} calls app.run() while it is imported: put the call below "
            '`if __name__ == "__main__":`, so that only `python` on the file runs it'
        )
