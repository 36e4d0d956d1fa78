"""The interface between a poller and the transports whose sockets it watches."""

from __future__ import annotations

from typing import Protocol

__all__ = ["InterestSet", "PollerClient", "SocketPoller"]


class PollerClient(Protocol):
    """The part of a transport that its poller calls."""

    def ready(self, events: int, now: float) -> None:
        """Handle readiness events of the socket."""

    def uncork(self) -> None:
        """Do the work put off to the end of a turn."""

    def give_up(self) -> None:
        """Handle an exception of one of these calls."""


class SocketPoller(Protocol):
    """A watcher of transports' sockets that calls `ready` and `uncork`.

    It is a `Poller` or a `SingleSocketPoller`.
    """

    buffer: memoryview
    handshakes: int

    @property
    def selector(self) -> InterestSet:
        """The events that sockets are watched for."""

    def add(self, transport: PollerClient, fd: int, interest: int) -> None:
        """Begin to watch a transport's socket."""

    def remove(self, fd: int) -> None:
        """Stop watching a socket that is about to be closed."""

    def cork(self, transport: PollerClient) -> None:
        """Call `uncork` of `transport` at the end of this scheduler turn."""


class InterestSet(Protocol):
    """The part of `Selector` that transports use."""

    def change(self, fd: int, interest: int, /) -> None:
        """Watch `fd` for other events."""
