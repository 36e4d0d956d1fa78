"""What the test client is tested on: responders without an application layer."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

from trio_ws import Request, Response, Service, WebSocket


async def echo(websocket: WebSocket) -> None:
    async for message in websocket:
        await websocket.send(message)


class Routes:
    """Serves a handler on each of some paths, or what a `Service` says, and one page."""

    def __init__(self, routes: dict[str, Any] | None = None, **options: Any) -> None:
        self._services = {
            path: what if isinstance(what, Service) else Service(handler=what, **options)
            for path, what in (routes or {"/echo": echo}).items()
        }

    async def page(self, request: Request) -> Response | None:
        if request.path == "/page":
            body = f"{request.method} {request.target} of {request.headers['host']}"
            return Response(headers={"X-Agent": request.headers.get("user-agent", "none")}, body=body.encode())
        return Response(status=404)

    def route(self, request: Request) -> tuple[Request, Service] | Response:
        service = self._services.get(request.path)
        return Response(status=403) if service is None else (request, service)


class Alive(Routes):
    """Notes when its lifespan begins and ends."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.log: list[str] = []

    @asynccontextmanager
    async def lifespan_context(self) -> AsyncGenerator[None, None]:
        self.log.append("begins")
        yield
        self.log.append("ends")
