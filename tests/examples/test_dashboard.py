"""The dashboard example: figures of the server, pushed through a room and drawn by its page in a real browser."""

from __future__ import annotations

from typing import Any

import attrs
import pytest
import trio

from trio_ws import WebSocket

from .browser import EXAMPLES, browse, load, new_page
from .look import problems_of
from .process import forked, launching

DIRECTORY = EXAMPLES / "dashboard"


@attrs.define
class Seen:
    """What the page showed."""

    complaints: list[str] = attrs.Factory(list)
    requests: list[str] = attrs.Factory(list)
    state: str = ""
    idle: dict[str, str] = attrs.Factory(dict)
    busy: dict[str, int] = attrs.Factory(dict)
    lines: list[int] = attrs.Factory(list)
    look: list[str] = attrs.Factory(list)


POINTS = "document.querySelector('polyline')?.getAttribute('points').split(' ').length"
TRAFFIC = """() => {
  const later = setTimeout;
  window.setTimeout = (call, delay = 0) => delay < 4000 && later(call, delay);
  traffic.click();
  window.setTimeout = later;
}"""
"""Makes traffic that lasts until the page is closed: on a busy machine its five seconds pass unseen."""
BUSY = """() => {
  const figures = [...document.querySelectorAll('dd')].map((e) => [e.id, +e.textContent.replaceAll(',', '')]);
  const seen = Object.fromEntries(figures);
  return seen.websockets > 3 && seen.messages_received > 20 && seen.messages_sent > seen.messages_received && seen;
}"""
"""The figures of one moment in which all of it shows; what was received may not be sent back yet in others."""


def figures(page: Any) -> dict[str, str]:
    return page.evaluate(
        "() => Object.fromEntries([...document.querySelectorAll('dd')].map((e) => [e.id, e.textContent]))"
    )


def visit(browser: Any, url: str, seen: Seen) -> None:
    page, seen.complaints = new_page(browser)
    page.on("request", lambda request: seen.requests.append(request.url))
    page.goto(url)
    page.wait_for_function(f"() => {POINTS} > 1")
    seen.state = page.text_content("#state")
    seen.idle = figures(page)
    page.evaluate(TRAFFIC)
    seen.busy = page.wait_for_function(BUSY).json_value()
    count = "(lines) => lines.map((line) => line.getAttribute('points').split(' ').length)"
    seen.look = problems_of(page, "dashboard")
    seen.lines = page.locator("polyline").evaluate_all(count)


@pytest.fixture(scope="module")
def seen() -> Seen:
    noted, example = Seen(), load("dashboard")
    example.app.state.interval = 0.05
    browse(example.app, lambda browser, url: visit(browser, url, noted))
    return noted


def test_the_page_shows_the_figures_of_the_server(seen: Seen) -> None:
    assert seen.state == "live"
    assert seen.idle["websockets"] == "1"
    assert seen.idle["messages_received"] == "0"
    assert seen.idle["handler_errors"] == "0"


def test_traffic_that_the_page_makes_shows_in_its_figures(seen: Seen) -> None:
    assert seen.busy["websockets"] > 3
    assert seen.busy["messages_received"] > 20
    assert seen.busy["messages_sent"] > seen.busy["messages_received"]


def test_the_page_draws_a_line_for_each_figure_over_time(seen: Seen) -> None:
    websockets, received, sent = seen.lines
    assert websockets > 3
    assert received == sent == websockets - 1


def test_the_page_asks_no_other_host_and_makes_no_errors(seen: Seen) -> None:
    assert all(url.startswith(("http://127.0.0.1:", "data:")) for url in seen.requests)
    assert seen.complaints == []


def test_page_is_readable_and_has_visible_focus(seen: Seen) -> None:
    assert seen.look == []


async def times(ws: WebSocket, count: int) -> list[float]:
    return [(await ws.receive_json())["time"] for _ in range(count)]


async def test_a_second_visitor_is_handed_what_the_first_has_seen(autojump_clock) -> None:
    async with load("dashboard").app.test_client() as client, client.websocket_connect("/statistics") as one:
        assert await times(one, 4) == [0, 1, 2, 3]
        async with client.websocket_connect("/statistics") as other:
            assert await times(other, 5) == [0, 1, 2, 3, 4]
            assert await times(one, 1) == [4]


async def test_samples_are_taken_only_while_somebody_watches(autojump_clock) -> None:
    async with load("dashboard").app.test_client() as client:
        for _ in range(2):
            async with client.websocket_connect("/statistics") as ws:
                assert await times(ws, 3) == [0, 1, 2]
            await trio.sleep(10)


async def test_one_command_runs_it() -> None:
    async with forked(launching(DIRECTORY / "app.py"), DIRECTORY) as server:
        await server.address()
        assert await server.interrupt() == 0
