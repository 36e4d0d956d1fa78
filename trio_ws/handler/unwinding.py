"""Shielded and bounded exit of contexts and generators that the library has entered for a handler."""

from __future__ import annotations

from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any

import trio

from trio_ws.runtime.unwinding import is_cancelled

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable
    from types import TracebackType

    from trio_ws.websocket.websocket import WebSocket

__all__ = ["Unwinding", "use_and_close"]


class Unwinding:
    """The contexts of one connection, left in reverse order.

    Its cancel scope is opened before the first context is entered, so that one that holds a nursery or a scope is left
    within it. All calls must come from one task, at one depth of scopes.

    Args:
        websocket: the connection, whose `cleanup_timeout` bounds the exit.
        patient: shield and bound the exit only if the task is cancelled already.
    """

    __slots__ = ("_patient", "_scope", "_stack", "_websocket")

    def __init__(self, websocket: WebSocket, *, patient: bool = False) -> None:
        self._websocket = websocket
        self._patient = patient
        self._stack = AsyncExitStack()
        self._scope = trio.CancelScope()
        self._scope.__enter__()

    async def enter(self, context: Any) -> Any:
        """Enter a context, asynchronous or not, and return its value."""
        if hasattr(context, "__aenter__"):
            return await self._stack.enter_async_context(context)
        return self._stack.enter_context(context)

    async def leave(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        """Leave all contexts as a `with` statement does; return whether they have swallowed the error."""
        scope = self._scope
        if not self._patient or is_cancelled():
            scope.deadline = self._websocket.context.cleanup_deadline()
            scope.shield = True
        try:
            swallowed = bool(await self._stack.__aexit__(kind, error, trace))
        except BaseException as raised:
            if not scope.__exit__(type(raised), raised, raised.__traceback__):
                raise
            _log_timeout(self._websocket)
            return False
        scope.__exit__(None, None, None)
        # A nursery among the contexts keeps a cancellation from outside of the shield.
        return swallowed and isinstance(error, Exception)


async def use_and_close(
    websocket: WebSocket, generator: AsyncGenerator[Any, Any], use: Callable[[], Awaitable[object]]
) -> None:
    """Run the user of an asynchronous generator, then close the generator.

    Cancellation is delivered once, wherever the generator or its user waits. Their clean-up is not cancelled before
    `cleanup_timeout`.

    Args:
        websocket: the connection, with its `cleanup_timeout`.
        generator: closed in any case.
        use: iterates over the generator.
    """
    try:
        await trio.lowlevel.checkpoint_if_cancelled()
    except trio.Cancelled:
        await generator.aclose()  # not begun, so no code of it runs
        raise
    failure: Exception | None = None
    try:
        async with trio.open_nursery() as nursery:
            # The shield hides outer cancellations from the user of the generator; `once` delivers a single one.
            with trio.CancelScope(shield=True), trio.CancelScope() as once, trio.CancelScope() as rest:
                nursery.start_soon(_relay, websocket, once, rest)
                try:
                    try:
                        await use()
                    finally:
                        if not rest.shield:
                            _shield(rest, websocket)
                        await generator.aclose()
                except Exception as error:  # the nursery would make a group of it
                    failure = error
            if rest.cancelled_caught:
                _log_timeout(websocket)
            nursery.cancel_scope.cancel(reason="the generator is closed")
    except BaseExceptionGroup:
        if failure is None:
            await trio.lowlevel.checkpoint_if_cancelled()  # the cancellation itself, not the nursery's group of it
            raise
    if failure is not None:
        raise failure


async def _relay(websocket: WebSocket, once: trio.CancelScope, rest: trio.CancelScope) -> None:
    """Wait for cancellation from outside, and pass it on once."""
    try:
        await trio.sleep_forever()
    except trio.Cancelled as cancelled:
        await trio.lowlevel.cancel_shielded_checkpoint()  # a task that was about to run waits now
        if not rest.shield:
            once.cancel(reason=cancelled.reason)  # delivered to the waiting task
            _shield(rest, websocket)
        raise


def _shield(rest: trio.CancelScope, websocket: WebSocket) -> None:
    """Shield a scope for the rest of the clean-up time."""
    rest.shield = True
    rest.deadline = websocket.context.cleanup_deadline()


def _log_timeout(websocket: WebSocket) -> None:
    connection_log, seconds = websocket.context.log, websocket.context.cleanup_timeout
    connection_log.warning("clean-up in %s took longer than cleanup_timeout, %g s: it was cancelled", seconds)
