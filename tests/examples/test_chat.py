"""The chat example: its page in a real browser, several of them, and its one command until Ctrl-C ends it."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from typing import Any

import attrs
import pytest
import trio

from trio_ws import Server, WebSocketDisconnect, open_websocket

from .browser import EXAMPLES, PATIENCE, load, new_page, state_of
from .look import problems_of

ATTACK = "<img src=x onerror=\"window.broken = true\"><b>bold</b> & '\u20ac'"
ITEMS = "#messages li"


class House:
    """Serves the chat on one port of 127.0.0.1, and can begin anew there, like a server that is restarted."""

    def __init__(self, nursery: trio.Nursery) -> None:
        self._nursery = nursery
        self._server: Server | None = None
        self._ended = trio.Event()
        self.port = 0

    async def open(self) -> None:
        self._server = await self._nursery.start(self._serve)
        self.port = self._server.port

    async def close(self) -> None:
        assert self._server is not None
        self._server.shutdown()
        await self._ended.wait()

    async def _serve(self, task_status: Any) -> None:
        self._ended = trio.Event()
        await load("chat").app.serve("127.0.0.1", self.port, strict=True, task_status=task_status)
        self._ended.set()


@attrs.define
class Seen:
    """What the pages showed."""

    requests: list[str] = attrs.Factory(list)
    complaints: list[list[str]] = attrs.Factory(list)
    shown: list[list[tuple[str, str]]] = attrs.Factory(list)
    elements: list[int] = attrs.Factory(list)
    broken: list[bool] = attrs.Factory(list)
    left_in_field: str = "something"
    newcomer: list[tuple[str, str]] = attrs.Factory(list)
    name_after_reload: str = ""
    look: list[str] = attrs.Factory(list)
    reader: list[Any] = attrs.Factory(list)
    kept: list[tuple[str, str]] = attrs.Factory(list)
    down: list[str] = attrs.Factory(list)
    up_again: list[str] = attrs.Factory(list)
    after_restart: list[list[tuple[str, str]]] = attrs.Factory(list)


def say(page: Any, user: str, text: str) -> None:
    page.fill("#user", user)
    page.fill("#text", text)
    page.click("#submit")


def messages_on(page: Any, count: int) -> list[tuple[str, str]]:
    """Return the users and texts on a page, once there are so many."""
    page.wait_for_function(f"() => document.querySelectorAll('{ITEMS}').length >= {count}")
    pairs = page.evaluate(f"() => [...document.querySelectorAll('{ITEMS}')].map(li => [...li.childNodes].map(textOf))")
    return [tuple(pair) for pair in pairs]


SCROLLED = "() => messages.scrollHeight - messages.scrollTop - messages.clientHeight"


FORTY = """() => {
  for (let number = 0; number < 40; number++) {
    document.querySelector("#text").value = `line ${number}`;
    document.querySelector("#submit").click();
  }
}"""


def read_back(page: Any, other: Any) -> list[Any]:
    """Fill a page, scroll to its begin, and let the other one say more; return how far from the end the page was."""
    other.evaluate(FORTY)
    page.locator("li", has_text="line 39").wait_for()
    follows = page.evaluate(SCROLLED)
    page.evaluate("() => messages.scrollTo(0, 0)")
    say(other, "Bob", "news")
    page.locator(".newer button").wait_for()
    stays = page.evaluate("() => messages.scrollTop")
    page.click(".newer button")
    page.locator(".newer button").wait_for(state="hidden")
    return [follows < 2, stays, page.evaluate(SCROLLED) < 2]


def visit(browser: Any, url: str, close: Callable[[], None], reopen: Callable[[], None], seen: Seen) -> None:
    def open_page() -> Any:
        page, complaints = new_page(browser)
        seen.complaints.append(complaints)
        page.on("request", lambda request: seen.requests.append(request.url))
        page.add_init_script("window.textOf = (node) => node.textContent")
        page.clock.install()
        page.goto(url)
        state_of(page, "connected")
        return page

    ada, bob = open_page(), open_page()
    say(ada, "Ada <i>", ATTACK)
    messages_on(bob, 1)
    seen.left_in_field = ada.input_value("#text")
    say(bob, "", "  Hello  ")
    messages_on(ada, 2)
    say(ada, "Ada", "   ")
    say(ada, "Ada", "the last")
    seen.shown = [messages_on(page, 3) for page in (ada, bob)]
    seen.elements = [page.locator(f"{ITEMS} *").count() for page in (ada, bob)]
    seen.broken = [page.evaluate("() => Boolean(window.broken)") for page in (ada, bob)]
    newcomer = open_page()
    seen.newcomer = messages_on(newcomer, 3)
    ada.reload()
    messages_on(ada, 3)
    seen.name_after_reload = ada.input_value("#user")
    seen.look = problems_of(ada, "chat")
    for page in (bob, newcomer, ada):
        page.goto("about:blank")  # the room is empty for a moment
    for page in (ada, bob):
        page.goto(url)
    seen.kept = messages_on(ada, 3)
    messages_on(bob, 3)

    close()
    seen.down = [state_of(page, "disconnected") for page in (ada, bob)]
    say(ada, "Ada", "Is anybody here?")
    reopen()
    for page in (ada, bob):
        page.clock.run_for(500)  # what the page waits at most before it tries again
    seen.up_again = [state_of(page, "connected") for page in (ada, bob)]
    say(bob, "Bob", "Hello again")
    seen.after_restart = [messages_on(page, 6)[3:] for page in (ada, bob)]
    seen.reader = read_back(ada, bob)


async def observe(seen: Seen) -> None:
    from support.chromium import with_browser  # where there is none, the tests are skipped that asked for it

    token = trio.lowlevel.current_trio_token()

    def work(running: Any) -> None:
        close = partial(trio.from_thread.run, house.close, trio_token=token)
        reopen = partial(trio.from_thread.run, house.open, trio_token=token)
        visit(running, f"http://127.0.0.1:{house.port}", close, reopen, seen)

    with trio.fail_after(PATIENCE):
        async with trio.open_nursery() as nursery:
            house = House(nursery)
            await house.open()
            await trio.to_thread.run_sync(with_browser, work)
            await house.close()


@pytest.fixture(scope="module")
def seen() -> Seen:
    noted = Seen()
    trio.run(observe, noted)
    return noted


def test_everyone_sees_what_is_said(seen: Seen) -> None:
    conversation = [("Ada <i>", ATTACK), ("Anonymous", "Hello"), ("Ada", "the last")]
    assert seen.shown == [conversation, conversation]


def test_nothing_of_a_message_becomes_html(seen: Seen) -> None:
    assert seen.elements == [3, 3]  # the names, which the page itself makes
    assert seen.broken == [False, False]


def test_the_field_is_empty_after_sending(seen: Seen) -> None:
    assert seen.left_in_field == ""


def test_a_newcomer_sees_what_was_said_before(seen: Seen) -> None:
    assert seen.newcomer == seen.shown[0]


def test_page_shows_that_server_is_gone_and_when_it_tries(seen: Seen) -> None:
    shown = re.compile(r"disconnected \((1001|1006)\), trying again in \d s")  # it may have tried already
    assert all(shown.fullmatch(text) for text in seen.down), seen.down


def test_page_reconnects_after_a_server_restart(seen: Seen) -> None:
    """A page is connected again after the server was restarted."""
    assert seen.up_again == ["connected"] * 2
    said = {("Some messages may be missing.",), ("Ada", "Is anybody here?"), ("Bob", "Hello again")}
    assert [set(texts) for texts in seen.after_restart] == [said, said]


def test_name_and_history_are_there_after_a_reload(seen: Seen) -> None:
    assert seen.name_after_reload == "Ada"
    assert seen.kept == seen.shown[0]


def test_newest_message_is_in_view_and_readers_stay(seen: Seen) -> None:
    """The list follows its end; a reader who has scrolled away stays there, and gets to the end by a button."""
    assert seen.reader == [True, 0, True]


def test_page_is_readable_and_has_visible_focus(seen: Seen) -> None:
    """In light and dark, 390 and 1,280 pixels wide: contrast of 4.5, outlines, no scrolling to the side."""
    assert seen.look == []


def test_the_page_asks_no_other_host_and_makes_no_errors(seen: Seen) -> None:
    assert all(url.startswith(("http://127.0.0.1:", "data:")) for url in seen.requests)
    refused = ("ERR_CONNECTION_REFUSED", "/chat")  # while the server is down
    complaints = [each for page in seen.complaints for each in page]
    assert [each for each in complaints if not any(part in each for part in refused)] == []


def test_a_newcomer_gets_the_last_fifty_messages_in_a_plain_test() -> None:
    with load("chat").app.test_client() as client, client.websocket_connect("/chat") as ada:
        for number in range(60):
            ada.send_json({"type": "message", "user": "Ada", "text": str(number)})
            message = ada.receive_json()
            assert message == {"type": "message", "user": "Ada", "text": str(number), "id": message["id"]}
        with client.websocket_connect("/chat") as bob:
            assert [bob.receive_json()["text"] for _ in range(50)] == [str(number) for number in range(10, 60)]


@pytest.mark.parametrize("nonsense", [[], {}, "text", None, {"user": "Ada"}, {"text": ""}], ids=str)
def test_what_is_no_message_is_told_to_nobody(nonsense: Any) -> None:
    with load("chat").app.test_client() as client, client.websocket_connect("/chat") as ada:
        ada.send_json(nonsense)
        ada.send_json({"text": 1})
        assert {**ada.receive_json(), "id": ""} == {"type": "message", "user": "Anonymous", "text": "1", "id": ""}


PROGRAM = """
import runpy, sys
from functools import partialmethod
from trio_ws import App
App.run = partialmethod(App.run, port=0)
runpy.run_path(sys.argv[1], run_name="__main__")
"""
"""Runs an example as its one command does, but for the port: it is a free one."""


@pytest.mark.skipif(sys.platform == "win32", reason="a process on Windows cannot be sent Ctrl-C alone")
@pytest.mark.parametrize(
    "number",
    [
        pytest.param(signal.SIGINT, marks=pytest.mark.thorough("test_its_one_command_runs_it")),
        signal.SIGTERM,
    ],
)
async def test_one_command_runs_it_until_a_signal_closes_all_clients(number: signal.Signals) -> None:
    """One command runs it until a signal says goodbye to everyone."""
    command = [sys.executable, "-W", "error", "-c", PROGRAM, str(EXAMPLES / "chat" / "app.py")]
    with trio.fail_after(PATIENCE):
        process = await trio.lowlevel.open_process(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        lines = _Lines(process.stderr)
        url = (await lines.next()).removeprefix("listening on ")
        async with (
            open_websocket(f"{url}/chat", when_peer_leaves="finish") as one,
            open_websocket(f"{url}/chat", when_peer_leaves="finish") as two,
        ):
            await one.send_json({"text": "Hello"})
            assert (await two.receive_json())["text"] == "Hello"
            assert await one.receive_json()
            process.send_signal(number)
            for ws in (one, two):
                with pytest.raises(WebSocketDisconnect) as caught:
                    await ws.receive()
                assert caught.value.code == 1001
        assert await process.wait() == 0
        rest = [line for line in (await lines.rest()) if not line.startswith(("listening on ", "open http"))]
        assert rest == ["shutting down: 2 connections"]
        assert process.stdout is not None
        assert await process.stdout.receive_some() == b""


class _Lines:
    """The lines of what a process says."""

    def __init__(self, stream: trio.abc.ReceiveStream | None) -> None:
        assert stream is not None
        self._stream = stream
        self._text = ""

    async def next(self) -> str:
        while "\n" not in self._text:
            more = await self._stream.receive_some()
            assert more, f"it has ended, and said: {self._text}"
            self._text += more.decode()
        line, _, self._text = self._text.partition("\n")
        return line

    async def rest(self) -> list[str]:
        async for more in self._stream:
            self._text += more.decode()
        return self._text.splitlines()
