"""Names of rooms: a namespace that no text leaves, and what no room can be called."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations
from urllib.parse import quote

import pytest
import trio
from hypothesis import example, given
from hypothesis import strategies as st
from support.internals import internal
from support.redis import collects_coredis, forgives_coredis, needs_redis, redis_server

from trio_ws import App, WebSocket
from trio_ws.rooms import MemoryBackplane, Rooms
from trio_ws.rooms.redis.scripts import Keys
from trio_ws.rooms.topics import BROADCAST, MAX_NAME_SIZE, topic_of

pytestmark = [forgives_coredis, collects_coredis]

# Names that look like those of the library, in some way that it has used for its own.
INTRUDERS = [
    "\0everyone",
    "\0\0everyone",
    "\0",
    "everyone",
    "",
    "{?}",
    "?",
    "=everyone",
    "room:messages",
    "%00everyone",
]


@pytest.fixture(scope="module", params=["memory", pytest.param("redis", marks=needs_redis)])
def engine(request: pytest.FixtureRequest) -> Iterator[str | None]:
    if request.param == "memory":
        yield None
        return
    with redis_server() as server:
        yield server.url


@pytest.mark.parametrize("name", INTRUDERS)
async def test_no_name_of_a_room_reaches_all_connections(engine: str | None, name: str) -> None:
    app = App(backplane=engine)

    @app.websocket("/chat")
    async def chat(ws: WebSocket, channel: str) -> None:
        async with app.room(channel).join(ws) as room:
            async for message in ws:
                await room.publish(message)

    @app.websocket("/alone")
    async def alone(ws: WebSocket) -> None:
        async for message in ws:
            await app.broadcast(message)

    async with app.test_client(timeout=60) as client, client.websocket_connect("/alone") as ann:
        async with client.websocket_connect(f"/chat?channel={quote(name)}") as ben:
            with trio.fail_after(10):
                await ben.send("in the room")
                assert await ben.receive() == "in the room"
                await ann.send("to all")
                assert await ann.receive() == "to all"
                assert await ben.receive() == "to all"


@given(st.text(), st.text())
@example("everyone", "\0everyone")
@example("\0everyone", "\0\0everyone")
def test_topics_of_rooms_are_apart_and_none_is_the_librarys(one: str, other: str) -> None:
    assert (topic_of(one) == topic_of(other)) == (one == other)
    assert BROADCAST not in (topic_of(one), topic_of(other))


@given(st.text(), st.text(), st.text(alphabet="}%{=?:", max_size=6))
def test_keys_of_two_rooms_are_never_the_same(one: str, other: str, odd: str) -> None:
    keys = Keys("p")

    def all_of(room: str) -> list[str]:
        several = keys.accepted(room, "a"), keys.members(room, "a"), keys.processes(room)
        return [keys.stream(room), keys.news(room), *several]

    names = {one, other, odd, one + odd, odd + other, f"{one}:members:a", f"{odd}:messages"}
    for first, second in combinations(names, 2):
        assert {*all_of(first)}.isdisjoint(all_of(second))
    found = [key for name in names for key in all_of(name)]
    assert keys.check not in found
    assert all(key.startswith("p:{=") and key.count("}") == 1 for key in found)


@pytest.mark.parametrize(
    ("name", "error", "problem"),
    [
        ("\ud83d", ValueError, "lone surrogate at character 0"),
        ("room \udc00", ValueError, "lone surrogate at character 5"),
        ("x" * (MAX_NAME_SIZE + 1), ValueError, "has 8193 bytes"),
        ("ü" * (MAX_NAME_SIZE // 2 + 1), ValueError, "has 8194 bytes"),
        (None, TypeError, "is text, not NoneType"),
        (7, TypeError, "is text, not int"),
        (b"room", TypeError, "is text, not bytes"),
        (["room"], TypeError, "is text, not list"),
    ],
    ids=["surrogate", "another", "long", "long in bytes", "none", "number", "bytes", "list"],
)
def test_impossible_name_is_refused_and_leaves_nothing(name: object, error: type[Exception], problem: str) -> None:
    rooms = Rooms(MemoryBackplane())
    with pytest.raises(error, match=problem):
        rooms.room(name)  # type: ignore[arg-type]
    assert not internal(rooms, "_known")
    assert rooms.room("x" * MAX_NAME_SIZE).name == "x" * MAX_NAME_SIZE
