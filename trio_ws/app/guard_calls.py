"""Calls of guards, and what follows from their answers."""

from __future__ import annotations

import inspect
from collections.abc import Iterable
from functools import partial
from typing import TYPE_CHECKING, Any

from trio_ws.app.parameters.annotations import get_label
from trio_ws.app.parameters.markers import MISSING
from trio_ws.errors import Reject
from trio_ws.runtime.threads import call
from trio_ws.websocket.credentials import Credentials

if TYPE_CHECKING:
    from trio_ws.app.guards import GuardContext, PlannedGuard
    from trio_ws.app.parameters.dependencies import Resolver

__all__ = ["check_guards"]


async def check_guards(guards: Iterable[PlannedGuard], context: GuardContext, resolver: Resolver) -> None:
    """Call guards one after the other until one does not return True.

    Raises:
        Reject: with 403, if one answers False; any other error of a guard.
        ParameterError: a text that one takes does not convert.
        TypeError: one answers neither True, False nor credentials.
    """
    resolver.guard_context = context
    for guard in guards:
        await _check(guard, context, resolver)


async def _check(guard: PlannedGuard, context: GuardContext, resolver: Resolver) -> None:
    """Call the guard, and refuse the handshake if it returns False.

    Raises:
        Reject: with 403, if it answers False; any other error of the guard.
        ParameterError: a text that it takes does not convert.
        TypeError: it answers neither True, False nor credentials; or it is a dependency, and its value is None.
    """
    resolver.guard_context = context
    answer = await _answer(guard, context, resolver)
    if guard.value is not None and answer is None:
        raise TypeError(f"guard {guard.label} must return the value that it hands over, or raise, not None")
    if answer is False:
        context.websocket.context.log.info("%s refused with 403: guard %s", guard.label, status=403)
        raise Reject(403, (("Content-Type", "text/plain; charset=utf-8"),), b"refused by a guard\n")
    if isinstance(answer, Credentials):
        context.websocket.context.use_credentials(context.websocket, answer)
    elif answer is not True and guard.value is None:
        raise TypeError(f"guard {guard.label} must answer True, False or Credentials, not {_shown(answer)}")


async def _answer(guard: PlannedGuard, context: GuardContext, resolver: Resolver) -> Any:
    """Call it, unless that was done for something that depends on it."""
    if guard.value is not None:
        return await resolver.depend(guard.value)
    function = guard.call.function
    if guard.maker is not None:
        function = (await resolver.depend(guard.maker)).can_activate
    elif guard.context_name is None and (known := resolver.known(function)) is not MISSING:
        return known
    provided = {} if guard.context_name is None else {guard.context_name: context}
    args, kwargs = await resolver.arguments(guard.call, **provided)
    answer = await call(partial(function, *args, **kwargs), limiter=resolver.limiters.calls)
    if guard.maker is None and guard.context_name is None:
        resolver.remember(function, answer)
    return answer


def _shown(answer: object) -> str:
    if not inspect.iscoroutine(answer):
        return "None: does it end without return?" if answer is None else repr(answer)
    answer.close()  # it will not be awaited
    return f"a coroutine: await {get_label(answer)} in it"
