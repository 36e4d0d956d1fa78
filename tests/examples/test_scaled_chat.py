"""The scaled chat example: two copies of it on one Redis, a page at one of them, which comes back to it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

import attrs
import trio
from support.redis import collects_coredis, forgives_coredis, needs_redis, redis_server

from trio_ws import Server, open_websocket

from .browser import EXAMPLES, PATIENCE, load, new_page
from .look import problems_of
from .process import forked, launching

pytestmark = [needs_redis, forgives_coredis, collects_coredis]

ITEMS = "() => [...document.querySelectorAll('#messages li')].map((item) => item.textContent)"


class Copy:
    """One process's worth of the example; it may end, and begin anew on its port."""

    def __init__(self, nursery: trio.Nursery) -> None:
        self._nursery = nursery
        self._ended = trio.Event()
        self.server: Server
        self.port = 0

    async def begin(self) -> None:
        self.server = await self._nursery.start(self._serve)
        self.port = self.server.port

    async def end(self) -> None:
        self.server.shutdown()
        await self._ended.wait()

    async def _serve(self, *, task_status: trio.TaskStatus[Server]) -> None:
        self._ended = trio.Event()
        await load("scaled_chat").app.serve("127.0.0.1", self.port, strict=True, task_status=task_status)
        self._ended.set()


async def say(copy: Copy, text: str) -> None:
    """Say something at a copy, and hear it."""
    async with open_websocket(f"ws://127.0.0.1:{copy.port}/chat?user=Bob") as ws:
        await ws.send_json(text)
        while (await ws.receive_json())["message"]["text"] != text:
            pass


def visit(running: Any, copies: list[Copy], tell: Callable[..., Any], seen: dict[str, Any]) -> None:
    one, two = copies
    page, seen["complaints"] = new_page(running)
    page.goto(f"http://127.0.0.1:{one.port}")
    page.locator("#state", has_text="connected").wait_for()
    page.fill("#text", "<b>from the page</b>")
    page.press("#text", "Enter")
    tell(partial(say, two, "from the other process"))
    page.locator("li", has_text="other process").wait_for()
    tell(one.end)
    page.locator("#state", has_text="trying again").wait_for()
    tell(partial(say, two, "missed"))
    tell(one.begin)
    page.locator("li", has_text="missed").wait_for()
    tell(partial(say, two, "live again"))
    page.locator("li", has_text="live again").wait_for()
    seen["look"] = problems_of(page, "scaled_chat")
    seen["items"] = page.evaluate(ITEMS)


def test_page_gets_all_messages_while_its_process_is_restarted(monkeypatch) -> None:
    """A page hears the other process and misses nothing while its own is restarted."""
    from support.chromium import with_browser

    seen: dict[str, Any] = {}

    async def main() -> None:
        token = trio.lowlevel.current_trio_token()
        with trio.fail_after(PATIENCE):
            async with trio.open_nursery() as nursery:
                copies = [Copy(nursery), Copy(nursery)]
                for copy in copies:
                    await copy.begin()

                def tell(function: Callable[[], Awaitable[None]]) -> None:
                    trio.from_thread.run(function, trio_token=token)

                work = partial(visit, copies=copies, tell=tell, seen=seen)
                await trio.to_thread.run_sync(with_browser, work)
                for copy in copies:
                    await copy.end()

    with redis_server() as redis:
        monkeypatch.setenv("REDIS_URL", redis.url)
        trio.run(main)
    assert seen["items"] == [
        "Anonymous<b>from the page</b>",
        "Bobfrom the other process",
        "Bobmissed",
        "Boblive again",
    ]
    assert seen["look"] == []
    assert [text for text in seen["complaints"] if "ERR_CONNECTION_REFUSED" not in text and "/chat" not in text] == []


async def test_resume_with_unknown_id_reports_missing_messages(monkeypatch) -> None:
    """Who comes back with an id that nobody knows is told that something is missing."""
    with redis_server() as redis:
        monkeypatch.setenv("REDIS_URL", redis.url)
        app = load("scaled_chat").app
        backplane = app.services.rooms.backplane
        backplane.options = attrs.evolve(backplane.options, publish_timeout=1)
        async with app.test_client(timeout=60) as client:
            async with client.websocket_connect("/chat?since=1-1") as ws:
                assert "missing" in (await ws.receive_json())["notice"]
                await ws.send_json({"no": "text"})
                redis.kill()
                await ws.send_json("lost")
                with trio.fail_after(PATIENCE):
                    said = await ws.receive_json()
                    assert said["message"] == {"user": "Anonymous", "text": "lost"}
                    assert "has not reached everybody" in (await ws.receive_json())["notice"]


async def test_its_one_command_says_what_to_do_without_a_redis(monkeypatch, tmp_path) -> None:
    monkeypatch.setenv("REDIS_URL", f"unix://{tmp_path}/none")
    folder = EXAMPLES / "scaled_chat"
    async with forked(launching(folder / "app.py"), folder) as program:
        await program.until(f"BackplaneUnavailable: no Redis answers at unix://{tmp_path}/none")
