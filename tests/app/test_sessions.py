"""Sessions: a dictionary per client in a signed cookie, writable before the answer and read-only after."""

from __future__ import annotations

import copy
import json
import pickle
import sys
import time
from collections.abc import Callable
from http.cookies import SimpleCookie
from typing import Any

import pytest
from support.handlers import app_of

from trio_ws import App, ConnectionRejected, Headers, LocalProtocolError, Request, Sessions, WebSocket
from trio_ws.app import Session
from trio_ws.connection.serialization import MAX_DEPTH


def counting(sessions: Sessions | None) -> App:
    app = App(sessions=sessions)

    @app.websocket("/count", auto_accept=False)
    async def count(ws: WebSocket, reject: bool = False) -> None:
        ws.session["visits"] = ws.session.get("visits", 0) + 1
        if reject:
            await ws.reject(401)
        await ws.accept()
        await ws.send_json(dict(ws.session))

    @app.websocket("/read")
    async def read(ws: WebSocket) -> None:
        await ws.send_json(dict(ws.session))
        with pytest.raises(LocalProtocolError, match="read-only"):
            ws.session["late"] = 1
        with pytest.raises(LocalProtocolError, match="read-only"):
            del ws.session["visits"]

    return app


def cookie_of(headers) -> dict[str, str]:
    jar = SimpleCookie(dict(headers)["Set-Cookie"] if "Set-Cookie" in dict(headers) else dict(headers)["set-cookie"])
    return {name: morsel.value for name, morsel in jar.items()}


async def test_a_session_comes_back_with_the_cookie() -> None:
    app = counting(Sessions(secret_key="secret"))
    async with app.test_client() as client:
        with pytest.raises(ConnectionRejected) as caught:
            async with client.websocket_connect("/count?reject=1"):
                pass
        cookies = cookie_of(caught.value.headers)
        async with client.websocket_connect("/count", cookies=cookies) as ws:
            assert await ws.receive_json() == {"visits": 2}
        async with client.websocket_connect("/read", cookies=cookies) as ws:
            assert await ws.receive_json() == {"visits": 1}


async def test_cookie_is_set_only_after_a_nested_session_change() -> None:
    """A change deep inside a session is kept and without one no cookie is set."""

    async def add(ws: WebSocket, item: str | None = None) -> None:
        items = ws.session.setdefault("cart", [])
        if item is not None:
            items.append(item)
        await ws.accept()
        await ws.send_json(items)

    app = app_of(add, "/add", App(sessions=Sessions(secret_key="secret")), auto_accept=False)
    cookies: dict[str, str] = {}
    async with app.test_client() as client:
        for item, cart in (("a", ["a"]), ("b", ["a", "b"]), (None, ["a", "b"])):
            path = "/add" if item is None else f"/add?item={item}"
            async with client.websocket_connect(path, cookies=cookies) as ws:
                assert await ws.receive_json() == cart
            assert ("set-cookie" in ws.response_headers) is (item is not None)
            if item is not None:
                cookies = cookie_of(ws.response_headers.items())


@pytest.mark.parametrize(
    ("options", "why"),
    [({"same_site": "some"}, '"lax", "strict" or "none"'), ({"same_site": "none"}, "https_only=True")],
)
def test_a_cookie_that_no_browser_would_keep_is_refused(options: dict[str, str], why: str) -> None:
    with pytest.raises(ValueError, match=why):
        Sessions(secret_key="secret", **options)


def test_without_itsdangerous_it_is_said_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "itsdangerous", None)
    with pytest.raises(ImportError, match=r"pip install trio-ws\[sessions\]"):
        Sessions(secret_key="secret")


@pytest.mark.parametrize("cookie", ["forged", "WyJsaXN0Il0.aaaa.bbbb", ""])
async def test_a_forged_cookie_is_an_empty_session(cookie: str) -> None:
    app = counting(Sessions(secret_key="secret"))
    async with app.test_client() as client, client.websocket_connect("/count", cookies={"session": cookie}) as ws:
        assert await ws.receive_json() == {"visits": 1}


async def test_another_secret_or_too_old_a_cookie_is_an_empty_session(monkeypatch: pytest.MonkeyPatch) -> None:
    session = Session({})
    session["visits"] = 7
    made = cookie_of(Sessions(secret_key="other").header(session))
    old = Session({})
    old["visits"] = 7
    expired = Sessions(secret_key="secret", max_age=60)
    cookie = cookie_of(expired.header(old))
    monkeypatch.setattr(time, "time", lambda now=time.time() + 62: now)
    for sessions, cookies in ((Sessions(secret_key="secret"), made), (expired, cookie)):
        async with (
            counting(sessions).test_client() as client,
            client.websocket_connect("/count", cookies=cookies) as ws,
        ):
            assert await ws.receive_json() == {"visits": 1}


def test_cookie_of_changed_session_has_configured_attributes() -> None:
    """The cookie is set only when the session changed with the attributes asked for."""
    sessions = Sessions(secret_key=b"secret", cookie="s", https_only=True, same_site="strict", path="/x", max_age=60)
    assert sessions.header(Session({"a": 1})) == []
    session = Session({"a": 1})
    del session["a"]
    assert (len(session), list(session), repr(session)) == (0, [], "<Session with []>")
    ((name, value),) = sessions.header(session)
    assert name == "Set-Cookie"
    assert value.startswith("s=")
    for part in ("Path=/x", "Max-Age=60", "HttpOnly", "SameSite=Strict", "Secure"):
        assert part in value


def test_a_session_that_does_not_fit_into_a_cookie_is_an_error() -> None:
    session = Session({})
    session["a"] = "x" * 5000 + "".join(map(chr, range(100, 4000)))
    with pytest.raises(ValueError, match="at most 4096"):
        Sessions(secret_key="secret").header(session)


def test_a_cookie_has_at_most_4096_bytes_with_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "time", lambda: 1_700_000_000.0)
    size = len(cookie_of(cookie_for(SESSIONS, a=1))["session"])
    name = "n" * (4096 - size)
    assert cookie_for(Sessions(secret_key=OLD, cookie=name), a=1)
    with pytest.raises(ValueError, match="at most 4096"):
        cookie_for(Sessions(secret_key=OLD, cookie=name + "n"), a=1)


def test_session_is_written_only_if_it_can_be_read() -> None:
    """It would be an empty one for the next request."""

    def nested(levels: int) -> Any:
        return [nested(levels - 1)] if levels else 1

    with pytest.raises(ValueError, match="nested deeper"):
        cookie_for(SESSIONS, a=nested(MAX_DEPTH + 1))
    assert SESSIONS.load(request_with(cookie_for(SESSIONS, a=nested(MAX_DEPTH))))["a"] == nested(MAX_DEPTH)


def test_a_secret_is_needed() -> None:
    with pytest.raises(ValueError, match="secret_key"):
        Sessions(secret_key="")
    assert "secret" not in repr(Sessions(secret_key="secret")).replace("secret_key", "")


async def test_without_sessions_to_ask_for_one_says_what_to_do() -> None:
    async def view(ws: WebSocket) -> None:
        with pytest.raises(LocalProtocolError, match=r"Sessions\(secret_key\)"):
            _ = ws.session
        await ws.send("ok")

    async with app_of(view, "/a").test_client() as client, client.websocket_connect("/a") as ws:
        assert await ws.receive() == "ok"


async def test_the_cookie_of_a_changed_session_comes_with_the_yes() -> None:
    app = counting(Sessions(secret_key="secret"))
    async with app.test_client() as client:
        async with client.websocket_connect("/count") as ws:
            assert ws.response_headers is not None
            cookies = cookie_of(ws.response_headers)
        async with client.websocket_connect("/read", cookies=cookies) as ws:
            assert await ws.receive_json() == {"visits": 1}
            assert "set-cookie" not in (ws.response_headers or {})


# --- changes after the answer ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "change",
    [
        lambda session: session["cart"].append(1),
        lambda session: session["cart"].__setitem__(0, 1),
        lambda session: session["cart"][0].clear(),
        lambda session: session["cart"][0].update(a=1),
        lambda session: session["user"].__setitem__("name", "Eve"),
        lambda session: session["user"].setdefault("roles", []).append("admin"),
        lambda session: session["user"]["roles"].sort(),
        lambda session: session.pop("cart"),
        lambda session: session.update(cart=[]),
    ],
)
def test_a_change_after_the_answer_is_an_error_however_deep(change: Callable[[Session], Any]) -> None:
    session = Session({"cart": [{"a": 0}], "user": {"name": "Ann", "roles": []}})
    SESSIONS.header(session)
    with pytest.raises(LocalProtocolError, match="read-only"):
        change(session)
    assert dict(session) == {"cart": [{"a": 0}], "user": {"name": "Ann", "roles": []}}


def test_what_is_copied_from_a_session_can_be_changed_and_sent() -> None:
    session = Session({"cart": [{"a": [0]}]})
    SESSIONS.header(session)
    for copied in (copy.deepcopy(session["cart"]), pickle.loads(pickle.dumps(session["cart"])), session["cart"].copy()):
        copied.append(1)
    assert copy.copy(session["cart"][0]) == {"a": [0]}
    copied = copy.deepcopy(session["cart"][0])
    copied["a"].append(1)
    assert pickle.loads(pickle.dumps(session["cart"][0])) == {"a": [0]}
    assert json.dumps(session["cart"]) == '[{"a": [0]}]'


async def test_late_change_of_value_taken_before_answer_is_an_error() -> None:
    """A change of what was taken out before the answer is an error."""

    async def view(ws: WebSocket) -> None:
        cart = ws.session.setdefault("cart", [])
        await ws.accept()
        cart.append("lost")

    app = app_of(view, "/a", App(sessions=SESSIONS), auto_accept=False)
    with pytest.raises(LocalProtocolError, match="a change at 'cart' is lost"):
        async with app.test_client() as client, client.websocket_connect("/a") as ws:
            assert (await ws.recv()).code == 1011  # type: ignore[union-attr]


async def test_a_lost_change_beside_an_error_of_the_handler_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    async def view(ws: WebSocket) -> None:
        cart = ws.session.setdefault("cart", [])
        await ws.accept()
        cart.append("lost")
        raise ZeroDivisionError

    app = app_of(view, "/a", App(sessions=SESSIONS), auto_accept=False)
    async with app.test_client(raise_server_errors=False) as client, client.websocket_connect("/a") as ws:
        assert await ws.recv()
    assert "session changed after the answer" in caplog.text


# --- keys, domains, ages -----------------------------------------------------------------------------------------

OLD, NEW = "o" * 32, "n" * 32
SESSIONS = Sessions(secret_key=OLD)


def request_with(headers: list[tuple[str, str]]) -> Request:
    cookie = headers[0][1].partition(";")[0]
    return Request(target="/", headers=Headers([("host", "localhost"), ("cookie", cookie)]))


def cookie_for(sessions: Sessions, **data: Any) -> list[tuple[str, str]]:
    session = Session({})
    session.update(data)
    return sessions.header(session)


def test_newest_key_signs_and_older_keys_verify_cookies() -> None:
    """The newest key signs and cookies of older ones are taken."""
    rotated = Sessions(secret_key=[NEW, OLD])
    session = rotated.load(request_with(cookie_for(SESSIONS, visits=1)))
    assert dict(session) == {"visits": 1}
    renewed = rotated.header(session)  # though nothing has changed: the old key will go
    assert dict(Sessions(secret_key=NEW).load(request_with(renewed))) == {"visits": 1}
    assert dict(SESSIONS.load(request_with(renewed))) == {}
    assert rotated.header(rotated.load(request_with(renewed))) == []


def test_a_domain_is_in_the_cookie() -> None:
    ((_, value),) = cookie_for(Sessions(secret_key=OLD, domain="example.org"), a=1)
    assert "; Domain=example.org" in value
    assert "Domain" not in cookie_for(SESSIONS, a=1)[0][1]


@pytest.mark.parametrize(("sliding", "kept"), [(True, True), (False, False)])
def test_a_sliding_session_lives_from_its_last_use(sliding: bool, kept: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    now = [1_700_000_000.0]
    monkeypatch.setattr(time, "time", lambda: now[0])
    sessions = Sessions(secret_key=OLD, max_age=100, sliding=sliding)
    cookie = cookie_for(sessions, visits=1)
    for _ in range(4):
        now[0] += 60
        cookie = sessions.header(sessions.load(request_with(cookie))) or cookie
    assert dict(sessions.load(request_with(cookie))) == ({"visits": 1} if kept else {})


def test_a_cookie_of_a_sliding_session_is_set_anew_at_a_tenth(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [1_700_000_000.0]
    monkeypatch.setattr(time, "time", lambda: now[0])
    sessions = Sessions(secret_key=OLD, max_age=1000, sliding=True)
    cookie = request_with(cookie_for(sessions, a=1))
    for age, is_set in ((0, False), (99, False), (100, True)):
        now[0] = 1_700_000_000.0 + age
        assert bool(sessions.header(sessions.load(cookie))) == is_set


@pytest.mark.parametrize(("key", "warns"), [("ü" * 2, True), (b"x" * 15, True), (b"x" * 16, False), (OLD, False)])
def test_a_short_key_is_a_warning(key: str | bytes, warns: bool, caplog: pytest.LogCaptureFixture) -> None:
    Sessions(secret_key=key)
    assert (f"the secret_key of sessions has {len(key) * (1 + isinstance(key, str))} bytes" in caplog.text) == warns
    with pytest.raises(ValueError, match="3 bytes is no secret"):
        Sessions(secret_key=[key, "x" * 3])


@pytest.mark.parametrize(("age", "kept"), [(100, True), (101, False), (-60, True), (-61, False)])
def test_a_cookie_is_taken_until_it_is_too_old_or_ahead(age: int, kept: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """A process whose clock is up to a minute ahead may have signed it."""
    now = [1_700_000_000.0]
    monkeypatch.setattr(time, "time", lambda: now[0])
    sessions = Sessions(secret_key=OLD, max_age=100)
    cookie = cookie_for(sessions, visits=1)
    now[0] += age
    assert dict(sessions.load(request_with(cookie))) == ({"visits": 1} if kept else {})


@pytest.mark.parametrize(
    ("before", "after"), [(1, True), (0, False), (1, 1.0), ([1], [True]), ({"a": 0}, {"a": False})]
)
def test_a_change_to_a_value_that_is_equal_in_python_is_kept(before: Any, after: Any) -> None:
    session = Session({"a": before})
    session["a"] = after
    assert SESSIONS.header(session)


def test_a_copy_of_a_session_can_be_changed_and_changes_nothing() -> None:
    session = Session({"cart": [1]})
    for copied in (copy.copy(session), copy.deepcopy(session), pickle.loads(pickle.dumps(session))):
        assert copied == {"cart": [1]}
        copied["late"] = 1
    copy.deepcopy(session)["cart"].append(2)
    assert dict(session) == {"cart": [1]}


def test_the_message_about_a_wrong_secret_does_not_hold_it() -> None:
    with pytest.raises(TypeError, match="not an object of dict") as caught:
        Sessions(secret_key={"key": NEW})  # type: ignore[arg-type]
    assert NEW not in str(caught.value)
