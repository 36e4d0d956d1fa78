"""The task board: its page in a real browser, and its messages with the test client, in memory and on Redis."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import attrs
import pytest
from support.redis import collects_coredis, forgives_coredis, needs_redis, redis_server

from trio_ws import WebSocket, WebSocketDisconnect

from .browser import EXAMPLES, browse, load, new_page
from .look import problems_of
from .process import forked, launching

pytestmark = [forgives_coredis, collects_coredis]

DIRECTORY = EXAMPLES / "board"
ATTACK = "<img src=x onerror=\"window.broken = true\"> & '\u20ac'"
PASSWORD = "correct horse"
BOARD = """() => Object.fromEntries([...document.querySelectorAll("main ul")].map((list) =>
  [list.id, [...list.querySelectorAll("input")].map((field) => field.value)]))"""


def put(key: str, **change: str) -> dict[str, str]:
    return {"type": "put", "key": key, **change}


def credentials(user: str, password: str = PASSWORD) -> dict[str, str]:
    return {"X-User": user, "X-Password": password}


def test_python_and_page_have_at_most_200_lines() -> None:
    files = [DIRECTORY / "app.py", DIRECTORY / "index.html"]
    assert sum(len(file.read_text(encoding="utf-8").splitlines()) for file in files) <= 200


# --- the page ---------------------------------------------------------------------------------------------------------


@attrs.define
class Seen:
    """What the pages of two users showed."""

    complaints: list[str] = attrs.Factory(list)
    wrong: str = ""
    here: list[str] = attrs.Factory(list)
    boards: dict[str, list[dict[str, list[str]]]] = attrs.Factory(dict)
    elements: list[int] = attrs.Factory(list)
    broken: bool = True
    look: list[str] = attrs.Factory(list)
    refused: str = ""
    signed_out: list[bool] = attrs.Factory(list)
    attempts: list[int] = attrs.Factory(list)


def sign_in(page: Any, user: str, password: str = PASSWORD) -> None:
    page.fill("#name", user)
    page.fill("#password", password)
    page.click("#sign-in button")


def add(page: Any, title: str) -> None:
    page.fill("#title", title)
    page.press("#title", "Enter")


def shows(page: Any, board: dict[str, list[str]]) -> dict[str, list[str]]:
    """Return what a page shows, once that is the whole of a board, or has been something else for too long."""
    found: dict[str, list[str]] = page.evaluate(BOARD)
    for _ in range(3000):
        if found == board:
            break
        page.wait_for_timeout(10)
        found = page.evaluate(BOARD)
    return found


def visit(browser: Any, url: str, seen: Seen) -> None:
    windows = browser.new_context(), browser.new_context()
    (ada, seen.complaints), (grace, _) = [new_page(each) for each in windows]
    ada.goto(url)
    sign_in(ada, "ada", "wrong")
    ada.locator("#state", has_text="wrong").wait_for()
    seen.wrong = ada.text_content("#state")
    seen.look += problems_of(ada, "board")
    sign_in(ada, "ada")
    grace.goto(url)
    sign_in(grace, "grace")
    for page in (ada, grace):
        page.locator("#here", has_text="ada, grace").wait_for()
        seen.here.append(page.text_content("#here"))
    for title in ("Write the tests", ATTACK, "Take a screenshot", "Sleep"):
        add(ada, title)
    add(ada, "  ")  # is refused
    cards = ada.locator("main li")
    cards.nth(3).wait_for()
    cards.nth(0).locator("button").nth(1).click()
    cards.nth(0).locator("button").nth(0).click()  # the next one, from "to do" to the left: "done"
    ada.locator("#todo input").nth(0).fill("Show a screenshot")
    ada.locator("#todo input").nth(0).press("Enter")
    ada.locator("#todo button").nth(5).click()
    board = {"todo": ["Show a screenshot"], "doing": ["Write the tests"], "done": [ATTACK]}
    seen.boards["first"] = [board] + [shows(page, board) for page in (ada, grace)]
    seen.elements = [page.locator("main li *").count() for page in (ada, grace)]
    seen.broken = grace.evaluate("() => Boolean(window.broken)")

    # A lost network: changes are shown at once, also after the page was loaded anew, and go out later.
    windows[0].set_offline(True)
    ada.locator("#state", has_text="disconnected").wait_for()
    ada.locator("#todo button").nth(1).click()
    add(grace, "Review")
    grace.locator("#todo input").nth(1).wait_for()
    board = {"todo": ["Review"], "doing": ["Write the tests", "Show a screenshot"], "done": [ATTACK]}
    seen.boards["offline"] = [{**board, "todo": []}, shows(ada, {**board, "todo": []})]
    windows[0].set_offline(False)
    seen.boards["online"] = [board] + [shows(page, board) for page in (ada, grace)]
    seen.look += problems_of(ada, "board")

    # More changes than the room keeps: a page that begins has all tasks, those of the first changes too.
    grace.evaluate(MANY)
    board = {**board, "todo": ["Review", "Change 649"]}
    seen.boards["many"] = [board] + [shows(page, board) for page in (ada, grace)]
    ada.reload()
    seen.boards["reloaded"] = [board, shows(ada, board)]

    seen.attempts = ada.evaluate(FAILING)
    grace.goto(f"{url}/?board=plans")
    grace.locator("#state", has_text="closed (1008)").wait_for()
    other = windows[0].new_page()
    other.goto(url)
    other.locator("#here", has_text="ada").wait_for()
    ada.click("#sign-out")
    for page in (ada, other):
        page.locator("#sign-in").wait_for()
        seen.signed_out += [page.locator(each).is_visible() for each in ("#add", "#board")]


FAILING = """async () => {
  const { outbox } = await import("/shared/page.js"), attempts = [];
  await new Promise((done) => {
    const answers = [503, undefined, 429];
    const mine = outbox("attempts", async ({ key }) => {
      attempts.push(key);
      if (answers.length) throw { statusCode: answers.shift() };
      done();
    }, () => {});
    mine.add({ key: 1 });
    setTimeout(done, 30000);  // a change that is given up
  });
  return attempts;
}"""
"""A change whose request fails three times: without Redis, without a network, and by too many of them."""
MANY = "() => new Promise((done) => { new WebSocket(`ws://${location.host}/many`).onclose = done; })"


@pytest.fixture(scope="module")
def seen() -> Seen:
    noted, app = Seen(), load("board").app

    @app.websocket("/many")
    async def many(ws: WebSocket) -> None:
        for number in range(650):
            change = {"type": "put", "key": str(number), "task": "many", "title": f"Change {number}", "column": "todo"}
            await app.room("board:team").publish(change)

    browse(app, lambda browser, url: visit(browser, url, noted))
    return noted


def test_page_shows_who_is_there_after_sign_in(seen: Seen) -> None:
    assert seen.wrong == "wrong name or password"
    assert seen.here == ["ada, grace"] * 2


def test_pages_show_the_same_board_after_changes(seen: Seen) -> None:
    board, *shown = seen.boards["first"]
    assert shown == [board, board]


def test_nothing_of_a_title_becomes_html(seen: Seen) -> None:
    assert seen.elements == [12, 12]  # a field and three buttons of each card
    assert not seen.broken


def test_changes_without_network_show_at_once_and_go_out_later(seen: Seen) -> None:
    board, shown = seen.boards["offline"]
    assert shown == board
    board, *shown = seen.boards["online"]
    assert shown == [board, board]


def test_a_change_without_an_answer_is_sent_until_there_is_one(seen: Seen) -> None:
    assert seen.attempts == [1] * 4


def test_new_page_has_the_board_after_more_changes_than_kept(seen: Seen) -> None:
    """The room keeps 500 messages; the pages publish the whole board now and then."""
    board, *shown = seen.boards["many"]
    assert shown == [board, board]
    board, shown = seen.boards["reloaded"]
    assert shown == board


def test_sign_out_hides_the_board_in_all_windows(seen: Seen) -> None:
    """The other window is told by its connection. Before, a board of others was closed with 1008."""
    assert seen.signed_out == [False] * 4


def test_page_is_readable_and_has_visible_focus(seen: Seen) -> None:
    """The form, and the board."""
    assert seen.look == []


def test_page_makes_no_errors_but_for_the_lost_network(seen: Seen) -> None:
    lost = ("ERR_INTERNET_DISCONNECTED", "/sign-in", "/board/team")
    assert [each for each in seen.complaints if not any(part in each for part in lost)] == []


# --- the server -------------------------------------------------------------------------------------------------------


@attrs.define
class Guest:
    """A connection to a board, and what it has received."""

    ws: Any
    keys: list[str] = attrs.Factory(list)
    replies: list[Any] = attrs.Factory(list)
    here: list[str] = attrs.Factory(list)
    recovered: list[Any] = attrs.Factory(list)
    last: str = ""

    async def until(self, condition: Callable[[Guest], bool]) -> None:
        while not condition(self):
            message = await self.ws.receive()
            self.here = message.get("here", self.here)
            if "task" in message:
                self.keys.append(message["key"])
                self.last = message["id"]
            for name, values in (("saved", self.replies), ("body", self.replies), ("recovered", self.recovered)):
                if name in message:
                    values.append(message[name])

    async def change(self, key: str, **change: str) -> Any:
        """Send a change, and return the reply."""
        count = len(self.replies)
        await self.ws.send(put(key, **change))
        await self.until(lambda _: len(self.replies) > count)
        return self.replies[-1]


@asynccontextmanager
async def guest_of(client: Any, user: str, query: str = "", board: str = "team") -> AsyncGenerator[Guest, None]:
    """Sign in with a browser of its own, and connect to a board."""
    client.cookies.clear()
    assert (await client.get("/sign-in", headers=credentials(user))).json() == user
    async with client.websocket_connect(f"/board/{board}{query}", send_type="json", receive_type="json") as ws:
        yield Guest(ws)


@asynccontextmanager
async def running_apps(kind: str, monkeypatch: pytest.MonkeyPatch) -> AsyncGenerator[list[Any], None]:
    """Run the example twice on one Redis, as two processes do, or once in memory; two clients."""
    async with AsyncExitStack() as stack:
        count = 1
        if kind == "redis":
            redis = stack.enter_context(redis_server())
            monkeypatch.setenv("REDIS_URL", redis.url)
            monkeypatch.setenv("SECRET_KEY", "k" * 32)
            count = 2
        apps = [load("board").app for _ in range(count)]
        yield [await stack.enter_async_context(app.test_client(timeout=60)) for app in apps] * (3 - count)


KINDS = ["memory", pytest.param("redis", marks=needs_redis)]


@pytest.mark.parametrize("kind", KINDS)
async def test_change_is_made_once_and_reaches_all(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    async with (
        running_apps(kind, monkeypatch) as (one, other),
        guest_of(one, "ada") as ada,
        guest_of(other, "alan") as alan,
    ):
        for guest in (ada, alan):
            await guest.until(lambda guest: guest.here == ["ada", "alan"])
        first = await ada.change("a", task="1", title="Write", column="todo")
        assert await alan.change("a", task="1", title="Write", column="todo") == first
        await alan.change("b", task="1", column="done")
        for guest in (ada, alan):
            await guest.until(lambda guest: "b" in guest.keys)
            assert guest.keys == ["a", "b"]


@pytest.mark.parametrize("kind", KINDS)
async def test_guest_who_returns_gets_what_was_missed(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    async with running_apps(kind, monkeypatch) as (one, other):
        async with guest_of(one, "ada") as ada:
            await ada.change("a", task="1", title="Write", column="todo")
            await ada.until(lambda guest: bool(guest.keys))
        async with guest_of(other, "grace") as grace:
            await grace.change("b", task="1", column="done")
            await grace.until(lambda guest: guest.keys == ["a", "b"])  # who begins has the whole board
        for client, query, recovered, keys in (
            (one, f"?since={ada.last}", True, ["b"]),
            (other, "?since=7-7", False, ["a", "b"]),
            (other, "", None, ["a", "b"]),
        ):
            async with guest_of(client, "ada", query) as again:
                await again.until(lambda guest: "b" in guest.keys and bool(guest.recovered))
                assert (again.keys, again.recovered) == (keys, [recovered])


@needs_redis
async def test_change_without_redis_gets_503_and_may_be_repeated(monkeypatch: pytest.MonkeyPatch) -> None:
    with redis_server("--appendonly", "yes") as redis:
        monkeypatch.setenv("REDIS_URL", redis.url)
        app = load("board").app
        backplane = app.services.rooms.backplane
        backplane.options = attrs.evolve(backplane.options, publish_timeout=0.5)
        async with app.test_client(timeout=60) as client, guest_of(client, "ada") as ada:
            await ada.until(lambda guest: bool(guest.recovered))
            redis.kill()
            assert "same key" in await ada.change("a", task="1", title="Write", column="todo")
            redis.start()
            while "same key" in await ada.change("a", task="1", title="Write", column="todo"):
                pass
            await ada.until(lambda guest: bool(guest.keys))
            await ada.change("b", task="1", column="done")
            await ada.until(lambda guest: "b" in guest.keys)
            assert ada.keys == ["a", "b"]


@pytest.mark.parametrize(
    ("wrong", "loc"),
    [
        ({"type": "put", "task": "1", "title": "No key"}, ["put", "key"]),
        (put("a", task="1", title=" "), ["put", "title"]),
        (put("a", task="1", column="someday"), ["put", "column"]),
        ({"type": "board", "key": "a", "tasks": {"1": ["Write", "someday"]}}, ["board", "tasks", "1", 1]),
        ({"type": "paint"}, []),
    ],
)
async def test_wrong_change_is_refused_and_the_guest_stays(wrong: dict[str, Any], loc: list[Any]) -> None:
    async with load("board").app.test_client(timeout=60) as client, guest_of(client, "ada") as ada:
        await ada.ws.send(wrong)
        await ada.until(lambda guest: bool(guest.replies))
        assert [each["loc"] for each in ada.replies[0]["errorList"]] == [loc]
        await ada.change("a", task="1", title="Write", column="todo")


async def test_boards_are_closed_to_others_and_to_strangers() -> None:
    async with load("board").app.test_client(timeout=60) as client:
        for board, code in (("team", None), ("plans", 1008), ("x" * 600, 1008), ("nowhere", 1008)):
            async with guest_of(client, "grace", board=board) as grace:
                if code is not None:
                    with pytest.raises(WebSocketDisconnect) as refused:
                        await grace.until(lambda _: False)
                    assert refused.value.code == code
        await client.get("/sign-in", headers={"X-User": ""})
        async with client.websocket_connect("/board/team") as ws:
            with pytest.raises(WebSocketDisconnect, match="1008"):
                await ws.receive()
                await ws.receive()


async def test_connection_ends_with_its_token_or_its_users_sign_out(autojump_clock) -> None:
    async with load("board").app.test_client(timeout=60) as client, guest_of(client, "grace") as grace:
        async with guest_of(client, "ada") as ada:
            await ada.until(lambda guest: bool(guest.recovered))
            await client.get("/sign-in", headers={"X-User": ""})
            with pytest.raises(WebSocketDisconnect, match="4401: credentials revoked"):
                await ada.until(lambda _: False)
        assert grace.ws.connected
        autojump_clock.jump(12 * 3600)
        with pytest.raises(WebSocketDisconnect, match="4401: credentials expired"):
            await grace.until(lambda _: False)


@pytest.mark.parametrize(("user", "password"), [("ada", "wrong"), ("ada", "\u00e9"), ("nobody", PASSWORD), ("", "")])
async def test_wrong_password_signs_nobody_in_and_the_user_out(user: str, password: str) -> None:
    async with load("board").app.test_client(timeout=60) as client:
        assert (await client.get("/sign-in", headers=credentials("ada"))).json() == "ada"
        assert (await client.get("/sign-in")).json() == "ada"
        assert (await client.get("/sign-in", headers=credentials(user, password))).json() is None
        assert (await client.get("/sign-in")).json() is None


async def test_its_one_command_runs_it() -> None:
    async with forked(launching(DIRECTORY / "app.py"), DIRECTORY) as server:
        await server.address()
        assert await server.interrupt() == 0


@pytest.mark.parametrize("variable", ["REDIS_URL", "SECRET_KEY"])
def test_worker_without_what_workers_share_says_so(variable: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (("TRIO_WS_WORKER", "1"), ("REDIS_URL", "redis://localhost"), ("SECRET_KEY", "k" * 32)):
        monkeypatch.setenv(name, value)
    load("board")
    monkeypatch.delenv(variable)
    with pytest.raises(SystemExit, match="set REDIS_URL, and SECRET_KEY to 32 random bytes"):
        load("board")
