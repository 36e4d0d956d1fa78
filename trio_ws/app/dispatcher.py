"""Answers of an application to the requests of a server."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractAsyncContextManager, contextmanager
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, Final
from weakref import WeakKeyDictionary

from trio_ws.app.pages import NOT_FOUND, UPGRADE_REQUIRED
from trio_ws.app.refusals import response_from
from trio_ws.app.replies import Reply
from trio_ws.app.route import dependency_types
from trio_ws.app.route_service import service_for
from trio_ws.handler.service import Response, Service

if TYPE_CHECKING:
    from trio_ws.app.parameters.overrides import Overrides
    from trio_ws.app.route import Route
    from trio_ws.app.services import AppServices
    from trio_ws.connection.settings import Settings
    from trio_ws.handler.post_endpoint import PostEndpoint
    from trio_ws.http.request import Request
    from trio_ws.server.server import Server

__all__ = ["Dispatcher"]

PLAIN_TEXT: Final = (("Content-Type", "text/plain; charset=utf-8"),)


class Dispatcher:
    """The responder of one application.

    Args:
        services: of the application.
        match: returns the route for a raw path, with the path's parameters.
        lifespan_context: returns the context that is open while the application runs.
    """

    def __init__(
        self,
        services: AppServices,
        match: Callable[[str], tuple[Route, dict[str, Any]] | None],
        lifespan_context: Callable[[], AbstractAsyncContextManager[None]],
    ) -> None:
        self._services = services
        self._match = match
        self._made = WeakKeyDictionary[Any, Service]()  # services by routes
        self.lifespan_context: Callable[[], AbstractAsyncContextManager[None]] = lifespan_context

    @property
    def settings(self) -> Settings:
        """Options of all connections; a route may have its own."""
        return self._services.settings

    @contextmanager
    def overriding(self, given: Mapping[Any, Any]) -> Iterator[Overrides]:
        """Use substitutes for dependencies, guards, values and the backplane in the block, for tests.

        Args:
            given: the substitutes by what they stand for; see `Overrides`.

        Raises:
            RegistrationError: a key or a substitute cannot be one.
            RuntimeError: another test client has substitutes in use.
        """
        from trio_ws.app.parameters.overrides import Overrides  # noqa: PLC0415 - tests only

        services = self._services
        if services.overrides is not None:
            raise RuntimeError("the application has overrides in use already, by another test client")
        services.overrides = overrides = Overrides(given, dependency_types())
        substitute = overrides.backplane()
        try:
            before = None if substitute is None else services.use_backplane(*substitute)
            try:
                yield overrides
            finally:
                if before is not None:
                    services.use_backplane(before)
        finally:
            services.overrides = None

    def served_by(self, server: Server) -> None:
        """Set the server that runs the application and the included ones."""
        self._services.run_state.server = server

    @property
    def running(self) -> bool:
        """True while the application runs."""
        return self._services.running

    @property
    def state(self) -> SimpleNamespace:
        """Attributes that the application's functions share."""
        return self._services.state

    @property
    def over_budget(self) -> Mapping[str, int]:
        """Messages beyond a budget, by what happened to them."""
        return self._services.budgets.over

    @property
    def page_path(self) -> str | None:
        """The path of a page to open in a browser, the shortest one; None without pages."""
        return self._services.pages.first_path()

    def knows(self, request: Request, *, upgrade: bool) -> bool:
        """Return True if a route or a page matches a request.

        Args:
            request: its path counts.
            upgrade: whether it is a handshake.
        """
        path = request.raw_path
        if self._match(path) is not None:
            return True
        return not upgrade and (path == "/healthz" or self._services.pages.knows(path))

    def endpoint(self, path: str) -> PostEndpoint | None:
        """Return the endpoint for a raw path, None if there is none."""
        return self._services.pages.endpoint(path)

    async def page(self, request: Request) -> Response:
        """Answer a request that is not a WebSocket handshake.

        A `Reply` that the page's function raises is the answer.

        Raises:
            Exception: raised by the page's function.
        """
        if request.raw_path == "/healthz" and not self._services.pages.has("/healthz"):
            return self._health()
        services = self._services
        try:
            answer = await services.pages.answer(request, services.limiters.calls, services.settings.json)
        except Reply as reply:
            return response_from(reply, services)
        if answer is NOT_FOUND and self._match(request.raw_path) is not None:
            return UPGRADE_REQUIRED
        return answer

    def _health(self) -> Response:
        server = self._services.run_state.server
        draining = server is not None and server.draining
        body = b"draining\n" if draining else b"ok\n"
        return Response(status=503 if draining else 200, headers={"Content-Type": "text/plain"}, body=body)

    def route(self, request: Request) -> tuple[Request, Service] | Response:
        """Return the service for a handshake, or the response that refuses it."""
        matched = self._match(request.raw_path)
        if matched is None:
            return Response(status=self._services.not_found_status, headers=PLAIN_TEXT, body=b"no route\n")
        route, parameters = matched
        routed = request.with_path_parameters(parameters)
        service = self._made.get(route)
        if service is None:
            service = self._made[route] = service_for(route.services or self._services, route)
        return routed, service
