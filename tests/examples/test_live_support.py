"""The live support example: its page in a real browser, its one command, and that text is never HTML."""

from __future__ import annotations

import runpy
from typing import Any

import attrs
import pytest

from trio_ws import App

from .browser import EXAMPLES, browse, load, new_page

ATTACK = "<img src=x onerror=\"window.broken = true\"><b>bold</b> & '\u20ac'\nsecond line"


@attrs.define
class Seen:
    """What the page showed."""

    requests: list[str] = attrs.Factory(list)
    complaints: list[str] = attrs.Factory(list)
    welcome: str = ""
    greeting: str = ""
    messages: list[tuple[str, str]] = attrs.Factory(list)
    elements: int = -1
    broken: bool = True
    left_in_field: str = "something"
    after_empty: int = -1
    end: str = ""


def visit(browser: Any, url: str, seen: Seen) -> None:
    page, seen.complaints = new_page(browser)
    page.on("request", lambda request: seen.requests.append(request.url))
    page.goto(f"{url}/car/ws-index")
    seen.welcome = page.locator("#messages .received").first.text_content()
    page.fill("#text", ATTACK)
    page.click("#submit")
    page.locator("#messages .received").nth(1).wait_for()
    items = page.locator("#messages li")
    seen.messages = [(item.get_attribute("class"), item.text_content()) for item in items.all()]
    seen.elements = page.locator("#messages li *").count()
    seen.broken = page.evaluate("() => Boolean(window.broken)")
    seen.left_in_field = page.input_value("#text")
    page.fill("#text", "   ")
    page.click("#submit")
    seen.after_empty = items.count()
    page.goto(f"{url}/car/ws-index?name=Ada%20%3Ci%3E")
    seen.greeting = page.locator("#messages .received").first.text_content()
    page.evaluate("() => ws.close(4000)")
    page.locator("#state", has_text="disconnected").wait_for()
    seen.end = page.text_content("#state")


@pytest.fixture(scope="module")
def seen() -> Seen:
    noted = Seen()
    browse(load("live_support").app, lambda browser, url: visit(browser, url, noted))
    return noted


def test_the_page_shows_the_welcome(seen: Seen) -> None:
    assert seen.welcome == "Welcome John to our live support room!\nHow can we help you?"


def test_the_page_shows_what_was_sent_and_what_came_back_as_text(seen: Seen) -> None:
    answer = f'We have received your message:\n\n"{ATTACK}"\n\nWe shall get back to you.'
    assert seen.messages == [("received", seen.welcome), ("sent", ATTACK), ("received", answer)]


def test_nothing_of_a_message_becomes_html(seen: Seen) -> None:
    assert seen.elements == 0
    assert not seen.broken


def test_a_name_in_the_page_s_query_is_in_the_welcome(seen: Seen) -> None:
    assert seen.greeting == "Welcome Ada <i> to our live support room!\nHow can we help you?"


def test_field_is_cleared_by_sending_and_empty_text_is_not_sent(seen: Seen) -> None:
    """The field is empty after sending and an empty message is not sent."""
    assert seen.left_in_field == ""
    assert seen.after_empty == len(seen.messages)


def test_the_page_says_that_it_was_disconnected(seen: Seen) -> None:
    assert seen.end == "disconnected (4000)"


def test_the_page_asks_no_other_host_and_makes_no_errors(seen: Seen) -> None:
    assert [url.rpartition("/")[2] for url in seen.requests[:1]] == ["ws-index"]
    assert all(url.startswith("http://127.0.0.1:") or url.startswith("data:") for url in seen.requests)
    assert seen.complaints == []


def test_one_command_runs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    ran: list[App] = []
    monkeypatch.setattr(App, "run", lambda app, **options: ran.append(app))
    runpy.run_path(str(EXAMPLES / "live_support" / "app.py"), run_name="__main__")
    assert [route.path for route in ran[0].routes()] == ["/car/live-support"]


def test_the_room_in_a_plain_test() -> None:
    with load("live_support").app.test_client() as client, client.websocket_connect("/car/live-support?name=A") as ws:
        assert ws.receive_text().startswith("Welcome A to")
        ws.send_text("<b>")
        assert ws.receive_text() == 'We have received your message:\n\n"<b>"\n\nWe shall get back to you.'
