"""The settings and services that the connections of one server share."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

import attrs

from trio_ws.handler.service import Response, Service

if TYPE_CHECKING:
    from collections.abc import Callable

    from trio_ws.connection.settings import Settings
    from trio_ws.http.request import Request
    from trio_ws.runtime.timers import TimeoutQueue, Timers
    from trio_ws.server.shutdown import GracefulShutdown

__all__ = ["HasResponder", "Responder", "ServerContext"]


class Responder(Protocol):
    """The application's answer to each request.

    A responder with pages may have `page_path`, the path of one to open in a browser; one with budgets `over_budget`, a
    count of messages by what happened to them; one that takes POSTs `endpoint`, a function of a path that returns a
    `PostEndpoint` or None.
    """

    async def page(self, request: Request) -> Response | None:
        """Return the answer to a plain GET; None if only WebSockets are served."""

    def route(self, request: Request) -> tuple[Request, Service] | Response:
        """Return the service for an upgrade, with the request as its route sees it, or a refusal."""


class HasResponder(Protocol):
    """An application that servers and test clients take, as an `App` is."""

    @property
    def responder(self) -> Responder:
        """The object that answers its requests."""


@attrs.frozen(kw_only=True)
class ServerContext:
    """The settings and services that all connections of a server share."""

    responder: Responder
    settings: Settings
    timers: Timers
    shutdown: GracefulShutdown
    """Once it has begun, upgrades are refused with 503."""
    open_timeouts: TimeoutQueue
    """Calls `on_timeout` of handshakes that are not answered within `open_timeout`."""
    on_closed: Callable[[Any, Exception | None], None]
    """Called with each `ServerConnection` at its end, and an unhandled error of its handler or its own."""
    strict: bool
    """Whether such an error ends the server."""
