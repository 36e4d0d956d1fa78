"""A responder that records errors and tasks of the responder under test."""

from __future__ import annotations

import contextlib
import inspect
import logging
import os
from collections.abc import Awaitable, Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Final

import attrs
import trio

from trio_ws.handler.post_endpoint import find_endpoint
from trio_ws.handler.service import Response, Service

if TYPE_CHECKING:
    from trio_ws.handler.post_endpoint import PostEndpoint
    from trio_ws.http.request import Request
    from trio_ws.server.context import Responder
    from trio_ws.server.server import Server
    from trio_ws.websocket.websocket import WebSocket

__all__ = ["LeakedTask", "ServerRecorder", "describe_task"]

_OURS: Final = (f"{Path(trio.__file__).parent}{os.sep}", f"{Path(__file__).parents[1]}{os.sep}", contextlib.__file__)
"""Paths of code that is left out of the place where a task waits."""
POLL_SECONDS: Final = 0.005
"""Seconds up to the second check whether the connections of a test have ended; each pause is twice the one before."""
LONGEST_POLL_SECONDS: Final = 0.1

logger: Final = logging.getLogger("trio_ws")


class LeakedTask(Exception):  # noqa: N818 - a state, not an error of ours
    """Tasks of a connection did not end with the test; the message names where they wait.

    Example:
        with pytest.raises(LeakedTask, match="in stubborn"):
            async with app.test_client(timeout=1) as client, client.websocket_connect("/stubborn"):
                pass
    """


class ServerRecorder:
    """Passes requests to another responder, and records its errors and tasks.

    Args:
        responder: the responder under test.
    """

    def __init__(self, responder: Responder) -> None:
        self._responder = responder
        self._tasks: list[trio.lowlevel.Task] = []
        self.websockets: list[WebSocket] = []
        """Those of the handlers so far, in the order in which they began."""
        self.errors: list[BaseException] = []
        """Unhandled errors of the responder and its handlers."""

    @property
    def over_budget(self) -> Mapping[str, int]:
        """The responder's count of messages beyond a budget."""
        return getattr(self._responder, "over_budget", {})

    def endpoint(self, path: str) -> PostEndpoint | None:
        """Return the responder's endpoint for a path."""
        return find_endpoint(self._responder, "POST", path)

    async def page(self, request: Request) -> Response | None:
        """Return the page of the responder."""
        self._tasks.append(trio.lowlevel.current_task())
        try:
            return await self._responder.page(request)
        except Exception as error:
            self.errors.append(error)
            raise

    def route(self, request: Request) -> tuple[Request, Service] | Response:
        """Return the responder's route, with a service whose errors are recorded."""
        self._tasks.append(trio.lowlevel.current_task())
        try:
            routed = self._responder.route(request)
        except Exception as error:
            self.errors.append(error)
            raise
        if isinstance(routed, Response):
            return routed
        request, service = routed
        handler = self._noting(service.handler)
        return request, attrs.evolve(service, handler=handler, on_error=self._recording(service.on_error))

    def _noting(self, handler: Callable[[WebSocket], Awaitable[object]]) -> Callable[[WebSocket], Awaitable[object]]:
        def note(websocket: WebSocket) -> Awaitable[object]:
            self.websockets.append(websocket)
            return handler(websocket)

        return note

    def _recording(
        self, on_error: Callable[[WebSocket, BaseException], Awaitable[object]] | None
    ) -> Callable[[WebSocket, BaseException], Awaitable[object]]:
        async def record(websocket: WebSocket, error: BaseException) -> None:
            self.errors.append(error)
            if on_error is not None:
                try:
                    await on_error(websocket, error)
                except Exception as another:
                    self.errors.append(another)
                    raise

        return record

    async def find_leaks(self, server: Server, seconds: float) -> None:
        """Wait until all connections of a server have ended, or record a `LeakedTask`."""
        pause = POLL_SECONDS
        with trio.move_on_after(seconds):
            while server.statistics().connections:  # an event would be for tests only
                await trio.sleep(pause)
                pause = min(2 * pause, LONGEST_POLL_SECONDS)
            return
        leaked = LeakedTask(f"still running {seconds:g} seconds after the end of the test: {'; '.join(self.running())}")
        # It is raised once the tasks have been cancelled; for tasks that resist, the record remains.
        logger.warning("%s", leaked)
        self.errors.append(leaked)

    def running(self) -> list[str]:
        """Describe the running tasks of connections, and where in the user's code they wait."""
        return [describe_task(task) for root in self._tasks for task in _with_children(root)]


def describe_task(task: trio.lowlevel.Task) -> str:
    """Return the name of a task, and where in the user's code it waits."""
    return f"{task.name}{_place_of(task)}"


def _with_children(task: trio.lowlevel.Task) -> Iterator[trio.lowlevel.Task]:
    """Yield the tasks that keep `task` from ending: the leaves of its nurseries, or itself."""
    if inspect.getcoroutinestate(task.coro) == inspect.CORO_CLOSED:
        return
    children = [child for nursery in task.child_nurseries for child in nursery.child_tasks]
    for child in children:
        yield from _with_children(child)
    if not children:
        yield task


def _place_of(task: trio.lowlevel.Task) -> str:
    places = [
        f"{frame.f_code.co_filename}:{line} in {frame.f_code.co_name}"
        for frame, line in task.iter_await_frames()
        if not frame.f_code.co_filename.startswith(_OURS)
    ]
    return f" at {places[-1]}" if places else ""
