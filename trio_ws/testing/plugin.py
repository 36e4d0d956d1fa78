"""Fixtures for pytest.

Enable them with `pytest_plugins = ["trio_ws.testing.plugin"]` in conftest.py. The async ones need pytest-trio.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Generator
from contextlib import ExitStack
from functools import partial
from typing import TYPE_CHECKING, Any, TypeAlias

import pytest

from trio_ws.server.serve import serve_websocket
from trio_ws.testing.client import TestClient

if TYPE_CHECKING:
    import trio
    from typing_extensions import Unpack

    from trio_ws.server.server import Server
    from trio_ws.testing.blocking import BlockingTestClient
    from trio_ws.testing.options import ClientKeywords

__all__ = ["test_client", "websocket_server"]

ClientFactory: TypeAlias = "Callable[..., BlockingTestClient]"
ServerFactory: TypeAlias = "Callable[..., Awaitable[Server]]"


@pytest.fixture
def test_client() -> Generator[ClientFactory, None, None]:
    """Return a function that creates entered test clients: `client = test_client(app)`.

    It takes the arguments of `TestClient`. Errors of the server and leaked tasks are raised at the end of the test.
    """
    with ExitStack() as stack:

        def make(responder: Any, **options: Unpack[ClientKeywords]) -> BlockingTestClient:
            return stack.enter_context(TestClient(responder, **options))

        yield make


@pytest.fixture
def websocket_server(nursery: trio.Nursery) -> ServerFactory:
    """Return a function that starts servers: `server = await websocket_server(handler)`, then `server.urls[0]`.

    It takes a handler and the options of `serve_websocket`, or an `App` and those of `App.serve`. The server listens
    on a free port of 127.0.0.1 and shuts down with the nursery of the test. An error in a handler fails the test.
    """

    async def start(served: Any, **options: Any) -> Server:
        serve = getattr(served, "serve", None) or partial(serve_websocket, served)
        arguments = {"host": "127.0.0.1", "port": 0, "strict": True} | options
        server: Server = await nursery.start(partial(serve, **arguments))
        return server

    return start
