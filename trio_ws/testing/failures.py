"""Errors of a test and of its server, raised together."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from trio_ws.errors import ConnectError, WebSocketDisconnect
from trio_ws.testing.raw_input import RawConnectionEnded

__all__ = ["raise_failures"]

CONSEQUENCES: Final = (WebSocketDisconnect, ConnectError, RawConnectionEnded)
"""Errors on the client's side that an error of the server causes; the server's error is raised instead."""


def raise_failures(failure: BaseException | None, errors: Sequence[BaseException], note: str) -> None:
    """Raise the test's failure, the server's errors, or both in a group; return if there are none.

    Args:
        failure: the error of the test.
        errors: those of the server.
        note: added to each of them, "" for nothing.
    """
    failures = list(errors)
    if failure is not None and not (errors and isinstance(failure, CONSEQUENCES)):
        failures.insert(0, failure)
    for error in failures if note else ():
        error.add_note(note)
    match failures:
        case []:
            pass
        case [only]:
            raise only
        case _:
            raise BaseExceptionGroup("errors in the test and in the server", failures)
