"""docs/rooms.md does what it shows, on every way to reach an application."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from support.endings import status_of

from trio_ws import App, WebSocketDisconnect

from .ways import Way

PAGE = (Path(__file__).parents[2] / "docs" / "rooms.md").read_text(encoding="utf-8")
CODE = "\n".join(re.findall(r"^```python\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL))


@pytest.fixture
def names() -> dict[str, Any]:
    """What the page defines."""
    names: dict[str, Any] = {"__name__": "boards"}
    exec(compile(CODE, "docs/rooms.md", "exec", dont_inherit=True), names)
    return names


@pytest.fixture
def app(names: dict[str, Any]) -> App:
    application: App = names["app"]
    return application


async def test_connections_of_the_page_are_members_until_their_end(app: App, way: Way) -> None:
    async with way.visit(app) as visitor, visitor.connect("/watch/4?user=Ada") as ada:
        assert await ada.receive_json() == {"joined": "Ada", "count": "1"}
        async with visitor.connect("/board/4") as editor:
            assert await ada.receive_json() == await editor.receive_json() == {"joined": "a member", "count": "2"}
            async with visitor.connect("/board/5") as other:
                assert await other.receive_json() == {"joined": "a member", "count": "1"}
            await editor.send_json({"task": "done"})
            assert await ada.receive_json() == {"task": "done"}
        assert await ada.receive_json() == {"left": "a member"}
        await ada.send("who?")
        assert await ada.receive_json() == ["Ada"]


async def test_clients_of_the_page_subscribe_and_unsubscribe(app: App, way: Way) -> None:
    async with way.visit(app) as visitor, visitor.connect("/feed") as ws:
        await ws.send_json({"news": True, "sports": True})
        assert await ws.receive_json() == ["news", "sports"]
        await app.room("topic:news").publish("it rains")
        assert await ws.receive() == "it rains"
        await ws.send_json({"news": False, "weather": False})
        assert await ws.receive_json() == []
        await app.room("topic:news").publish("not for everybody")
        await app.room("topic:sports").publish("a goal")
        assert await ws.receive() == "a goal"
    assert app.room("topic:sports").count == 0


async def test_the_leader_of_the_page_counts_once_for_all(app: App, way: Way) -> None:
    async with way.visit(app) as visitor, visitor.connect("/game/1") as one, visitor.connect("/game/1") as two:
        assert (await one.receive_json())["second"] == 0
        assert (await one.receive_json())["second"] == (await two.receive_json())["second"] == 1


async def test_the_guard_of_the_page_asks_at_each_way_in(app: App, way: Way) -> None:
    async with way.visit(app) as visitor, visitor.connect("/private?user=b") as ws:
        await ws.send_json({"room": "a:b", "ref": "1"})
        assert await ws.receive_json() == {"joined": "private:a:b", "ref": "1"}
        await ws.send_json({"room": "a:c", "ref": "2"})
        assert await ws.receive_json() == {"statusCode": 403, "body": {"room": "private:a:c"}, "ref": "2"}
        await app.room("private:a:b").publish("a secret")
        assert await ws.receive() == "a secret"
        assert await status_of(visitor, "/private/a:c?user=b") == 403


async def test_a_moderator_of_the_page_removes_members(app: App, way: Way) -> None:
    async with way.visit(app) as visitor, visitor.connect("/moderate/4") as moderator:
        async with visitor.connect("/watch/4") as ada, visitor.connect("/watch/4") as ben:
            assert (await ada.receive_json())["count"] == "1"
            assert (await ada.receive_json())["count"] == (await ben.receive_json())["count"] == "2"
            first = app.room("board:4").members[0].id
            await moderator.send_json({"do": "disconnect", "member": first})
            assert await moderator.receive_json() == {"done": "disconnect"}
            with pytest.raises(WebSocketDisconnect) as removed:
                await ada.receive()
            assert (removed.value.code, removed.value.reason) == (4003, "removed by a moderator")
            await moderator.send_json({"do": "close"})
            assert await moderator.receive_json() == {"done": "close"}
            with pytest.raises(WebSocketDisconnect) as closed:
                await ben.receive()
            assert (closed.value.code, closed.value.reason) == (1000, "the board is archived")


async def test_earlier_messages_of_the_page_are_read_backwards(app: App, way: Way) -> None:
    app.room_options("board:4", history=10)
    async with way.visit(app) as visitor, visitor.connect("/watch/4") as ada, visitor.connect("/earlier/4") as ws:
        assert (await ada.receive_json())["joined"] == "Anonymous"
        for number in range(3):
            await app.room("board:4").publish(str(number))
            await ada.receive()
        await ws.send_json({"ref": "1"})
        page = (await ws.receive_json())["body"]
        assert [each["message"] for each in page] == ["1", "2"]
        await ws.send_json({"before": page[0]["id"], "ref": "2"})
        assert [each["message"] for each in (await ws.receive_json())["body"]][-1] == "0"


async def test_presence_of_the_page_is_told_to_those_who_are_there(app: App, way: Way) -> None:
    async with way.visit(app) as visitor, visitor.connect("/watched/it") as one:
        (first,) = (await one.receive_json())["in"]
        async with visitor.connect("/watched/it") as two:
            (second,) = (await one.receive_json())["in"]
            assert (await two.receive_json())["in"] == [second] != [first]
        assert await one.receive_json() == {"in": [], "out": [second]}


async def test_orders_of_the_page_are_published_once(app: App, way: Way) -> None:
    async with way.visit(app) as visitor, visitor.connect("/orders") as ws:
        ids = []
        for order in ("1", "1", "2"):
            await ws.send_json({"order": order, "item": "tea"})
            ids.append((await ws.receive_json())["id"])
    assert ids[0] == ids[1] != ids[2]
