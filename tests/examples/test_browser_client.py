"""The client for pages in a real Chromium: the page of docs/browser-client.md through all that ends its connections.

What does not need a browser is in `tests/app/test_client_script.py`. One visit is noted, and judged by the tests.
"""

from __future__ import annotations

import re
import runpy
import signal
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import Any

import attrs
import pytest
import trio

from trio_ws import App, Response, Server, WebSocket, WebSocketException

from .browser import PATIENCE, state_of
from .process import Program, forked

PAGE = (Path(__file__).parents[2] / "docs" / "browser-client.md").read_text(encoding="utf-8")
FILES = {
    "app.py": re.findall(r"^```python\n# app.py\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)[0],
    "index.html": re.findall(r"^```html\n<!-- index.html -->\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)[0],
}
REQUESTS = re.findall(r"^```javascript\n(const bar.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)[0]
PAGE_PATIENCE = 30_000
"""Milliseconds."""

CONNECT = """async ([path, options]) => {
  const { connect } = await import("/trio_ws.js");
  const states = [];
  const connection = connect(path, { ...options, onstate: (state, detail) => states.push([state, detail]) });
  Object.assign(window, { connection, states });
}"""
ORDERS = """async () => {
  const { connect } = await import("/trio_ws.js");
  const lines = [];
  const console = { log: (...words) => lines.push(words.join(" ")) };
  const bar = connect("/bar");
  lines.push((await bar.request({ drink: "coffee", cups: 2 })).price);
  %s
  for (const wrong of [{ drink: "tea" }, {}])
    await bar.request(wrong).catch(({ statusCode }) => lines.push(statusCode));
  bar.close();
  return [...lines, bar.state];
}"""


class House:
    """Serves the application of the page on one port, and can begin anew there."""

    def __init__(self, nursery: trio.Nursery, folder: Path) -> None:
        self._nursery = nursery
        self._folder = folder
        self._ended = trio.Event()
        self.app: App
        self.server: Server
        self.port = 0

    async def open(self) -> None:
        self.app = runpy.run_path(str(self._folder / "app.py"))["app"]
        add_routes(self.app)
        self.server = await self._nursery.start(self._serve)
        self.port = self.server.port

    async def close(self) -> None:
        self.server.shutdown()
        await self._ended.wait()

    async def say(self, text: str) -> None:
        await self.app.room("chat").publish({"text": text})

    async def drop(self) -> None:
        """Break the connections of all members, without a word."""
        for member in self.app.room("chat").members:
            await member.websocket.close(1011)

    async def members(self, count: int) -> None:
        while self.app.room("chat").count != count:
            await trio.sleep(0.01)

    async def _serve(self, *, task_status: trio.TaskStatus[Server]) -> None:
        self._ended = trio.Event()
        await self.app.serve("127.0.0.1", self.port, task_status=task_status)
        self._ended.set()


class Workers:
    """Serves the application in a worker of a supervisor."""

    def __init__(self, nursery: trio.Nursery, folder: Path) -> None:
        self._nursery = nursery
        self._folder = folder
        self.program: Program
        self.address = ""

    async def begin(self) -> None:
        await self._nursery.start(self._run)
        self.address = await self.program.address()

    async def _run(self, *, task_status: trio.TaskStatus[None]) -> None:
        command = ["trio-ws", "run", "app:app", "--workers", "1", "--host", "127.0.0.1", "--port", "0"]
        async with forked(command, self._folder) as self.program:
            task_status.started()
            await trio.sleep_forever()


def add_routes(app: App) -> None:
    """Add handshakes that are refused, with an answer over HTTP that says why."""

    @app.websocket("/busy", guards=[lambda context: False])
    @app.websocket("/missing", guards=[lambda context: False])
    @app.websocket("/guarded", guards=[lambda context: False])
    async def never(ws: WebSocket) -> None:
        raise AssertionError

    @app.websocket("/forbidden")
    async def forbidden(ws: WebSocket) -> None:
        raise WebSocketException(4403, "sign in first")

    app.page("/busy", lambda request: Response(status=503, headers={"Retry-After": "7"}))
    app.page("/missing", lambda request: Response(status=404))


@attrs.define
class Seen:
    """What the page showed."""

    orders: list[Any] = attrs.Factory(list)
    items: dict[str, list[str]] = attrs.Factory(dict)
    states: dict[str, str] = attrs.Factory(dict)
    refused: dict[str, list[Any]] = attrs.Factory(dict)
    paused: list[bool] = attrs.Factory(list)
    errors: list[str] = attrs.Factory(list)


def watch(page: Any) -> None:
    """Note all that the status line shows: a delay may be so short that nobody sees it."""
    page.evaluate(
        """() => {
          window.shown = [];
          const line = document.querySelector("#state");
          new MutationObserver(() => shown.push(line.textContent)).observe(line, { childList: true });
        }"""
    )


def saw(page: Any, text: str) -> str:
    """Return the first state that begins with a text, once the page has shown it."""
    found: str = page.wait_for_function("(text) => shown.find((each) => each.startsWith(text))", arg=text).json_value()
    return found


def say(page: Any, text: str) -> None:
    page.fill("input", text)
    page.press("input", "Enter")


def items(page: Any, last: str) -> list[str]:
    page.locator("#messages li", has_text=last).last.wait_for()
    found: list[str] = page.locator("#messages li").all_text_contents()
    return found


def visit(browser: Any, house: House, workers: Workers, tell: Callable[..., None], seen: Seen) -> None:
    context = browser.new_context()
    page = context.new_page()
    page.set_default_timeout(PAGE_PATIENCE)
    page.on("pageerror", lambda error: seen.errors.append(str(error)))
    page.goto(f"http://127.0.0.1:{house.port}")
    state_of(page, "connected")
    seen.orders = page.evaluate(ORDERS % REQUESTS.replace('const bar = connect("/bar");', "").replace("coffee", "tea"))
    say(page, "hello")
    items(page, "hello")

    # A lost network: the page notices by itself, and misses nothing.
    context.set_offline(True)
    seen.states["offline"] = state_of(page, "disconnected")
    tell(partial(house.members, 0))
    say(page, "said offline")
    tell(partial(house.say, "missed"))
    context.set_offline(False)
    state_of(page, "connected")
    seen.items["offline"] = items(page, "said offline")

    # A frozen tab: nothing runs in it while messages arrive and its connection ends. Chromium itself freezes
    # hidden pages only, and Playwright's are always visible: the debugger stops the page in the same place, its loop.
    page.evaluate("() => { setInterval(() => {}, 10); }")  # something to stop
    session = context.new_cdp_session(page)
    session.send("Debugger.enable")
    session.on("Debugger.paused", lambda _: seen.paused.append(True))
    session.send("Debugger.pause")
    for _ in range(PAGE_PATIENCE // 10):
        if seen.paused:
            break
        page.wait_for_timeout(10)  # in which Playwright's events arrive
    tell(partial(house.say, "to the frozen one"))
    tell(house.drop)
    tell(partial(house.members, 0))
    tell(partial(house.say, "to nobody"))
    session.send("Debugger.resume")
    seen.items["thawed"] = items(page, "to nobody")

    # A server that restarts without its messages, while the page sends.
    watch(page)
    tell(house.close)
    seen.states["closed"] = saw(page, "disconnected")
    say(page, "said to nobody")
    tell(house.open)
    state_of(page, "connected")
    seen.items["restarted"] = items(page, "said to nobody")

    # A worker that is replaced, under a supervisor.
    tell(workers.begin)
    page.goto(f"http://{workers.address}")
    state_of(page, "connected")
    watch(page)
    workers.program.signal(signal.SIGHUP)
    seen.states["replaced"] = saw(page, "disconnected")
    say(page, "to the new worker")
    seen.items["replaced"] = items(page, "to the new worker")
    page.goto(f"http://127.0.0.1:{house.port}")

    for path in ("/busy", "/missing", "/guarded", "/forbidden"):
        page.evaluate(CONNECT, [path, {"initial": 10}])
        page.wait_for_function("() => states.some(([state]) => state === 'waiting' || state === 'closed')")
        seen.refused[path] = page.evaluate("() => (connection.close(), states)")


async def observe(folder: Path, seen: Seen) -> None:
    from support.chromium import with_browser  # where there is none, the tests are skipped that asked for it

    token = trio.lowlevel.current_trio_token()

    def tell(call: Callable[[], Awaitable[None]]) -> None:
        trio.from_thread.run(call, trio_token=token)

    with trio.fail_after(PATIENCE):
        async with trio.open_nursery() as nursery:
            house = House(nursery, folder)
            await house.open()
            work = partial(visit, house=house, workers=Workers(nursery, folder), tell=tell, seen=seen)
            await trio.to_thread.run_sync(with_browser, work)
            nursery.cancel_scope.cancel()


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory) -> Seen:
    folder, noted = tmp_path_factory.mktemp("page"), Seen()
    for name, content in FILES.items():
        (folder / name).write_text(content, encoding="utf-8")
    trio.run(observe, folder, noted)
    return noted


def test_requests_of_the_page_get_their_replies_and_errors(seen: Seen) -> None:
    assert seen.orders == [5, "there is no tea", 404, 400, "closed"]


def test_page_misses_nothing_while_the_network_is_lost(seen: Seen) -> None:
    assert seen.states["offline"].startswith("disconnected (1006), trying again in ")
    assert sorted(seen.items["offline"]) == ["hello", "missed", "said offline"]


def test_frozen_page_gets_everything_once_after_it_thaws(seen: Seen) -> None:
    """Also what was said while its connection had ended, without its knowledge."""
    assert seen.paused == [True]
    assert seen.items["thawed"][3:] == ["to the frozen one", "to nobody"]


def test_page_sends_after_a_restart_and_says_what_is_missing(seen: Seen) -> None:
    assert seen.states["closed"].startswith("disconnected (1001), trying again in ")
    assert seen.items["restarted"][5:] == ["Some messages are missing.", "said to nobody"]


def test_page_finds_the_worker_that_replaces_its_own(seen: Seen) -> None:
    assert seen.states["replaced"].startswith("disconnected (1012), trying again in ")
    assert seen.items["replaced"][-1] == "to the new worker"


def test_a_page_sees_of_a_refusal_what_http_answers(seen: Seen) -> None:
    last = {
        path: next(each for each in states if each[0] in ("waiting", "closed")) for path, states in seen.refused.items()
    }
    assert [last[path][0] for path in last] == ["waiting", "closed", "waiting", "closed"]
    assert 7000 <= last["/busy"][1]["delay"] < 7010  # Retry-After, and a random delay of up to 10 ms
    assert last["/guarded"][1]["delay"] < 10
    assert last["/missing"][1] == {"code": 1006, "reason": ""}
    assert last["/forbidden"][1] == {"code": 4403, "reason": "sign in first"}


def test_the_page_makes_no_errors(seen: Seen) -> None:
    assert seen.errors == []
