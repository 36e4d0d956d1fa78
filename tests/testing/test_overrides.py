"""Substitutes for dependencies, guards, values of requests and the backplane; those that are not used are errors."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any

import pytest
from support.endings import status_of

from trio_ws import App, Cookie, Depends, Header, Query, WebSocket
from trio_ws.app import RegistrationError
from trio_ws.rooms import Backplane
from trio_ws.rooms.memory import MemoryBackplane
from trio_ws.testing import UnusedOverride


class Database:
    """A real one, which no test may have."""

    def __init__(self) -> None:
        raise AssertionError("the real database")


def token(x_token: Annotated[str, Header()]) -> str:
    return x_token


def database(token: Annotated[str, Depends(token)]) -> Iterator[str]:
    raise AssertionError("the real database")
    yield token


def is_member(websocket: WebSocket) -> bool:
    return False


class IsAdmin:
    def can_activate(self, context: Any) -> bool:
        return False


app = App()


@app.websocket("/data/{table}", guards=[is_member, IsAdmin])
async def data(
    ws: WebSocket,
    table: str,
    *,
    db: Annotated[str, Depends(database)],
    limit: int = Query(),
    agent: str = Header(alias="User-Agent"),
    session: str = Cookie(),
) -> None:
    await ws.send_json([table, db, limit, agent, session])


@app.websocket("/class")
async def of_class(ws: WebSocket, db: Annotated[Any, Depends(Database)]) -> None:
    await ws.send_json(db)


@app.websocket("/room")
async def room(ws: WebSocket) -> None:
    async with app.room("hall").join(ws) as hall:
        await hall.publish("hello")
        await ws.receive()


EVERYTHING = {
    is_member: True,
    IsAdmin: lambda context: True,
    database: lambda: "substitute",
    Query(alias="limit"): 7,
    Header(alias="user-agent"): "me",
    Cookie(alias="session"): "s",
}


async def test_everything_that_a_handler_takes_can_be_substituted(autojump_clock: Any) -> None:
    async with app.test_client(overrides=EVERYTHING) as client, client.websocket_connect("/data/a") as ws:
        assert await ws.receive_json() == ["a", "substitute", 7, "me", "s"]


def test_plain_tests_have_overrides_too() -> None:
    with app.test_client(overrides=EVERYTHING) as client, client.websocket_connect("/data/a") as ws:
        assert ws.receive_json() == ["a", "substitute", 7, "me", "s"]


async def test_a_substitute_has_parameters_and_is_entered(autojump_clock: Any) -> None:
    ended = []

    async def substitute(table: str, flavour: Annotated[str, Query()]) -> Any:
        yield f"{table} {flavour}"
        ended.append(table)

    overrides = {**EVERYTHING, database: substitute}
    async with app.test_client(overrides=overrides) as client:
        async with client.websocket_connect("/data/a?flavour=salty") as ws:
            assert (await ws.receive_json())[1] == "a salty"
        assert await status_of(client, "/data/a") == 400
    assert ended == ["a"]


async def test_a_value_stands_for_a_class(autojump_clock: Any) -> None:
    async with app.test_client(overrides={Database: {"rows": 3}}) as client, client.websocket_connect("/class") as ws:
        assert await ws.receive_json() == {"rows": 3}


async def test_a_guard_may_be_made_to_refuse(autojump_clock: Any) -> None:
    async with app.test_client(overrides={is_member: False}) as client:
        assert await status_of(client, "/data/a?limit=1", headers={"X-Token": "x"}, cookies={"session": "s"}) == 403


async def test_the_backplane_can_be_substituted(autojump_clock: Any) -> None:
    redis = App(backplane="redis://nowhere:1")

    @redis.websocket("/room")
    async def handler(ws: WebSocket) -> None:
        async with redis.room("hall").join(ws) as hall:
            await hall.publish("hello")
            await ws.receive()

    before = redis.services.rooms.backplane
    for substitute in (MemoryBackplane(), None):
        async with (
            redis.test_client(overrides={Backplane: substitute}) as client,
            client.websocket_connect("/room") as ws,
        ):
            assert await ws.receive() == "hello"
            await ws.send("bye")
    assert redis.services.rooms.backplane is before


async def test_the_override_ends_with_the_client(autojump_clock: Any) -> None:
    async with app.test_client(overrides={Database: 1}) as client, client.websocket_connect("/class") as ws:
        await ws.receive_json()
    async with app.test_client(raise_server_errors=False) as client:
        assert await status_of(client, "/class") == 500


@pytest.mark.parametrize("key", [database, Query(alias="nothing"), IsAdmin], ids=["dependency", "value", "guard"])
async def test_an_override_that_is_not_used_is_an_error(autojump_clock: Any, key: Any) -> None:
    with pytest.raises(UnusedOverride, match=r"database|nothing|IsAdmin"):
        async with app.test_client(overrides={key: True, Database: 1}) as client:
            async with client.websocket_connect("/class") as ws:
                await ws.receive_json()


async def test_a_failing_test_is_not_hidden_by_an_unused_override(autojump_clock: Any) -> None:
    with pytest.raises(ZeroDivisionError):
        async with app.test_client(overrides={database: 1}):
            raise ZeroDivisionError


@pytest.mark.parametrize("key", ["database", 3, Query()], ids=repr)
async def test_a_key_that_stands_for_nothing_is_refused(autojump_clock: Any, key: Any) -> None:
    with pytest.raises(RegistrationError, match="overrides"):
        async with app.test_client(overrides={key: 1}):
            pass


async def test_overrides_of_two_clients_at_once_are_refused(autojump_clock: Any) -> None:
    with pytest.raises(RuntimeError, match="in use already"):
        async with app.test_client(overrides={Database: 1}):
            async with app.test_client(overrides={Database: 2}):
                pass


async def test_a_responder_without_dependencies_takes_no_overrides(autojump_clock: Any) -> None:
    from trio_ws.testing import TestClient

    class Bare:
        settings = None

    with pytest.raises(TypeError, match="overrides are for an App"):
        async with TestClient(Bare(), overrides={Database: 1}):  # type: ignore[arg-type]
            pass


async def test_an_included_application_has_the_overrides_of_its_host(autojump_clock: Any) -> None:
    inner, outer = App(), App()

    @inner.websocket("/inner")
    async def handler(ws: WebSocket, db: Annotated[Any, Depends(Database)]) -> None:
        await ws.send_json(db)

    outer.include(inner) if hasattr(outer, "include") else outer.include_router(inner)
    async with outer.test_client(overrides={Database: 5}) as client, client.websocket_connect("/inner") as ws:
        assert await ws.receive_json() == 5
