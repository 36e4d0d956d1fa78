"""Shielded and bounded exit of contexts and generators that the library has entered for its user."""

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

__all__ = ["CleanupOwner", "LifespanOwner", "Unwinding", "unwound", "use_and_close"]

logger: Final = logging.getLogger("trio_ws")


class CleanupOwner(Protocol):
    """A connection or an application whose contexts are left."""

    nursery: trio.Nursery | None
    """The owner's nursery, which is cancelled with it."""

    def cleanup_deadline(self) -> float:
        """Return the deadline of clean-up that begins now, on Trio's clock."""

    def log_cleanup_timeout(self) -> None:
        """Log that clean-up took longer than its timeout."""


class Unwinding:
    """Contexts of one owner, left in reverse order, shielded from cancellation.

    Its cancel scope is opened before the first context is entered, so that one that holds a nursery or a scope is left
    within it. All calls must come from one task, at one depth of scopes.

    Args:
        owner: bounds the exit.
        patient: bound the exit only from when the owner's nursery, or the task, is cancelled.
    """

    __slots__ = ("_owner", "_patient", "_scope", "_stack")

    def __init__(self, owner: CleanupOwner, *, patient: bool = False) -> None:
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
        """Leave all contexts as a `with` statement does; return whether they have swallowed the error."""
        scope = self._scope
        nursery = self._owner.nursery
        watch = trio.CancelScope()
        if self._patient and nursery is not None and not _is_cancelled():
            nursery.start_soon(self._bound_when_cancelled, watch)
        else:
            scope.deadline = self._owner.cleanup_deadline()
        scope.shield = True
        try:
            swallowed = bool(await self._stack.__aexit__(kind, error, trace))
        except BaseException as raised:
            if not scope.__exit__(type(raised), raised, raised.__traceback__):
                raise
            self._owner.log_cleanup_timeout()
            return False
        finally:
            watch.cancel(reason="the contexts are left")
        scope.__exit__(None, None, None)
        # A nursery among the contexts keeps a cancellation from outside of the shield.
        return swallowed and isinstance(error, Exception)

    async def _bound_when_cancelled(self, watch: trio.CancelScope) -> None:
        with watch:
            try:
                await trio.sleep_forever()
            except trio.Cancelled:
                if not watch.cancel_called:
                    self._scope.deadline = self._owner.cleanup_deadline()
                raise


@asynccontextmanager
async def unwound(
    context: AbstractAsyncContextManager[object], owner: CleanupOwner, *, patient: bool = False
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


@attrs.define(eq=False, repr=False)
class LifespanOwner:
    """The owner of an application's lifespan contexts."""

    nursery: trio.Nursery | None
    cleanup_timeout: float

    def cleanup_deadline(self) -> float:
        """Return the deadline of clean-up that begins now, on Trio's clock."""
        return trio.current_time() + self.cleanup_timeout

    def log_cleanup_timeout(self) -> None:
        """Log that clean-up took longer than its timeout."""
        logger.warning(
            "clean-up of the lifespan took longer than cleanup_timeout, %g s: it was cancelled", self.cleanup_timeout
        )


async def use_and_close(
    owner: CleanupOwner, generator: AsyncGenerator[Any, Any], use: Callable[[], Awaitable[object]]
) -> None:
    """Run the user of an asynchronous generator, then close the generator.

    Cancellation is delivered once, wherever the generator or its user waits. Their clean-up is not cancelled before
    the owner's deadline.

    Args:
        owner: bounds the clean-up.
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
                nursery.start_soon(_relay, owner, once, rest)
                try:
                    try:
                        await use()
                    finally:
                        if not rest.shield:
                            _shield(rest, owner)
                        await generator.aclose()
                except Exception as error:  # the nursery would make a group of it
                    failure = error
            if rest.cancelled_caught:
                owner.log_cleanup_timeout()
            nursery.cancel_scope.cancel(reason="the generator is closed")
    except BaseExceptionGroup:
        if failure is None:
            await trio.lowlevel.checkpoint_if_cancelled()  # the cancellation itself, not the nursery's group of it
            raise
    if failure is not None:
        raise failure


async def _relay(owner: CleanupOwner, once: trio.CancelScope, rest: trio.CancelScope) -> None:
    """Wait for cancellation from outside, and pass it on once."""
    try:
        await trio.sleep_forever()
    except trio.Cancelled as cancelled:
        await trio.lowlevel.cancel_shielded_checkpoint()  # a task that was about to run waits now
        if not rest.shield:
            once.cancel(reason=cancelled.reason)  # delivered to the waiting task
            _shield(rest, owner)
        raise


def _shield(rest: trio.CancelScope, owner: CleanupOwner) -> None:
    """Shield a scope for the rest of the clean-up time."""
    rest.shield = True
    rest.deadline = owner.cleanup_deadline()


def _is_cancelled() -> bool:
    """Return True if the current task's next checkpoint raises `Cancelled`."""
    return trio.current_effective_deadline() == -math.inf
