"""The ASGI lifespan protocol, as application and as server of another application."""

from __future__ import annotations

import logging
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import TYPE_CHECKING, Any, Final

import trio

from trio_ws.websocket.close_code import leaves

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, MutableMapping

    from trio_ws.asgi.scope import Application, Event, Receive, Scope, Send

__all__ = ["CompanionFailed", "run_lifespan", "run_lifespan_of"]

logger: Final = logging.getLogger("trio_ws")


async def run_lifespan(context: AbstractAsyncContextManager[object], receive: Receive, send: Send) -> None:
    """Enter a context at the server's startup event and leave it at its shutdown event.

    Errors are logged and reported to the ASGI server.

    Args:
        context: the application's lifespan.
        receive: the ASGI server's callable.
        send: the ASGI server's callable.
    """
    await receive()
    stage = "startup"
    try:
        async with context:
            await send({"type": "lifespan.startup.complete"})
            stage = "shutdown"
            await receive()
    except Exception as error:
        logger.exception("%s of the application failed", stage)
        reasons = "; ".join(f"{type(leaf).__name__}: {leaf}" for leaf in leaves(error))
        await send({"type": f"lifespan.{stage}.failed", "message": reasons})
    else:
        await send({"type": "lifespan.shutdown.complete"})


class CompanionFailed(RuntimeError):  # noqa: N818 - a state, not an error of ours
    """Startup or shutdown of the other ASGI application failed, with its message."""


class _Companion:
    """The lifespan of another application that runs beside ours."""

    def __init__(self) -> None:
        self._events, self._queue = trio.open_memory_channel[Any](1)
        self._done = trio.Event()
        self._failure: str | None = None
        self._supported = True
        self._stage = "startup"

    async def run(self, application: Application, scope: Scope) -> None:
        """Call the application; one without lifespan support raises, which is no error."""
        try:
            await application(scope, self._queue.receive, self._on_event)
        except Exception as error:
            self._supported = False
            if self._stage == "startup":
                logger.info("the other application has no lifespan: %r", error)
            else:
                logger.exception("error in the lifespan of the other application")
        finally:
            self._done.set()

    async def _on_event(self, event: Event) -> None:
        if event["type"].endswith(".failed"):
            self._failure = event.get("message", "")
        self._done.set()

    async def send_stage(self, stage: str) -> None:
        """Send the event of a stage and wait until the application has completed it."""
        if not self._supported:
            return
        self._stage = stage
        self._done = trio.Event()
        await self._events.send({"type": f"lifespan.{stage}"})
        await self._done.wait()
        if self._failure is not None:
            raise CompanionFailed(f"{stage} of the other application failed: {self._failure}")


@asynccontextmanager
async def run_lifespan_of(application: Application, state: MutableMapping[str, Any]) -> AsyncGenerator[None, None]:
    """Run the lifespan of another ASGI application around a block.

    Args:
        application: may be one without lifespan support.
        state: the lifespan state, which its requests share.

    Raises:
        CompanionFailed: its startup or shutdown failed.
    """
    companion = _Companion()
    scope = {"type": "lifespan", "asgi": {"version": "3.0", "spec_version": "2.0"}, "state": state}
    async with trio.open_nursery() as nursery:
        nursery.start_soon(companion.run, application, scope)
        await companion.send_stage("startup")
        yield
        await companion.send_stage("shutdown")
        nursery.cancel_scope.cancel(reason="the application has ended")
