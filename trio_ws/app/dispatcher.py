"""Responder: what a server, ours or an ASGI one, asks an application about each request."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from types import SimpleNamespace
from typing import TYPE_CHECKING

from trio_ws.app.inclusion import guests_of
from trio_ws.app.invocation import RouteInvocation
from trio_ws.app.pages import NOT_FOUND, UPGRADE_REQUIRED
from trio_ws.handler.service import Response

if TYPE_CHECKING:
    from trio_ws.app.application import App
    from trio_ws.connection.settings import Settings
    from trio_ws.handler.service import Service
    from trio_ws.http.request import Request
    from trio_ws.server.server import Server

__all__ = ["Dispatcher"]


class Dispatcher:
    """Answers for one application.

    Args:
        app: whose routes and pages there are.
    """

    def __init__(self, app: App) -> None:
        self._app = app
        self.settings: Settings = app.settings
        self.lifespan_context: Callable[[], AbstractAsyncContextManager[None]] = app.lifespan_context

    def served_by(self, server: Server) -> None:
        """Hear which server runs the application."""
        for app in (self._app, *(guest.app for guest in guests_of(self._app))):
            app._server = server

    @property
    def running(self) -> bool:
        """Whether the application runs."""
        return self._app._nursery is not None

    @property
    def state(self) -> SimpleNamespace:
        """What the application's functions share."""
        return self._app.state

    def knows(self, request: Request, *, upgrade: bool) -> bool:
        """Say whether a request is for the application, and for nobody beside it.

        Args:
            request: its path counts.
            upgrade: whether it is a handshake.
        """
        path = request.raw_path
        if self._app.match(path) is not None:
            return True
        return not upgrade and (path == "/healthz" or self._app._pages.knows(path))

    async def page(self, request: Request) -> Response:
        """Answer a request that is no handshake."""
        if request.raw_path == "/healthz" and not self._app._pages.has("/healthz"):
            return self._health()
        answer = await self._app._pages.answer(request, self._app.limiters.calls)
        if answer is NOT_FOUND and self._app.match(request.raw_path) is not None:
            return UPGRADE_REQUIRED
        return answer

    def _health(self) -> Response:
        draining = self._app._server is not None and self._app._server.draining
        body = b"draining\n" if draining else b"ok\n"
        return Response(status=503 if draining else 200, headers={"Content-Type": "text/plain"}, body=body)

    def route(self, request: Request) -> tuple[Request, Service] | Response:
        """Find the handler for a handshake, or say how it is refused."""
        matched = self._app.match(request.raw_path)
        if matched is None:
            return Response(status=self._app.not_found_status)
        route, parameters = matched
        routed = request.with_path_parameters(parameters)
        return routed, RouteInvocation(route.app or self._app, route, routed).service()
