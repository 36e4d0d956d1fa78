"""Ends of other connections in guards, dependencies, listeners; the close frame without a code in plain functions."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Annotated, Any

import pytest
import trio
from support.endings import end_of, status_of
from support.handlers import app_of, app_of_listener

from trio_ws import App, Depends, WebSocket, WebSocketDisconnect


def application(place: str, error: Exception, errors: list[BaseException]) -> App:
    """Return an application in which `error` is raised at a place."""
    app = App()

    @app.on_error
    def report(ws: WebSocket, raised: BaseException) -> None:
        errors.append(raised)

    def fail() -> bool:
        raise error

    async def fail_at_exit() -> Any:
        yield
        raise error

    if place == "guard":
        app.websocket("/", guards=[fail])(_accept)
    elif place == "dependency":
        app.websocket("/")(_depending(fail))
    elif place == "exit of a dependency":
        app.websocket("/")(_depending(fail_at_exit))
    elif place == "unanswered":
        app.websocket("/", auto_accept=False)(_raising(error))
    else:
        app.listener("/", concurrency=2 if place == "callbacks" else 1)(_raising(error))
    return app


async def _accept(ws: WebSocket) -> None:
    pass


def _depending(dependency: Any) -> Any:
    async def view(ws: WebSocket, value: Any = Depends(dependency)) -> None:
        pass

    return view


def _raising(error: Exception) -> Any:
    async def raise_it() -> None:
        raise error

    return raise_it


@pytest.mark.parametrize("place", ["guard", "dependency", "unanswered"])
@pytest.mark.parametrize("grouped", [False, True])
async def test_another_connections_end_before_the_answer_is_500(place, grouped, caplog) -> None:
    """The client gets an answer, and there is one record."""
    error: Exception = WebSocketDisconnect(1000)
    error = ExceptionGroup("", [error]) if grouped else error
    errors: list[BaseException] = []
    async with application(place, error, errors).test_client(raise_server_errors=False) as client:
        assert await status_of(client, "/") == 500
    assert errors == [error]
    assert [record.exc_info[1] for record in caplog.records if record.levelname == "ERROR"] == [error]


@pytest.mark.parametrize("place", ["exit of a dependency", "callback", "callbacks"])
async def test_another_connections_end_after_the_answer_is_1011(place, caplog) -> None:
    error = WebSocketDisconnect(1001)
    errors: list[BaseException] = []
    app = application(place, error, errors)
    async with app.test_client(raise_server_errors=False) as client:
        async with client.websocket_connect("/", caught_close_codes=all) as ws:
            with pytest.raises(WebSocketDisconnect) as caught:
                await ws.send("1")
                await ws.receive()
    assert caught.value.code == 1011
    assert [_leaf(each) for each in errors] == [error]


def _leaf(error: BaseException) -> BaseException:
    return _leaf(error.exceptions[0]) if isinstance(error, BaseExceptionGroup) else error


async def test_callbacks_at_once_survive_the_end_in_a_group_of_one(caplog) -> None:
    """A callback that is told of the end in a nursery of its own does not stop the others."""
    done: list[str] = []

    async def work(data: str, ws: WebSocket) -> None:
        if data == "pings":
            async with trio.open_nursery() as nursery:
                nursery.start_soon(ws.ping)
        else:
            await trio.sleep(0.05)
        done.append(data)

    async with app_of_listener(work, concurrency=2).test_client() as client:
        async with client.websocket_connect("/") as ws:
            await ws.send_json("pings")
            await ws.send_json("works")
            await ws.close()
    assert "works" in done
    assert [record for record in caplog.records if record.levelname == "ERROR"] == []


def test_a_plain_function_sees_a_good_end_without_a_code() -> None:
    """Its iteration ends as that of an asynchronous one does."""
    seen: list[Any] = []

    def view(ws: WebSocket) -> None:
        seen.extend(ws)
        seen.append(ws.close_code)

    app = app_of(view)

    async def main() -> None:
        async with app.test_client() as client, client.websocket_connect("/") as ws:
            await ws.send("a")
            ws.context.channel.transport.write(b"\x88\x80\0\0\0\0")  # type: ignore[union-attr]  # as a browser's close()
            await end_of(ws)

    trio.run(main)
    assert seen == ["a", 1005]


@pytest.mark.parametrize("options", [{}, {"concurrency": 4}, {"inline": True}], ids=["alone", "concurrent", "inline"])
@pytest.mark.parametrize(("code", "seen"), [(1000, [None]), (4000, [4000])])
async def test_dependencies_of_listeners_see_an_end_by_its_code(
    options: dict[str, Any], code: int, seen: list[int | None]
) -> None:
    app, ends = App(), list[int | None]()

    async def lasting() -> AsyncIterator[int]:
        try:
            yield 1
        except WebSocketDisconnect as end:
            ends.append(end.code)
            raise
        ends.append(None)

    def receive(data: Any, it: Annotated[int, Depends(lasting)]) -> Any:
        return data

    app.listener("/a", **options)(receive)
    async with app.test_client() as client, client.websocket_connect("/a") as ws:
        await ws.send_json(1)
        assert await ws.receive_json() == 1
        await ws.close(code)
    assert ends == seen
