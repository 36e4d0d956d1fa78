"""docs/replies.md does what it shows, on every way to reach an application."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from support.endings import refusal_of

from trio_ws import App

from .ways import Way

PAGE = (Path(__file__).parents[2] / "docs" / "replies.md").read_text(encoding="utf-8")
CODE = "\n".join(re.findall(r"^```python\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL))
TALK = re.findall(r"^> (.*)\n(.*)$", PAGE, re.MULTILINE)


@pytest.fixture
def app() -> App:
    names: dict[str, Any] = {"__name__": "boards"}
    exec(compile(CODE, "docs/replies.md", "exec", dont_inherit=True), names)
    application: App = names["app"]
    return application


async def test_each_request_of_the_page_gets_its_reply(app: App, way: Way) -> None:
    assert len(TALK) == 3
    async with way.visit(app) as visitor, visitor.connect("/tasks") as ws:
        for request, reply in TALK:
            await ws.send(request)
            assert await ws.receive() == reply


async def test_an_error_becomes_its_reply_and_the_connection_stays(app: App, way: Way) -> None:
    async with way.visit(app) as visitor, visitor.connect("/strict") as ws:
        for number in range(1, 4):
            await ws.send_json({"board": 4, "title": "more", "ref": number})
        assert [(await ws.receive_json())["statusCode"] for _ in range(2)] == [201, 201]
        full = {"statusCode": 409, "body": {"board": 4, "hint": "finish something first"}, "ref": 3}
        assert await ws.receive_json() == full


async def test_a_dependency_refuses_the_handshake_with_its_reply(app: App, way: Way) -> None:
    async with way.visit(app) as visitor:
        refused = await refusal_of(visitor, "/hello")
        assert (refused.status, json.loads(refused.body)) == (401, {"hint": "Authorization: Bearer ..."})
        async with visitor.connect("/hello", headers={"Authorization": "Bearer Ada"}) as ws:
            assert await ws.receive() == "hello Ada"


async def test_a_function_explains_invalid_messages_with_them(app: App, way: Way) -> None:
    async with way.visit(app) as visitor, visitor.connect("/friendly") as ws:
        await ws.send_json({"board": 4})
        assert await ws.receive_json() == {"sorry": ["Field required"], "about": {"board": 4}}
        await ws.send("{")
        assert (await ws.receive_json())["about"] == "{"
