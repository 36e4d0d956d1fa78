"""Overrides, log records and virtual time of a test client."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

import trio
import trio.testing

from trio_ws.testing.clock import NoVirtualTime, held_clock
from trio_ws.testing.logs import captured
from trio_ws.testing.network import SocketNetwork

if TYPE_CHECKING:
    from logging import LogRecord

    from trio_ws.testing.network import Network

__all__ = ["Extras", "UnusedOverride"]


class UnusedOverride(Exception):  # noqa: N818 - a state of the test
    """An override of a test client was not used; the message has its key.

    Example:
        with pytest.raises(UnusedOverride, match="database"):
            async with app.test_client(overrides={database: {}}):
                pass  # no connection has asked for it
    """


class Extras:
    """The options of one test client that its server does not have.

    Args:
        responder: the responder under test.
        overrides: the substitutes, for `Dispatcher.overriding`.
        log_level: of the collected log records; None to collect none.
        virtual_time: whether time has to be virtual.
    """

    def __init__(
        self, responder: object, overrides: Mapping[Any, Any], log_level: int | None, *, virtual_time: bool
    ) -> None:
        if not isinstance(overrides, Mapping):
            raise TypeError(f"overrides takes a mapping such as {{dependency: substitute}}, not {overrides!r}")
        if isinstance(log_level, bool) or not isinstance(log_level, int | None):
            raise TypeError(f"log_level takes a level such as logging.INFO, or None, not {log_level!r}")
        self._responder = responder
        self._overrides = overrides
        self._log_level = log_level
        self._virtual_time = virtual_time
        self._records: list[LogRecord] = []

    @property
    def log_records(self) -> list[LogRecord]:
        """The collected log records.

        Raises:
            RuntimeError: none are collected.
        """
        if self._log_level is None:
            raise RuntimeError("no log records are collected: create the client with log_level=logging.INFO, say")
        return self._records

    def portal_clock(self, network: Network) -> trio.testing.MockClock | None:
        """Return the clock of a client in a plain test; None for real time.

        Raises:
            NoVirtualTime: bytes on real sockets arrive in real time only.
        """
        if not self._virtual_time:
            return None
        if isinstance(network, SocketNetwork):
            raise NoVirtualTime("bytes on sockets arrive in real time: leave out virtual_time or SocketNetwork()")
        return held_clock()

    def check_clock(self) -> None:
        """Check that time is virtual if it has to be.

        Raises:
            NoVirtualTime: it is not.
        """
        if self._virtual_time and not isinstance(trio.lowlevel.current_clock(), trio.testing.MockClock):
            raise NoVirtualTime(
                "an async test has the clock of its Trio run: decorate it with @trio_ws.testing.virtual_time, or let "
                "it take pytest-trio's fixture autojump_clock"
            )

    @contextmanager
    def entered(self) -> Iterator[None]:
        """Use overrides and collect log records in the block.

        Raises:
            RegistrationError: an override cannot be one.
            TypeError: the responder takes no overrides.
            UnusedOverride: an override was not used, and the block raised nothing.
        """
        with ExitStack() as stack:
            if self._log_level is not None:
                self._records = []
                stack.enter_context(captured(self._records, self._log_level))
            overrides = None
            if self._overrides:
                overriding = getattr(self._responder, "overriding", None)
                if overriding is None:
                    raise TypeError("overrides are for an App: this responder has no dependencies")
                overrides = stack.enter_context(overriding(self._overrides))
            yield
            if overrides is not None and overrides.unused:
                raise UnusedOverride(f"these overrides were not used: {', '.join(overrides.unused)}")
