"""The interface of a handler runner to the connection around its handler."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from trio_ws.runtime.timers import Timers

__all__ = ["NoOpener", "Opener"]


class Opener(ABC):
    """Opens one connection for a `HandlerRunner`, and closes it.

    The runner calls the methods in this order, in its own coroutine: an idle connection keeps no frame of theirs.
    """

    __slots__ = ()

    @property
    @abstractmethod
    def timers(self) -> Timers:
        """The timers of the connection."""

    @abstractmethod
    async def open(self) -> bool:
        """Read the request and `prepare` the runner; return False if there is no handler to run."""

    @abstractmethod
    async def finish(self) -> None:
        """Wait for the client to read the last answer, unless opening or handler failed."""

    @abstractmethod
    def on_failure(self, failure: Exception) -> Exception:
        """Log an error outside of the handler and return it, or raise it."""

    @abstractmethod
    async def close(self, error: Exception | None) -> None:
        """Release what the connection holds, in any case; an exception may be on its way."""

    @abstractmethod
    def result(self, error: Exception | None) -> Exception | None:
        """Return the result of `HandlerRunner.run` for an unhandled error, or raise the error."""


class NoOpener(Opener):
    """The opener of a connection that the caller of `run` opens and closes.

    Args:
        timers: of the connection.
    """

    __slots__ = ("_timers",)

    def __init__(self, timers: Timers) -> None:
        self._timers = timers

    @property
    def timers(self) -> Timers:
        """The timers of the connection."""
        return self._timers

    async def open(self) -> bool:
        """Run the handler: the caller has prepared the runner."""
        return True

    async def finish(self) -> None:
        """Leave it to the caller."""

    def on_failure(self, failure: Exception) -> Exception:
        """Raise the error in the caller."""
        raise failure

    async def close(self, error: Exception | None) -> None:
        """Leave it to the caller."""

    def result(self, error: Exception | None) -> Exception | None:
        """Return the unhandled error to the caller."""
        return error
