"""Three browsers work on one task board while Redis, workers and networks fail: nothing is lost, nothing is made twice.

Each page notes the messages that its WebSockets pass on and are given. The replies among them are the truth: sorted by
the ids in them, the changes that were acknowledged make the board that all pages have to show in the end.
"""

from __future__ import annotations

import json
import os
import random
import signal
from collections.abc import Callable
from functools import partial
from typing import Any

import attrs
import pytest
import trio
from support.redis import RedisServer, needs_redis, redis_server

from .browser import PATIENCE, new_page
from .process import ROOT, Program, forked
from .test_board import shows, sign_in

# The page that repeats what had no reply, and the server that makes it once, have shorter tests in test_board.py.
pytestmark = [needs_redis, pytest.mark.thorough("test_a_change_without_an_answer_is_sent_until_there_is_one")]

USERS = ("ada", "alan", "grace")
ROUNDS = 20
NOTES = """
  Object.assign(window, { heard: [], said: [], sockets: 0 });
  window.WebSocket = class extends WebSocket {
    constructor(...given) { super(...given); sockets += 1; }
    send(data) { said.push(data); super.send(data); }
    set onmessage(pass) { super.onmessage = pass && ((event) => { heard.push(event.data); pass(event); }); }
  };
"""
WORK = """([kind, text, chance]) => {
  const cards = [...document.querySelectorAll("main li")];
  if (kind === "add" || !cards.length) {
    title.value = text;
    return add.requestSubmit();
  }
  const [field, back, on, end] = cards[Math.floor(chance * cards.length)].children;
  if (kind === "rename") {
    field.value = text;
    field.dispatchEvent(new Event("change"));
  } else ({ back, on, end })[kind].click();
}"""
WAITING = "() => JSON.parse(sessionStorage.getItem(Object.keys(sessionStorage)[0]) ?? '[]').length"


class Wire:
    """The way of one page to the server, which can be cut."""

    def __init__(self, address: str) -> None:
        host, _, port = address.rpartition(":")
        self._server = host, int(port)
        self._flows = trio.CancelScope()
        self.deaf = False
        """Whether what the server says is dropped, while it hears everything."""
        self.is_cut = False
        self.port = 0

    def cut(self) -> None:
        """End all connections, and refuse further ones."""
        self.is_cut = True
        self._flows.cancel()

    def mend(self) -> None:
        self.is_cut = self.deaf = False

    async def serve(self, *, task_status: trio.TaskStatus[None]) -> None:
        (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
        async with listener:
            self.port = listener.socket.getsockname()[1]
            task_status.started()
            while True:
                with trio.CancelScope() as self._flows:
                    async with trio.open_nursery() as nursery:
                        while True:
                            nursery.start_soon(self._carry, await listener.accept())

    async def _carry(self, near: trio.SocketStream) -> None:
        async with near:
            if self.is_cut:
                return
            try:
                far = await trio.open_tcp_stream(*self._server)
            except OSError:
                return
            async with far, trio.open_nursery() as nursery:
                nursery.start_soon(self._copy, near, far, nursery.cancel_scope, False)
                nursery.start_soon(self._copy, far, near, nursery.cancel_scope, True)

    async def _copy(self, source: Any, sink: Any, over: trio.CancelScope, answers: bool) -> None:
        try:
            async for data in source:
                if not (answers and self.deaf):
                    await sink.send_all(data)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            pass
        over.cancel()


@attrs.define
class Page:
    """A user at work."""

    user: str
    browser_page: Any
    context: Any
    complaints: list[str]

    def work(self, chance: random.Random, text: str) -> None:
        """Make one change of a card that is there, or add one."""
        kind = chance.choice(["add", "add", "rename", "back", "on", "on", "end"])
        self.browser_page.evaluate(WORK, [kind, text, chance.random()])

    def waiting(self) -> int:
        """Return the number of changes that the page has not seen acknowledged."""
        return self.browser_page.evaluate(WAITING)  # type: ignore[no-any-return]

    def until(self, condition: str) -> None:
        self.browser_page.wait_for_function(condition)


def drain(pages: list[Page]) -> None:
    """Wait until all changes are acknowledged."""
    for page in pages:
        page.until(f"{WAITING} === 0")


@attrs.define
class Seen:
    """What the pages had noted in the end."""

    said: list[list[dict[str, Any]]] = attrs.Factory(list)
    heard: list[list[dict[str, Any]]] = attrs.Factory(list)
    sockets: list[int] = attrs.Factory(list)
    boards: list[dict[str, list[str]]] = attrs.Factory(list)
    fresh: dict[str, list[str]] = attrs.Factory(dict)
    waited: dict[str, list[int]] = attrs.Factory(dict)
    repeated: int = 0
    complaints: list[str] = attrs.Factory(list)

    def acknowledged(self) -> dict[str, tuple[tuple[int, ...], dict[str, Any]]]:
        """Return the changes that have a reply, with the position in it, by their keys."""
        found: dict[str, Any] = {}
        for said, heard in zip(self.said, self.heard, strict=True):
            requests = {each["ref"]: each for each in said if "ref" in each}
            for reply in heard:
                if "saved" in reply and "ref" in reply:
                    change = requests[reply["ref"]]
                    position = tuple(map(int, reply["saved"].split("-")))
                    assert found.setdefault(change["key"], (position, change))[0] == position
        return found

    def board(self) -> dict[str, list[str]]:
        """Return the board that the changes make which were acknowledged, in the order of their positions."""
        tasks: dict[str, list[str]] = {}
        for _, change in sorted(self.acknowledged().values(), key=lambda each: each[0]):
            task = change["task"]
            if change["type"] == "delete":
                tasks.pop(task, None)
            elif task in tasks or ("title" in change and "column" in change):
                before = tasks.get(task, ["", ""])
                tasks[task] = [change.get("title", before[0]), change.get("column", before[1])]
        return {
            name: [title for title, column in tasks.values() if column == name] for name in ("todo", "doing", "done")
        }


def begin(running: Any, url: str, user: str) -> Page:
    context = running.new_context()
    context.add_init_script(NOTES)
    browser_page, complaints = new_page(context)
    browser_page.goto(url)
    sign_in(browser_page, user)
    browser_page.locator("#here", has_text=user).wait_for()
    return Page(user, browser_page, context, complaints)


@attrs.frozen
class Place:
    """The programs that the pages work with."""

    redis: RedisServer
    program: Program
    address: str
    wire: Wire
    token: trio.lowlevel.TrioToken

    def tell(self, call: Callable[..., Any], *arguments: Any) -> None:
        """Call a function in the thread of Trio."""
        trio.from_thread.run_sync(call, *arguments, trio_token=self.token)


def visit(running: Any, place: Place, seen: Seen) -> None:
    redis, wire, tell = place.redis, place.wire, place.tell
    chance = random.Random(14)
    wired = f"http://127.0.0.1:{wire.port}"
    pages = [begin(running, wired if user == "grace" else f"http://{place.address}", user) for user in USERS]
    ada, _, grace = pages
    for page in pages:
        page.until(f"() => here.textContent === {', '.join(USERS)!r}")
    workers = place.program.children()
    assert len(workers) == 2

    for number in range(ROUNDS):
        if number == 7:
            tell(setattr, wire, "deaf", True)
        for page in pages:
            page.work(chance, f"{page.user} {number}")
        match number:
            case 3:  # what is on its way now is cut off, and what follows waits
                redis.kill()
            case 6:
                seen.waited["redis"] = [page.waiting() for page in pages]
                redis.start()
                drain(pages)
            case 7:  # the change of one page is made, and it gets no reply
                grace_key = json.loads(grace.browser_page.evaluate("() => said.at(-1)"))["key"]
                ada.until(f"() => heard.some((each) => each.includes({grace_key!r}))")
                tell(wire.cut)
            case 9:
                seen.waited["wire"] = [grace.waiting()]
                tell(wire.mend)
                drain(pages)
            case 10 | 12:
                os.kill(workers.pop(), signal.SIGKILL)
            case 11 | 13:
                drain(pages)
            case 15:
                redis.kill()
                ada.context.set_offline(True)
                ada.browser_page.locator("#state", has_text="disconnected").wait_for()
            case 17:
                seen.waited["offline"] = [ada.waiting()]
                ada.context.set_offline(False)
                redis.start()
    drain(pages)
    seen.repeated = grace.browser_page.evaluate("(key) => said.filter((each) => each.includes(key)).length", grace_key)
    for page in pages:
        seen.said.append(list(map(json.loads, page.browser_page.evaluate("() => said"))))
        seen.heard.append(list(map(json.loads, page.browser_page.evaluate("() => heard"))))
        seen.sockets.append(page.browser_page.evaluate("() => sockets"))
        seen.complaints += page.complaints
    board = seen.board()
    seen.boards = [shows(page.browser_page, board) for page in pages]
    seen.fresh = shows(begin(running, f"http://{place.address}", "alan").browser_page, board)


async def observe(redis: RedisServer, seen: Seen) -> None:
    from support.chromium import with_browser  # where there is none, the tests are skipped that asked for it

    command = ["trio-ws", "run", "examples.board.app:app", "--workers", "2", "--host", "127.0.0.1", "--port", "0"]
    with trio.fail_after(PATIENCE):
        async with forked(command, ROOT) as program, trio.open_nursery() as nursery:
            address = await program.address()
            for number in (1, 2):  # one that starts while there is no Redis ends
                await program.until(f"worker {number} INFO trio_ws: connected to Redis")
            wire = Wire(address)
            await nursery.start(wire.serve)
            place = Place(redis, program, address, wire, trio.lowlevel.current_trio_token())
            await trio.to_thread.run_sync(with_browser, partial(visit, place=place, seen=seen))
            nursery.cancel_scope.cancel()


@pytest.fixture(scope="module")
def seen() -> Any:
    noted = Seen()
    with redis_server("--appendonly", "yes", "--appendfsync", "always") as redis, pytest.MonkeyPatch.context() as patch:
        patch.setenv("REDIS_URL", redis.url)
        patch.setenv("SECRET_KEY", "k" * 32)
        trio.run(observe, redis, noted)
    return noted


def test_all_changes_are_acknowledged_and_all_pages_show_them(seen: Seen) -> None:
    changes = {each["key"] for said in seen.said for each in said if "task" in each}
    assert len(changes) == ROUNDS * len(USERS)
    assert set(seen.acknowledged()) == changes
    assert [*seen.boards, seen.fresh] == [seen.board()] * 4


def test_each_page_gets_each_change_once_in_one_order(seen: Seen) -> None:
    """Over all connections that it has had, at either worker."""
    positions = {key: position for key, (position, _) in seen.acknowledged().items()}
    in_order = sorted(positions, key=lambda key: positions[key])
    assert [[each["key"] for each in heard if "task" in each] for heard in seen.heard] == [in_order] * 3


def test_redis_workers_and_networks_failed_indeed(seen: Seen) -> None:
    """Else the tests above show nothing. The numbers are those of the changes that were made meanwhile."""
    assert all(count >= 3 for count in seen.waited["redis"])
    assert seen.waited["wire"][0] >= 3
    assert seen.waited["offline"][0] >= 2
    assert seen.repeated >= 2  # sent, that is, with the same key
    assert all(count >= 2 for count in seen.sockets)


def test_pages_make_no_errors_but_for_lost_networks(seen: Seen) -> None:
    lost = ("net::ERR_", "/sign-in", "/board/team")
    assert [each for each in seen.complaints if not any(part in each for part in lost)] == []
