"""Messages by which clients renew their credentials: on every route, and never the handler's."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Literal

import pytest
import trio
from pydantic import BaseModel
from support.endings import code_of
from support.handlers import echo

from tests.documented.ways import Way
from trio_ws import (
    App,
    BlockingWebSocket,
    Budget,
    Credentials,
    Depends,
    Instrument,
    Unauthorized,
    WebSocket,
    WebSocketException,
)
from trio_ws.app import RegistrationError
from trio_ws.connection.intercepted import InterceptedReader

LONG = 1e6
"""Seconds, most of them virtual, that a client waits."""


def in_seconds(seconds: float) -> float:
    return time.time() + seconds


class Auth(BaseModel):
    type: Literal["auth"]
    token: str


def renewable(**options: Any) -> App:
    """Return an application with each kind of route, whose tokens are names of users."""
    app = App(**options)

    async def signed_in() -> Credentials:
        return Credentials("ada", expires_at=in_seconds(60))

    @app.renewal("auth")
    async def renew(data: Auth) -> Credentials:
        if data.token == "bad":
            raise Unauthorized({"token": "unknown"})
        return Credentials(data.token, expires_at=in_seconds(60))

    app.websocket("/view", guards=[signed_in])(echo)

    @app.websocket("/plain", guards=[signed_in])
    def plain(ws: BlockingWebSocket) -> None:
        for message in ws:
            ws.send(message)

    @app.listener("/listener", guards=[signed_in], encoding="text")
    async def listen(data: str) -> str:
        return data

    @app.listener("/inline", guards=[signed_in], encoding="text", inline=True)
    def inline(data: str) -> str:
        return data

    @app.websocket("/callback", guards=[signed_in])
    async def callback(ws: WebSocket) -> None:
        await ws.call_for_each_message(ws.offer)

    return app


@pytest.mark.parametrize("kind", ["view", "listener", "inline", "callback"])
async def test_message_of_the_type_renews(autojump_clock: Any, kind: str) -> None:
    async with renewable().test_client(timeout=LONG) as client, client.websocket_connect(f"/{kind}") as ws:
        began = trio.current_time()
        for _ in range(3):
            await client.clock.sleep(40)
            await ws.send_json({"type": "auth", "token": "ada"})
            reply = await ws.receive_json()
            assert (reply["type"], reply["statusCode"]) == ("auth", 200)
            assert 59 < reply["body"]["expiresAt"] - time.time() < 61
            await ws.send('{"type": "other"}')
            assert await ws.receive() == '{"type": "other"}'
        assert await code_of(ws) == 4401
        assert 179 < trio.current_time() - began < 182


@pytest.mark.parametrize("name", ["poller", "stream", "memory", "http1"])
async def test_renewal_works_on_every_transport(name: Any) -> None:
    async with Way(name).visit(renewable()) as visitor:
        for path in ("/view", "/plain"):
            async with visitor.connect(path) as ws:
                await ws.send(b'{"type": "auth", "token": "ada"}')
                assert (await ws.receive_json())["statusCode"] == 200
                await ws.send("further")
                assert await ws.receive() == "further"


async def test_refused_renewal_is_answered_and_changes_nothing(autojump_clock: Any) -> None:
    async with renewable().test_client(timeout=LONG) as client, client.websocket_connect("/view") as ws:
        began = trio.current_time()
        await client.clock.sleep(30)
        for token, status in ((["x"], 400), ("bad", 401), ("eve", 403)):
            await ws.send_json({"type": "auth", "token": token})
            reply = await ws.receive_json()
            assert (reply["type"], reply["statusCode"]) == ("auth", status)
        assert await code_of(ws) == 4401
        assert 59 < trio.current_time() - began < 61


@pytest.mark.parametrize(
    "message",
    [
        "auth",
        '"auth"',
        '["auth"]',
        '{"type": "auth"',
        '{"token": "auth"}',
        '{"type": ["auth"]}',
        '{"type": "authentic"}',
        b'\xff"auth"',
        '{"type": "auth"}' + (16_385 - 16) * " ",
    ],
    ids=range(9),
)
async def test_other_messages_are_the_handlers(message: str | bytes) -> None:
    async with renewable().test_client() as client, client.websocket_connect("/view") as ws:
        await ws.send(message)
        assert await ws.receive() == message


@pytest.mark.parametrize("kind", [str, str.encode])
async def test_a_renewal_has_at_most_16_kib(kind: Callable[[str], str | bytes]) -> None:
    message = '{"type": "auth", "token": "ada"}'
    async with renewable().test_client() as client, client.websocket_connect("/view") as ws:
        await ws.send(kind(message + (16_384 - len(message)) * " "))
        assert (await ws.receive_json())["statusCode"] == 200


async def test_replies_have_the_references_of_the_listener() -> None:
    app = renewable()

    @app.listener("/asked", reference="ref")
    async def asked(data: Any) -> int:
        return 1

    async with app.test_client() as client, client.websocket_connect("/asked") as ws:
        for reference in (5, None, [1]):
            await ws.send_json({"type": "auth", "token": "bad", "ref": reference})
            reply = await ws.receive_json()
            assert reply["statusCode"] == 401
            assert reply.get("ref") == (5 if reference == 5 else None)


@pytest.mark.parametrize("of", ["seconds", "datetime"])
async def test_function_may_return_a_time_from_a_thread(of: str) -> None:
    app, notes = App(), list[Any]()

    async def database() -> AsyncIterator[str]:
        notes.append("open")
        yield "db"
        notes.append("left")

    @app.renewal("auth", member="event")
    def renew(ws: BlockingWebSocket, data: dict[str, Any], db: Annotated[str, Depends(database)]) -> Any:
        notes.append((db, data["event"], ws.credentials.user if ws.credentials else None))
        return in_seconds(30) if of == "seconds" else datetime.now(UTC) + timedelta(seconds=30)

    @app.websocket("/a")
    async def view(ws: WebSocket) -> None:
        await ws.renew(Credentials("ada", expires_at=in_seconds(10)))
        await ws.receive()
        assert ws.credentials is not None
        notes.append((ws.credentials.user, round((ws.credentials.expires_at or 0) - time.time())))

    async with app.test_client() as client, client.websocket_connect("/a") as ws:
        await ws.send_json({"event": "auth"})
        assert (await ws.receive_json())["statusCode"] == 200
        await ws.send("done")
        assert await code_of(ws) == 1000
    assert notes == ["open", ("db", "auth", "ada"), "left", ("ada", 30)]


def with_plain_renewal(**options: Any) -> App:
    """Return an application whose renewals are checked in a thread, which takes a moment."""
    app = App(**options)

    @app.renewal("auth")
    def renew(data: Auth) -> float:
        time.sleep(0.02)
        return in_seconds(60)

    @app.websocket("/a")
    async def view(ws: WebSocket) -> None:
        ws.expires_at(in_seconds(60))
        await ws.receive()

    return app


async def test_plain_function_needs_no_thread_of_the_handlers() -> None:
    """Handlers in threads may take all that are there for them. In real time, as such a handler does not hold it up."""
    app = with_plain_renewal(max_threads=1)

    @app.websocket("/busy")
    def busy(ws: BlockingWebSocket) -> None:
        ws.receive()

    async with app.test_client() as client:
        async with client.websocket_connect("/busy"), client.websocket_connect("/a") as ws:
            await trio.testing.wait_all_tasks_blocked()
            await ws.send_json({"type": "auth", "token": "x"})
            assert (await ws.receive_json())["statusCode"] == 200


async def test_virtual_time_stands_still_during_a_plain_function(autojump_clock: Any) -> None:
    async with with_plain_renewal().test_client() as client, client.websocket_connect("/a") as ws:
        await trio.testing.wait_all_tasks_blocked()
        began = trio.current_time()
        await ws.send_json({"type": "auth", "token": "x"})
        assert (await ws.receive_json())["statusCode"] == 200
        assert trio.current_time() - began < 0.01


async def test_first_message_signs_in() -> None:
    """A connection without credentials has them from the first renewal on, and is revoked as any other."""
    app, seen = App(), []

    @app.renewal("auth")
    async def renew(data: Auth) -> Credentials:
        return Credentials(data.token)

    @app.websocket("/a")
    async def view(ws: WebSocket) -> None:
        async for _ in ws:
            seen.append(ws.credentials and ws.credentials.user)

    async with app.test_client() as client, client.websocket_connect("/a") as ws:
        await ws.send("who?")
        await app.revoke("ada")  # it came before the token was looked at
        await ws.send_json({"type": "auth", "token": "ada"})
        assert await ws.receive_json() == {"type": "auth", "statusCode": 200, "body": {"expiresAt": None}}
        await ws.send("who?")
        await trio.testing.wait_all_tasks_blocked()
        await app.revoke("ada")
        assert await code_of(ws) == 4401
    assert seen == [None, "ada"]


async def test_revocation_overtakes_the_check() -> None:
    app = App()

    @app.renewal("auth")
    async def renew(data: Auth) -> Credentials:
        await app.revoke("ada")
        return Credentials("ada")

    @app.websocket("/a")
    async def view(ws: WebSocket) -> None:
        await ws.receive()

    async with app.test_client() as client, client.websocket_connect("/a") as ws:
        await ws.send_json({"type": "auth", "token": "ada"})
        assert await code_of(ws) == 4401


@pytest.mark.parametrize(
    ("result", "code"),
    [(None, 1011), ("soon", 1011), (float("nan"), 1011), (LookupError(), 1011), (WebSocketException(4001), 4001)],
    ids=["none", "text", "nan", "error", "code"],
)
async def test_error_of_the_function_ends_its_connection(result: Any, code: int) -> None:
    app = App()

    @app.renewal("auth")
    async def renew(data: Auth) -> Any:
        if isinstance(result, Exception):
            raise result
        return result

    @app.websocket("/a")
    async def view(ws: WebSocket) -> None:
        await ws.receive()

    async with app.test_client(raise_server_errors=False) as client:
        async with client.websocket_connect("/a") as other:
            async with client.websocket_connect("/a") as ws:
                await ws.send_json({"type": "auth", "token": "x"})
                assert await code_of(ws) == code
            assert other.connected


async def test_expired_token_ends_the_connection(autojump_clock: Any) -> None:
    app = App()

    @app.renewal("auth")
    async def renew(data: Auth) -> float:
        return in_seconds(-1)

    @app.websocket("/a")
    async def view(ws: WebSocket) -> None:
        await ws.receive()

    async with app.test_client() as client, client.websocket_connect("/a") as ws:
        await ws.send_json({"type": "auth", "token": "x"})
        assert await code_of(ws) == 4401


async def test_renewals_are_checked_one_after_the_other(autojump_clock: Any) -> None:
    """Other messages behind one are not held back by it; further renewals wait, so that a flood costs no tasks."""
    app, notes = App(), []

    @app.renewal("auth")
    async def renew(data: Auth) -> float:
        notes.append(f"begin {data.token}")
        await trio.sleep(1)
        notes.append(f"end {data.token}")
        return in_seconds(60)

    @app.websocket("/a")
    async def view(ws: WebSocket) -> None:
        async for message in ws:
            notes.append(message)

    async with app.test_client(timeout=LONG) as client, client.websocket_connect("/a") as ws:
        await ws.send_json({"type": "auth", "token": "1"})
        await ws.send("first")
        await ws.send_json({"type": "auth", "token": "2"})
        await ws.send("second")
        for _ in range(2):
            await ws.receive_json()
    assert [note for note in notes if " " in note] == ["begin 1", "end 1", "begin 2", "end 2"]
    assert notes.index("first") < notes.index("end 1") < notes.index("second") < notes.index("end 2")


async def test_cancelled_receive_loses_no_renewal(autojump_clock: Any) -> None:
    app, notes = App(), []

    @app.renewal("auth")
    async def renew(data: Auth) -> float:
        await trio.sleep(1)
        notes.append(data.token)
        return in_seconds(60)

    @app.websocket("/a")
    async def view(ws: WebSocket) -> None:
        while not notes or notes[-1] != "end":
            with trio.move_on_after(0.15):
                notes.append(await ws.receive())

    async with app.test_client(timeout=LONG) as client, client.websocket_connect("/a") as ws:
        for message in ({"type": "auth", "token": "1"}, {"type": "auth", "token": "2"}):
            await ws.send_json(message)
        await ws.send("end")
        await ws.receive_json()
    assert notes[0] == "1"
    assert notes[-1] == "end"


async def test_two_tasks_cannot_receive_at_once() -> None:
    app, errors = App(), []

    @app.renewal("auth")
    async def renew(ws: WebSocket) -> float:
        try:
            await ws.receive()
        except trio.BusyResourceError as error:
            errors.append(error)
        return in_seconds(60)

    @app.websocket("/a")
    async def view(ws: WebSocket) -> None:
        await ws.receive()

    async with app.test_client() as client, client.websocket_connect("/a") as ws:
        await ws.send_json({"type": "auth"})
        await ws.receive_json()
    assert len(errors) == 1


async def test_parts_of_messages_are_the_handlers() -> None:
    app, parts = App(), list[Any]()

    @app.renewal("auth")
    async def renew(data: Auth) -> float:
        pytest.fail("called")

    @app.websocket("/a")
    async def view(ws: WebSocket) -> None:
        async for part in ws.receive_stream():
            parts.append(part)

    async with app.test_client() as client, client.websocket_connect("/a") as ws:
        await ws.send('{"type": "auth", "token": "x"}')
        assert await code_of(ws) == 1000
    assert "".join(parts) == '{"type": "auth", "token": "x"}'


async def test_renewals_are_paid_from_budgets_and_not_observed() -> None:
    class Seen(Instrument):
        def message_received(self, ws: WebSocket, message: Any) -> None:
            seen.append(message)

    seen: list[Any] = []
    held: list[WebSocket] = []
    app = App(budget=Budget(messages=2, per=1e6, over="reply"), instruments=[Seen()])

    @app.renewal("auth")
    async def renew(data: Auth) -> float:
        return in_seconds(60)

    @app.websocket("/a")
    async def view(ws: WebSocket) -> None:
        held.append(ws)
        async for _ in ws:
            pass

    async with app.test_client() as client, client.websocket_connect("/a") as ws:
        for status in (200, 200, 429):
            await ws.send_json({"type": "auth", "token": "x"})
            assert (await ws.receive_json())["statusCode"] == status
    assert seen == []
    assert not isinstance(held[0].context.open_channel().reader, InterceptedReader)


async def test_included_application_renews_as_its_host() -> None:
    guest, app = App(), renewable()

    @guest.websocket("/a")
    async def view(ws: WebSocket) -> None:
        await ws.receive()

    app.include(guest, prefix="/guest")
    async with app.test_client() as client, client.websocket_connect("/guest/a") as ws:
        await ws.send_json({"type": "auth", "token": "ada"})
        assert (await ws.receive_json())["statusCode"] == 200


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        (("",), ValueError),
        (("a b",), ValueError),
        (('"',), ValueError),
        ((5,), TypeError),
        (("auth",), RegistrationError),
    ],
    ids=["empty", "space", "quote", "number", "twice"],
)
def test_renewals_that_cannot_work_are_refused(arguments: Any, error: type[Exception]) -> None:
    app = renewable() if error is RegistrationError else App()
    with pytest.raises(error):
        app.renewal(*arguments)(lambda data: 1)


def test_functions_that_cannot_check_are_refused() -> None:
    async def yields(data: Any) -> AsyncIterator[int]:
        yield 1

    with pytest.raises(RegistrationError, match="yields"):
        App().renewal("auth")(yields)
    with pytest.raises(ValueError, match="member"):
        App().renewal("auth", member="'")(print)

    async def lost(data: Any, ws: BlockingWebSocket) -> int:
        return 1

    with pytest.raises(RegistrationError):
        App().renewal("auth")(lost)


def test_description_of_an_application_has_the_close_code() -> None:
    (channel,) = (each for each in renewable().asyncapi()["channels"].values() if each["address"] == "/view")
    assert "4401" in channel["x-close-codes"]
    assert "4401" not in str(App().asyncapi())
