"""An ASGI server in the test's hand: it sends the events that the test says, and keeps what the application sends."""

from __future__ import annotations

import math
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import trio
from support.internals import internal

from trio_ws import Service, Timeouts
from trio_ws.asgi import ASGIApplication
from trio_ws.connection.settings import Settings
from trio_ws.server import serve as serve_module

OneService = internal(serve_module, "_OneService")

PATIENT = Timeouts(ping_interval=None)
LONG = 1000.0
"""Seconds of virtual time after which a test has hung."""


def scope_of(kind: str = "websocket", **given: Any) -> dict[str, Any]:
    """A scope as hypercorn makes it."""
    scope: dict[str, Any] = {
        "type": kind,
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": "1.1",
        "scheme": "ws" if kind == "websocket" else "http",
        "path": "/",
        "raw_path": b"/",
        "query_string": b"",
        "root_path": "",
        "headers": [(b"host", b"localhost")],
        "client": ("127.0.0.1", 1234),
        "server": ("127.0.0.1", 8000),
        "extensions": {"websocket.http.response": {}},
    }
    if kind == "websocket":
        scope["subprotocols"] = []
    else:
        scope["method"] = "GET"
    return scope | given


class Call:
    """One call of an application.

    Args:
        application: it is called.
        scope: of the call.
    """

    def __init__(self, application: Any, scope: dict[str, Any]) -> None:
        self._application = application
        self._scope = scope
        self._events, self._queue = trio.open_memory_channel[Any](math.inf)
        self._told_of_end = False
        self.sent: list[dict[str, Any]] = []
        self.room = math.inf
        """How many events more are taken from the application; then it waits."""
        self.scope = trio.CancelScope()
        """What the application is called in."""
        self.returned = trio.Event()
        self._changed = trio.lowlevel.ParkingLot()
        self.failing: Exception | None = None
        """What `send` raises."""

    async def run(self) -> None:
        try:
            with self.scope:
                await self._application(self._scope, self._receive, self._send)
        finally:
            self.returned.set()
            self._changed.unpark_all()

    def put(self, kind: str, **event: Any) -> None:
        """Let something happen."""
        self._events.send_nowait({"type": kind, **event})

    def say(self, content: str | bytes) -> None:
        """Let a message arrive."""
        key = "text" if isinstance(content, str) else "bytes"
        self.put("websocket.receive", **{"text": None, "bytes": None, key: content})

    def leave(self, code: int | None = 1006, **further: Any) -> None:
        """Let the client leave."""
        self.put("websocket.disconnect", code=code, **further)

    async def _receive(self) -> Any:
        assert not self._told_of_end, "receive() after the disconnect: hypercorn would never answer"
        event = await self._queue.receive()
        self._told_of_end = event["type"].endswith(".disconnect")
        return event

    async def _send(self, event: Any) -> None:
        await trio.lowlevel.checkpoint()
        if self.failing is not None:
            raise self.failing
        while len(self.sent) >= self.room:
            await self._changed.park()
        await trio.lowlevel.checkpoint()
        self.sent.append(event)
        self._changed.unpark_all()

    def make_room(self) -> None:
        """Take whatever comes from now on."""
        self.room = math.inf
        self._changed.unpark_all()

    async def next(self, count: int) -> list[dict[str, Any]]:
        """Wait until the application has sent so many events, and return all of them."""
        with trio.fail_after(LONG):
            while len(self.sent) < count:
                assert not self.returned.is_set(), f"it returned after {self.sent}"
                await self._changed.park()
        return self.sent

    async def ended(self) -> list[tuple[str, Any]]:
        """Wait until the call has returned; return what was sent, by its kind and its content."""
        with trio.fail_after(LONG):
            await self.returned.wait()
        return [seen_as(event) for event in self.sent]


def seen_as(event: dict[str, Any]) -> tuple[str, Any]:
    """Return what an event says, in short."""
    kind = event["type"].removeprefix("websocket.")
    match kind:
        case "accept":
            return kind, event["subprotocol"]
        case "send":
            return kind, event.get("text", event.get("bytes"))
        case "close":
            return kind, event.get("code")
        case "http.response.start" if "status" in event:
            return "status", event["status"]
        case "http.response.body":
            return "body", event["body"]
    return kind, None


@asynccontextmanager
async def calling(application: Any, *, connect: bool = True, **scope: Any) -> AsyncIterator[Call]:
    """Call an application for a WebSocket; the block ends when the call has."""
    call = Call(application, scope_of(**scope))
    if connect:
        call.put("websocket.connect")
    with trio.fail_after(LONG):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(call.run)
            yield call


async def called(application: Any, *messages: str | bytes, events: int = 2, **scope: Any) -> Call:
    """Call an application for messages; the client leaves after so many events of the application."""
    async with calling(application, **scope) as call:
        for message in messages:
            call.say(message)
        await call.next(events)
        call.leave(1000)
    return call


def bridge_of(handler: Any, *, settings: dict[str, Any] | None = None, **service: Any) -> ASGIApplication:
    """A bridge to one handler."""
    return ASGIApplication(
        OneService(Service(handler=handler, **service)), settings=Settings(**{"timeouts": PATIENT, **(settings or {})})
    )
