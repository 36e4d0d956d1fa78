"""Sessions: a dictionary per client in a signed cookie, writable before the answer and read-only after."""

from __future__ import annotations

import sys
import time
from http.cookies import SimpleCookie

import pytest

from trio_ws import App, ConnectionRejected, LocalProtocolError, Sessions, WebSocket
from trio_ws.app import Session


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


async def test_a_change_deep_inside_a_session_is_kept_and_without_one_no_cookie_is_set() -> None:
    app = App(sessions=Sessions(secret_key="secret"))

    @app.websocket("/add", auto_accept=False)
    async def add(ws: WebSocket, item: str | None = None) -> None:
        items = ws.session.setdefault("cart", [])
        if item is not None:
            items.append(item)
        await ws.accept()
        await ws.send_json(items)

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


def test_the_cookie_is_set_only_when_the_session_changed_with_the_attributes_asked_for() -> None:
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


def test_a_secret_is_needed() -> None:
    with pytest.raises(ValueError, match="secret_key"):
        Sessions(secret_key="")
    assert "secret" not in repr(Sessions(secret_key="secret")).replace("secret_key", "")


async def test_without_sessions_to_ask_for_one_says_what_to_do() -> None:
    app = App()

    @app.websocket("/a")
    async def view(ws: WebSocket) -> None:
        with pytest.raises(LocalProtocolError, match=r"Sessions\(secret_key\)"):
            _ = ws.session
        await ws.send("ok")

    async with app.test_client() as client, client.websocket_connect("/a") as ws:
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
