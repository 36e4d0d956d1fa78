"""The construction of a connection's controller."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from trio_ws.app.parameters.signature import is_context
from trio_ws.runtime.threads import run_in_thread, runs_in_thread

if TYPE_CHECKING:
    from trio_ws.app.guards import GuardContext
    from trio_ws.app.parameters.dependencies import Resolver
    from trio_ws.app.parameters.signature import Signature

__all__ = ["make_controller"]


async def make_controller(
    controller: type[Any], construction: Signature, context: GuardContext, resolver: Resolver
) -> Any:
    """Make the controller of a connection, and enter it if it is a context.

    Args:
        controller: the class.
        construction: the signature of its constructor.
        context: of the connection's guards.
        resolver: resolves the arguments, and leaves the controller at the end.

    Raises:
        Exception: as the constructor or `__enter__` raises it.
    """
    args, kwargs = await resolver.arguments(construction)
    made = controller.__new__(controller, *args, **kwargs)
    # Before the constructor runs, so that it may use them.
    for name, value in (("websocket", context.websocket), ("request", context.request), ("context", context)):
        object.__setattr__(made, name, value)  # it may be frozen
    if runs_in_thread(controller):
        await run_in_thread(partial(made.__init__, *args, **kwargs), resolver.limiters.calls)
    else:
        made.__init__(*args, **kwargs)
    if is_context(controller):
        plain = not hasattr(made, "__aenter__")
        await resolver.enter(made, in_thread=plain and runs_in_thread(made.__enter__))
    return made
