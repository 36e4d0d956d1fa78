"""Lifespan: the ASGI protocol that says when an application begins and ends, on both sides of it.

`answer` is the application's side; a `Companion` is another application that begins and ends with ours.
"""

from __future__ import annotations

import logging
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import TYPE_CHECKING, Any, Final

import trio

from trio_ws.websocket.close_code import leaves

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, MutableMapping

    from trio_ws.asgi.scope import Application, Event, Receive, Scope, Send

__all__ = ["CompanionFailed", "answer", "beside"]

logger: Final = logging.getLogger("trio_ws")


async def answer(context: AbstractAsyncContextManager[object], receive: Receive, send: Send) -> None:
    """Hold the application open from the startup to the shutdown that the server announces.

    What fails is logged and told to the server, which says what becomes of it.

    Args:
        context: entered before the startup is complete, left before the shutdown is.
        receive: the server's.
        send: the server's.
    """
    await receive()
    stage = "startup"
    try:
        async with context:
            await send({"type": "lifespan.startup.complete"})
            stage = "shutdown"
            await receive()
    except Exception as error:
        logger.exception("the application failed at its %s", stage)
        reasons = "; ".join(f"{type(leaf).__name__}: {leaf}" for leaf in leaves(error))
        await send({"type": f"lifespan.{stage}.failed", "message": reasons})
    else:
        await send({"type": "lifespan.shutdown.complete"})


class CompanionFailed(RuntimeError):  # noqa: N818 - what it is
    """The other ASGI application says that it cannot begin or end; the message is its own."""


class _Companion:
    """The lifespan of another application, with us as its server."""

    def __init__(self) -> None:
        self._events, self._queue = trio.open_memory_channel[Any](1)
        self._done = trio.Event()
        self._failure: str | None = None
        self._supported = True
        self._stage = "startup"

    async def run(self, application: Application, scope: Scope) -> None:
        """Run the application; one that knows no lifespan raises, and is served without."""
        try:
            await application(scope, self._queue.receive, self._take)
        except Exception as error:
            self._supported = False
            if self._stage == "startup":
                logger.info("the application beside runs without a lifespan: %r", error)
            else:
                logger.exception("error in the lifespan of the application beside")
        finally:
            self._done.set()

    async def _take(self, event: Event) -> None:
        if event["type"].endswith(".failed"):
            self._failure = event.get("message", "")
        self._done.set()

    async def tell(self, stage: str) -> None:
        """Say that the application begins or ends, and wait until it has."""
        if not self._supported:
            return
        self._stage = stage
        self._done = trio.Event()
        await self._events.send({"type": f"lifespan.{stage}"})
        await self._done.wait()
        if self._failure is not None:
            raise CompanionFailed(f"{stage} of the application beside failed: {self._failure}")


@asynccontextmanager
async def beside(application: Application, state: MutableMapping[str, Any]) -> AsyncGenerator[None, None]:
    """Let another ASGI application begin at the entry and end at the exit.

    Args:
        application: it may know no lifespan.
        state: what it shares with its requests.

    Raises:
        CompanionFailed: it says that it cannot.
    """
    companion = _Companion()
    scope = {"type": "lifespan", "asgi": {"version": "3.0", "spec_version": "2.0"}, "state": state}
    async with trio.open_nursery() as nursery:
        nursery.start_soon(companion.run, application, scope)
        await companion.tell("startup")
        yield
        await companion.tell("shutdown")
        nursery.cancel_scope.cancel(reason="the application has ended")
