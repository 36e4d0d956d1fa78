"""The service of a route, which all of its connections share."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, cast

from trio_ws.app.invocation import RouteInvocation
from trio_ws.app.listener import Listener
from trio_ws.connection.serialization import resolve_types
from trio_ws.handler.service import Service

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from trio_ws.app.route import Route
    from trio_ws.app.services import AppServices
    from trio_ws.websocket.websocket import WebSocket

__all__ = ["service_for"]


def service_for(services: AppServices, route: Route) -> Service:
    """Return the service for the connections of a route.

    Args:
        services: of the route's application.
        route: the route.
    """
    options = route.options
    receive_type, send_type = resolve_types(options.receive_type, options.send_type, options.value_type)
    return Service(
        around=partial(RouteInvocation, services, route),
        handler=_run_invocation,
        on_result=None if isinstance(route.target, Listener) else partial(_warn_of_result, route),
        auto_accept=options.auto_accept,
        subprotocols=options.subprotocols,
        caught_close_codes=options.caught_close_codes,
        when_peer_leaves=options.when_peer_leaves,
        receive_type=receive_type,
        send_type=send_type,
        limits=options.limits,
        timeouts=options.timeouts,
        compression=options.compression,
        close_code_of=services.failures.close_code_of,
        on_error=services.report,
        instruments=services.instruments,
    )


def _run_invocation(websocket: WebSocket) -> Awaitable[object]:
    return cast("RouteInvocation", websocket.context.invocation).run()


def _warn_of_result(route: Route, websocket: WebSocket, value: object) -> None:
    connection_log = websocket.context.log
    connection_log.warning(
        "%s: %s returned %s, which is not sent: send() it, or register it with @app.listener()",
        route.view().signature.label,
        type(value).__name__,
    )
