"""The live support example: its page in a real browser, its one command, and that text is never HTML."""

from __future__ import annotations

import runpy
from typing import Any

import attrs
import pytest

from trio_ws import App

from .browser import EXAMPLES, browse, load, new_page, state_of
from .look import problems_of

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
    look: list[str] = attrs.Factory(list)
    lost: str = ""
    after_blip: list[str] = attrs.Factory(list)
    after_reload: list[str] = attrs.Factory(list)


def visit(browser: Any, url: str, seen: Seen) -> None:
    page, seen.complaints = new_page(browser)
    page.on("request", lambda request: seen.requests.append(request.url))
    page.goto(f"{url}/car/ws-index")
    seen.welcome = page.locator("#messages .received").first.text_content()
    page.fill("#text", ATTACK)
    page.press("#text", "Enter")
    page.locator("#messages .received").nth(1).wait_for()
    seen.look = problems_of(page, "live_support")
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
    page.context.set_offline(True)
    seen.lost = state_of(page, "disconnected")
    page.fill("#text", "Are you there?")
    page.press("#text", "Enter")
    page.context.set_offline(False)
    page.locator("#messages .received").nth(1).wait_for()
    seen.after_blip = items.all_text_contents()
    page.reload()
    page.locator("#state", has_text="connected").wait_for()
    seen.after_reload = items.all_text_contents()


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


def test_page_comes_back_and_sends_what_was_written(seen: Seen) -> None:
    """After a lost network, without a second welcome."""
    assert seen.lost.startswith("disconnected (1006), trying again in ")
    reply = 'We have received your message:\n\n"Are you there?"\n\nWe shall get back to you.'
    assert seen.after_blip == [seen.greeting, "Are you there?", reply]


def test_conversation_is_there_after_a_reload(seen: Seen) -> None:
    assert seen.after_reload == seen.after_blip


def test_page_is_readable_and_has_visible_focus(seen: Seen) -> None:
    assert seen.look == []


def test_the_page_asks_no_other_host_and_makes_no_errors(seen: Seen) -> None:
    assert [url.rpartition("/")[2] for url in seen.requests[:1]] == ["ws-index"]
    assert all(url.startswith("http://127.0.0.1:") or url.startswith("data:") for url in seen.requests)
    lost = (
        "ERR_INTERNET_DISCONNECTED",
        "/car/live-support",
        "426",
    )  # attempts while the network was lost, and requests why
    assert [each for each in seen.complaints if not any(part in each for part in lost)] == []


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
