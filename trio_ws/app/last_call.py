"""The call of `on_disconnect`, after the connection's dependencies were left."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any

from trio_ws.app.listener import Listener
from trio_ws.app.parameters.dependencies import Resolver

if TYPE_CHECKING:
    from collections.abc import Callable

    from trio_ws.app.parameters.arguments import Arguments
    from trio_ws.app.parameters.signature import Signature
    from trio_ws.app.route import PlannedCall, Route
    from trio_ws.websocket.websocket import DisconnectCallback, WebSocket

__all__ = ["last_call", "last_callback", "resolve_last"]


def last_call(route: Route) -> PlannedCall | None:
    """Return the call of a route's `on_disconnect`, None without one."""
    target = route.target
    return route.disconnect(target) if isinstance(target, Listener) else None


async def resolve_last(resolver: Resolver, signature: Signature) -> Arguments | Resolver:
    """Return the arguments of `on_disconnect`; or what resolves them then, if they would be left before."""
    return await resolver.afterwards(signature) if resolver.is_left(signature) else await resolver.resolve(signature)


def last_callback(
    function: Callable[..., Any], disconnect: PlannedCall, resolved: Arguments | Resolver
) -> DisconnectCallback:
    """Return the callback for the end of a connection.

    Args:
        function: bound to its controller and thread.
        disconnect: the plan of its call.
        resolved: by `resolve_last`.
    """

    async def on_disconnect(websocket: WebSocket, code: int) -> None:
        if isinstance(resolved, Resolver):
            async with resolved:
                await call(await resolved.resolve(disconnect.signature), code)
        else:
            await call(resolved, code)

    async def call(arguments: Arguments, code: int) -> None:
        args, kwargs = arguments.fill(**({} if disconnect.code is None else {disconnect.code: code}))
        value = function(*args, **kwargs)
        if inspect.isawaitable(value):
            await value

    return on_disconnect
