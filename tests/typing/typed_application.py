"""An application that uses what the application layer offers, for the type checkers. `test_usage` runs it."""
# pyright: strict

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Annotated, Any, assert_type

import trio
from prometheus_client import CollectorRegistry
from pydantic import BaseModel

from trio_ws import (
    App,
    BlockingWebSocket,
    Controller,
    Cookie,
    Depends,
    Header,
    Instrument,
    Ok,
    Query,
    Reply,
    Request,
    Room,
    Router,
    Server,
    Timeouts,
    WebSocket,
    WebSocketException,
    WsBody,
    broadcast,
)
from trio_ws.app import GuardContext, listener, websocket
from trio_ws.rooms import Member, Presence
from trio_ws.rooms.redis import RedisBackplane


@asynccontextmanager
async def lifespan(app: App) -> AsyncGenerator[None, None]:
    """Surround all connections."""
    app.state.started = trio.current_time()
    app.nursery.start_soon(trio.sleep_forever)
    yield


class Errors(Instrument):
    """Hears of errors."""

    def handler_failed(self, websocket: WebSocket, error: BaseException) -> None:
        """Note which connection it was."""
        assert_type(websocket.number, int)


app = App(
    lifespan=lifespan,
    timeouts=Timeouts(close_timeout=1),
    origins="*",
    trusted_proxies=["127.0.0.1", "unix"],
    instruments=[Errors()],
    max_threads=10,
)
assert_type(app.metrics(), CollectorRegistry)


class Said(BaseModel):
    """What somebody says."""

    text: str
    times: int = 1


@dataclass
class User:
    """Who says it."""

    name: str


# --- dependencies and guards


async def current_user(name: str = Query("nobody"), session: str | None = Cookie(None)) -> User:
    """Be a dependency."""
    return User(session or name)


async def connection_count() -> AsyncIterator[int]:
    """Be a dependency that is entered and left."""
    yield 1


CurrentUser = Annotated[User, Depends(current_user)]


def only_invited(context: GuardContext) -> bool:
    """Be a guard that is a function."""
    assert_type(context.websocket, WebSocket)
    return context.request.query_parameters.get("name") != "mallory"


class HasToken:
    """Be a guard that is a class."""

    async def can_activate(self, context: GuardContext) -> bool:
        """Decide."""
        return "X-Token" in context.request.headers


# --- views


@app.websocket("/hello/{count:int}", guards=[only_invited], name="hello")
async def hello(
    ws: WebSocket,
    count: int,
    user: CurrentUser,
    size: int = Depends(connection_count),
    language: str = Header("en", alias="Accept-Language"),
) -> None:
    """Take parameters from everywhere."""
    for _ in range(count):
        await ws.send(f"hello {user.name} ({language}, {size})")


@app.websocket("/plain")
def plain(ws: BlockingWebSocket) -> None:
    """Run in a thread."""
    for message in ws:
        ws.send(message.upper())


@app.websocket("/session", auto_accept=False, caught_close_codes=all, when_peer_leaves="cancel")
async def by_hand(ws: WebSocket) -> None:
    """Accept by hand."""
    async with ws:
        raise WebSocketException(4001, "enough")


# --- rooms


@app.websocket("/rooms/{name}", value_type="json")
async def talk(ws: WebSocket, name: str) -> None:
    """Be in a room."""
    hall = app.room(name, history=10)
    assert_type(hall, Room)
    async with hall.join(ws, user="Ann") as room:
        assert_type(room, Room)
        assert_type(room.count, int)
        names = [member.info["user"] for member in room.members]
        await ws.send(names)
        async for message in ws:
            assert_type(await room.publish(message, exclude=ws), str)
            await broadcast([member.websocket for member in room.members], "heard")


lobby = app.room("lobby", history=10)


@lobby.on_gap
async def lost(room: Room, missed: int | None) -> None:
    """Hear that messages are lost."""
    app.state.last = (room.name, missed)


def stamp(identifier: str, message: str | bytes) -> dict[str, object]:
    """Tell members the ids."""
    return {"id": identifier, "message": message}


async def resume(ws: WebSocket, since: str | None) -> None:
    """Come back."""
    joining = app.room("resumed", resume=100, stamp=stamp).join(ws, since=since)
    async with joining as room:
        assert_type(joining.recovered, bool | None)
        assert_type(await room.presence(), tuple[Presence, ...])
        await app.broadcast({"user": "came"})


def scaled() -> App:
    """Make an application of several processes."""
    return App(backplane=RedisBackplane("redis://localhost", stream_length=10))


@lobby.on_join
async def came(member: Member, count: int) -> None:
    """Hear of a newcomer."""
    app.state.last = (member.id, count)


# --- listeners


@app.listener("/say", encoding="json", on_invalid="reply", concurrency=2)
async def say(said: Said, user: User = Depends(current_user)) -> list[str]:
    """Answer each message."""
    return [f"{user.name}: {said.text}"] * said.times


@say.on_connect
async def say_hello(ws: WebSocket) -> None:
    """Greet."""
    await ws.send("welcome")


@say.on_disconnect
def say_goodbye(code: int) -> None:
    """Hear of the end."""
    app.state.last = code


@app.listener("/reply")
async def reply(said: Said = WsBody()) -> Reply:
    """Answer with a status."""
    return Ok({"echo": said.text})


# --- controllers and routers

api = Router("/api", guards=[HasToken])


@api.controller("/counter")
class Counter(Controller):
    """Count, for each connection."""

    def __init__(self) -> None:
        self.total = 0

    @websocket("/view")
    async def view(self, ws: WebSocket) -> None:
        """Be a view."""
        async for _ in ws:
            self.total += 1
            await ws.send(str(self.total))

    @listener("/add")
    async def add(self, amount: int) -> int:
        """Be a listener."""
        self.total += amount
        return self.total


app.include(api)


# --- the rest


@app.on_error
async def report(ws: WebSocket, error: BaseException) -> None:
    """Hear of errors."""
    app.state.last = (ws.url, error)


async def about(request: Request) -> dict[str, Any]:
    """Make a page."""
    return {"path": request.url.path}


app.page("/about", about)
app.page("/motto", lambda request: f"<p>{request.method}</p>")
app.close_on(KeyError, 4004)


async def serve(nursery: trio.Nursery) -> Server:
    """Serve inside a program."""
    server: Server = await nursery.start(app.serve, "127.0.0.1", 0)
    assert_type(app.server, Server)
    assert_type(app.url_for("hello", count=1), str)
    return server


if __name__ == "__main__":
    app.run("localhost", 8000)
