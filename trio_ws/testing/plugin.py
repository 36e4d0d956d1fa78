"""Fixtures for pytest, and pytest-trio's `autojump_clock` for tests with `@given`.

Enable them with `pytest_plugins = ["trio_ws.testing.plugin"]` in conftest.py. The async ones need pytest-trio.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Generator
from contextlib import ExitStack
from functools import partial, wraps
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import pytest
import trio.testing

from trio_ws.server.serve import serve_websocket
from trio_ws.testing.client import TestClient

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from trio_ws.server.server import Server
    from trio_ws.testing.blocking import BlockingTestClient
    from trio_ws.testing.options import ClientKeywords

__all__ = ["test_client", "websocket_server"]

ClientFactory: TypeAlias = "Callable[..., BlockingTestClient]"
ServerFactory: TypeAlias = "Callable[..., Awaitable[Server]]"

CLOCK: Final = "autojump_clock"
"""The fixture of pytest-trio."""
UNNAMED: Final = getattr(pytest, "HIDDEN_PARAM", CLOCK)
"""An id that is no part of the test's name, from pytest 8.4 on."""


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


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Take the fixture `autojump_clock` out of tests with `@given`: it would be one clock for all examples."""
    if hasattr(metafunc.function, "hypothesis") and CLOCK in metafunc.fixturenames:
        # Hypothesis refuses fixtures of function scope.
        metafunc.parametrize(CLOCK, [None], ids=[UNNAMED], scope="class")


@pytest.hookimpl(wrapper=True, trylast=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, None, None]:
    """Give each example of such a test its own clock, outside of what pytest-trio runs it in."""
    handle = getattr(getattr(item, "obj", None), "hypothesis", None)
    if handle is not None and CLOCK in getattr(item, "fixturenames", ()):
        handle.inner_test = _with_own_clock(handle.inner_test)
    return (yield)


def _with_own_clock(run: Callable[..., object]) -> Callable[..., object]:
    if getattr(run, "has_own_clock", False):
        return run

    @wraps(run)
    def run_example(*arguments: Any, **keywords: Any) -> object:
        return run(*arguments, **{**keywords, CLOCK: trio.testing.MockClock(autojump_threshold=0)})

    run_example.has_own_clock = True  # type: ignore[attr-defined]
    return run_example
