"""The example of signing in: its page in a real browser, and who gets past the guard with which cookie."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterator
from typing import Any

import attrs
import pytest
from support.endings import code_of, status_of

from trio_ws import WebSocketDisconnect

from .browser import EXAMPLES, browse, load, new_page
from .look import problems_of
from .process import forked, launching

DIRECTORY = EXAMPLES / "authentication"
ATTACK = "<img src=x onerror=\"window.broken = true\"> & '\u20ac'"
REFUSED = "the server responded with a status of 401"


def authorization(user: str, password: str = "correct horse") -> dict[str, str]:
    return {"Authorization": "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()}


async def signed_in(client: Any, user: str) -> dict[str, str]:
    """Sign in, and return the cookie."""
    answer = await client.get("/sign-in", headers=authorization(user))
    assert answer.status == 204
    name, _, value = answer.headers["set-cookie"].partition(";")[0].partition("=")
    return {name: value}


@pytest.fixture(scope="module", autouse=True)
def hasty() -> Iterator[None]:
    """Passwords are hashed quickly: what is slow on purpose would be most of these tests' time."""
    with pytest.MonkeyPatch.context() as patch:
        scrypt = hashlib.scrypt
        patch.setattr(hashlib, "scrypt", lambda password, *, n, **options: scrypt(password, n=2, **options))
        yield


# --- the page ---------------------------------------------------------------------------------------------------------


@attrs.define
class Seen:
    """What the pages of two windows of one browser showed."""

    complaints: list[str] = attrs.Factory(list)
    form_at_first: bool = False
    wrong: str = ""
    user: str = ""
    other_user: str = ""
    notes: list[str] = attrs.Factory(list)
    elements: int = -1
    broken: bool = True
    cookies: list[dict[str, Any]] = attrs.Factory(list)
    script_cookies: str = "?"
    told: list[str] = attrs.Factory(list)
    form_at_last: list[bool] = attrs.Factory(list)
    user_after_reload: bool = True
    look: list[str] = attrs.Factory(list)
    in_the_blip: list[Any] = attrs.Factory(list)
    after_the_blip: list[str] = attrs.Factory(list)


def visit(browser: Any, url: str, seen: Seen) -> None:
    windows = browser.new_context()
    page, seen.complaints = new_page(windows)
    page.goto(url)
    page.locator("#sign-in").wait_for()
    seen.form_at_first = not page.locator("#write").is_visible()
    sign_in(page, "wrong")
    page.locator("#message", has_text="wrong").wait_for()
    seen.look += problems_of(page, "authentication")
    seen.wrong = page.text_content("#message")
    sign_in(page, "correct horse")
    page.locator("#write").wait_for()
    seen.user = page.text_content("#user")
    other = windows.new_page()
    other.goto(url)
    other.locator("#write").wait_for()
    seen.other_user = other.text_content("#user")
    for note in ("first", ATTACK):
        page.fill("#note", note)
        page.press("#note", "Enter")
    other.locator("#notes li").nth(1).wait_for()
    seen.notes = other.locator("#notes li").all_text_contents()
    seen.elements = other.locator("#notes li *").count()
    seen.broken = other.evaluate("() => Boolean(window.broken)")
    seen.cookies = windows.cookies()
    seen.look += problems_of(page, "authentication")
    windows.set_offline(True)
    page.locator("#message", has_text="disconnected").wait_for()
    seen.in_the_blip = [page.text_content("#user"), page.locator("#write").is_visible()]
    page.fill("#note", "kept for later")
    page.press("#note", "Enter")
    windows.set_offline(False)
    for each in (page, other):
        each.locator("#notes li", has_text="kept for later").wait_for()
        each.locator("#message", has_text="connected").wait_for()
    seen.after_the_blip = page.locator("#notes li").all_text_contents()
    seen.script_cookies = page.evaluate("() => document.cookie")
    page.click("#sign-out")
    for each in (page, other):
        each.locator("#sign-in").wait_for()
        seen.told.append(each.text_content("#message"))
        seen.form_at_last.append(not each.locator("#write").is_visible())
    other.reload()
    other.locator("#sign-in").wait_for()
    seen.user_after_reload = other.locator("#write").is_visible()


def sign_in(page: Any, password: str) -> None:
    page.fill("#name", "ada")
    page.fill("#password", password)
    page.click("#sign-in button")


@pytest.fixture(scope="module")
def seen() -> Seen:
    noted = Seen()
    browse(load("authentication").app, lambda browser, url: visit(browser, url, noted))
    return noted


def test_who_has_not_signed_in_sees_the_form_only(seen: Seen) -> None:
    assert seen.form_at_first


def test_a_wrong_password_is_said_to_be_wrong(seen: Seen) -> None:
    assert seen.wrong == "wrong name or password\n"


def test_all_windows_of_a_browser_are_signed_in_at_once(seen: Seen) -> None:
    assert (seen.user, seen.other_user) == ("ada", "ada")


def test_a_note_shows_in_the_other_window_as_text(seen: Seen) -> None:
    assert seen.notes == ["first", ATTACK]
    assert seen.elements == 0
    assert not seen.broken


def test_cookie_is_hidden_from_scripts_and_other_sites(seen: Seen) -> None:
    """Scripts do not see the cookie and other sites do not send it."""
    (cookie,) = seen.cookies
    assert (cookie["httpOnly"], cookie["sameSite"]) == (True, "Strict")
    assert seen.script_cookies == ""


def test_sign_out_ends_connections_of_all_windows_and_session(seen: Seen) -> None:
    """Signing out ends the connections of all windows and the session."""
    assert seen.told == ["signed out", "signed out"]
    assert seen.form_at_last == [True, True]
    assert not seen.user_after_reload


def test_page_has_no_errors_except_for_the_wrong_password(seen: Seen) -> None:
    """The page makes no errors but for the password that was wrong."""
    lost = ("ERR_INTERNET_DISCONNECTED", "/who", "/notes")  # attempts while the network was lost
    assert [REFUSED in each for each in seen.complaints if not any(part in each for part in lost)] == [True]


def test_a_blip_keeps_the_user_and_what_was_written(seen: Seen) -> None:
    assert seen.in_the_blip == ["ada", True]
    assert seen.after_the_blip == ["first", ATTACK, "kept for later"]


def test_page_is_readable_and_has_visible_focus(seen: Seen) -> None:
    """The form, and the notes."""
    assert seen.look == []


# --- the server -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/notes", "/sign-out"])
@pytest.mark.parametrize("cookies", [None, {"session": "eyJ1c2VyIjoiYWRhIn0.forged.forged"}])
async def test_without_a_session_of_ours_nobody_gets_past_the_guard(path: str, cookies: dict[str, str] | None) -> None:
    async with load("authentication").app.test_client() as client:
        assert await status_of(client, path, cookies=cookies) == 403


@pytest.mark.parametrize(
    "headers",
    [
        {},
        authorization("ada", "wrong"),
        authorization("nobody"),
        authorization("", ""),
        {"Authorization": "Bearer correct horse"},
        {"Authorization": "Basic not base64"},
        {"Authorization": "Basic " + base64.b64encode(b"\xff\xfe").decode()},
    ],
)
async def test_wrong_credentials_are_answered_with_401_and_no_cookie(headers: dict[str, str]) -> None:
    async with load("authentication").app.test_client() as client:
        answer = await client.get("/sign-in", headers=headers)
        assert answer.status == 401
        assert "set-cookie" not in answer.headers


async def test_users_see_their_own_notes_only_also_those_of_before() -> None:
    async with load("authentication").app.test_client() as client:
        ada, grace = await signed_in(client, "ada"), await signed_in(client, "grace")
        async with (
            client.websocket_connect("/notes", cookies=ada, send_type="json", receive_type="json") as first,
            client.websocket_connect("/notes", cookies=grace, send_type="json", receive_type="json") as other,
        ):
            assert [await first.receive(), await other.receive()] == [{"user": "ada"}, {"user": "grace"}]
            await first.send("mine")
            assert await first.receive() == {"note": "mine"}
            await other.send("hers")
            assert await other.receive() == {"note": "hers"}
            async with client.websocket_connect("/notes", cookies=ada, receive_type="json") as second:
                assert [await second.receive() for _ in range(2)] == [{"user": "ada"}, {"note": "mine"}]


async def test_sign_out_ends_only_the_connections_of_this_user() -> None:
    """Signing out ends the user's connections and nobody else's."""
    async with load("authentication").app.test_client() as client:
        ada, grace = await signed_in(client, "ada"), await signed_in(client, "grace")
        async with (
            client.websocket_connect("/notes", cookies=ada) as first,
            client.websocket_connect("/notes", cookies=grace) as other,
        ):
            await first.receive()
            await other.receive()
            async with client.websocket_connect("/sign-out", cookies=ada) as ws:
                assert await code_of(ws) == 1000
            with pytest.raises(WebSocketDisconnect, match="4001: signed out"):
                await first.receive()
            assert other.connected


async def test_one_command_runs_it() -> None:
    async with forked(launching(DIRECTORY / "app.py"), DIRECTORY) as server:
        await server.address()
        assert await server.interrupt() == 0
