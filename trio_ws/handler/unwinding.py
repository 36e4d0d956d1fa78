"""Unwinding of what the library has entered for its user: shielded from cancellation, in bounded time."""

from __future__ import annotations

import logging
import math
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING, Any, Final, Protocol

import attrs
import trio

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable
    from contextlib import AbstractAsyncContextManager
    from types import TracebackType

    from trio_ws.websocket.websocket import WebSocket

__all__ = ["LifespanOwner", "Owner", "Unwinding", "unwound", "use_and_close"]

logger: Final = logging.getLogger("trio_ws")


class Owner(Protocol):
    """A connection or an application, whose contexts are left."""

    _cleanup_timeout: float
    _nursery: trio.Nursery | None
    """Cancelled with what the contexts belong to."""

    def _cleanup_deadline(self) -> float:
        """Return when clean-up that begins now must be done."""

    def _note_cut_off(self) -> None:
        """Record that clean-up took longer."""


class Unwinding:
    """Contexts of one owner, left in reverse order, shielded from cancellation.

    Its cancel scope is opened before the first context is entered, so that one that holds a nursery or a scope is left
    within it. All calls must come from one task, at one depth of scopes.

    Args:
        owner: bounds the leaving.
        patient: the leaving is bounded only from when the owner's nursery, or the task, is cancelled.
    """

    __slots__ = ("_owner", "_patient", "_scope", "_stack")

    def __init__(self, owner: Owner, *, patient: bool = False) -> None:
        self._owner = owner
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
        """Leave all contexts, as the end of a `with` statement does; return whether they have swallowed the error."""
        scope = self._scope
        nursery = self._owner._nursery
        watch = trio.CancelScope()
        if self._patient and nursery is not None and not _cancelled():
            nursery.start_soon(self._bound_when_cancelled, watch)
        else:
            scope.deadline = self._owner._cleanup_deadline()
        scope.shield = True
        try:
            swallowed = bool(await self._stack.__aexit__(kind, error, trace))
        except BaseException as raised:
            if not scope.__exit__(type(raised), raised, raised.__traceback__):
                raise
            self._owner._note_cut_off()
            return False
        finally:
            watch.cancel(reason="the contexts are left")
        scope.__exit__(None, None, None)
        # A nursery among the contexts takes a cancellation from behind the shield for its own, and keeps it.
        return swallowed and isinstance(error, Exception)

    async def _bound_when_cancelled(self, watch: trio.CancelScope) -> None:
        with watch:
            try:
                await trio.sleep_forever()
            except trio.Cancelled:
                if not watch.cancel_called:
                    self._scope.deadline = self._owner._cleanup_deadline()
                raise


@asynccontextmanager
async def unwound(
    context: AbstractAsyncContextManager[object], owner: Owner, *, patient: bool = False
) -> AsyncGenerator[None, None]:
    """Enter one context that is left as those of an `Unwinding` are."""
    unwinding = Unwinding(owner, patient=patient)
    try:
        await unwinding.enter(context)
        yield
    except BaseException as error:
        if not await unwinding.leave(type(error), error, error.__traceback__):
            raise
    else:
        await unwinding.leave(None, None, None)


@attrs.define
class LifespanOwner:
    """The owner of what surrounds an application."""

    _nursery: trio.Nursery | None = attrs.field(alias="nursery")
    _cleanup_timeout: float = attrs.field(alias="cleanup_timeout")

    def _cleanup_deadline(self) -> float:
        return trio.current_time() + self._cleanup_timeout

    def _note_cut_off(self) -> None:
        logger.warning(
            "clean-up of the lifespan took longer than cleanup_timeout, %g s: it was cancelled", self._cleanup_timeout
        )


async def use_and_close(
    websocket: WebSocket, generator: AsyncGenerator[Any, Any], use: Callable[[], Awaitable[object]]
) -> None:
    """Await what uses an asynchronous generator, then close that.

    Cancellation is delivered once, wherever the generator or its user waits. What they do then to clean up is not
    cancelled before `cleanup_timeout`.

    Args:
        websocket: whose `cleanup_timeout` it is.
        generator: closed in any case.
        use: runs it.
    """
    try:
        await trio.lowlevel.checkpoint_if_cancelled()
    except trio.Cancelled:
        await generator.aclose()  # not begun: nothing of it runs
        raise
    failure: Exception | None = None
    try:
        async with trio.open_nursery() as nursery:
            # What is outside is hidden from the user of the generator; of `once` it sees one cancellation.
            with trio.CancelScope(shield=True), trio.CancelScope() as once, trio.CancelScope() as rest:
                nursery.start_soon(_relay, websocket, once, rest)
                try:
                    try:
                        await use()
                    finally:
                        if not rest.shield:
                            _hide(rest, websocket)
                        await generator.aclose()
                except Exception as error:  # the nursery would make a group of it
                    failure = error
            if rest.cancelled_caught:
                websocket._note_cut_off()
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
        await trio.lowlevel.cancel_shielded_checkpoint()  # who was about to run waits somewhere now
        if not rest.shield:
            once.cancel(reason=cancelled.reason)  # delivered to who waits
            _hide(rest, websocket)
        raise


def _hide(rest: trio.CancelScope, websocket: WebSocket) -> None:
    """Shield a scope for what is left of the time to clean up."""
    rest.shield = True
    rest.deadline = websocket._cleanup_deadline()


def _cancelled() -> bool:
    """Say whether the task is cancelled where it is now."""
    return trio.current_effective_deadline() == -math.inf
