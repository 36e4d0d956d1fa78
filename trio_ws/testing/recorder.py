"""Observer: looks on while a server answers, and remembers its errors and the tasks of its connections.

It is a responder around the one under test, so that the server itself needs to know nothing of tests.
"""

from __future__ import annotations

import contextlib
import inspect
import os
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Final

import attrs
import trio

from trio_ws.handler.service import Response, Service

if TYPE_CHECKING:
    from trio_ws.http.request import Request
    from trio_ws.server.context import Responder
    from trio_ws.websocket.websocket import WebSocket

__all__ = ["LeakedTask", "ServerRecorder"]

_OURS: Final = (f"{Path(trio.__file__).parent}{os.sep}", f"{Path(__file__).parents[1]}{os.sep}", contextlib.__file__)
"""Where code lives that says nothing about why a handler does not end."""


class LeakedTask(Exception):  # noqa: N818 - what it is
    """Tasks of a connection were still running long after the test had ended it; the message says where they wait."""


class ServerRecorder:
    """A responder that answers as another one does.

    Args:
        responder: the one under test.
    """

    def __init__(self, responder: Responder) -> None:
        self._responder = responder
        self._tasks: list[trio.lowlevel.Task] = []
        self.errors: list[BaseException] = []
        """What went wrong in the responder and its handlers that nobody foresaw."""

    async def page(self, request: Request) -> Response | None:
        """Return the page."""
        self._tasks.append(trio.lowlevel.current_task())
        try:
            return await self._responder.page(request)
        except Exception as error:
            self.errors.append(error)
            raise

    def route(self, request: Request) -> tuple[Request, Service] | Response:
        """Return the service, its errors observed."""
        self._tasks.append(trio.lowlevel.current_task())
        try:
            routed = self._responder.route(request)
        except Exception as error:
            self.errors.append(error)
            raise
        if isinstance(routed, Response):
            return routed
        seen, service = routed
        return seen, attrs.evolve(service, on_error=self._observed(service.on_error))

    def _observed(
        self, on_error: Callable[[WebSocket, BaseException], Awaitable[object]] | None
    ) -> Callable[[WebSocket, BaseException], Awaitable[object]]:
        async def observe(websocket: WebSocket, error: BaseException) -> None:
            self.errors.append(error)
            if on_error is not None:
                try:
                    await on_error(websocket, error)
                except Exception as another:
                    self.errors.append(another)
                    raise

        return observe

    def running(self) -> list[str]:
        """Say which tasks of connections are running, and where in the user's code they wait."""
        return [f"{task.name}{_place_of(task)}" for root in self._tasks for task in _with_children(root)]


def _with_children(task: trio.lowlevel.Task) -> Iterator[trio.lowlevel.Task]:
    """Yield what keeps `task` from ending: the tasks of its nurseries, or itself if it waits for no other."""
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
