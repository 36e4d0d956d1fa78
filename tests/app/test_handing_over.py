"""Values that guards hand over, dependencies of on_disconnect, and controllers that are context managers."""

from __future__ import annotations

import threading
from collections.abc import AsyncIterator
from typing import Annotated, Any

import attrs
import pytest
import trio
from support.endings import refusal_of, status_of
from support.handlers import app_of

from trio_ws import (
    App,
    BlockingWebSocket,
    Controller,
    Depends,
    Header,
    Reject,
    Router,
    Timeouts,
    Unauthorized,
    WebSocket,
    in_loop,
)
from trio_ws.app import GuardContext, RegistrationError, listener, websocket


@attrs.frozen
class User:
    name: str


class Notes(list[Any]):
    """What happened, in order."""

    def user(self) -> Any:
        async def current_user(authorization: str = Header(default="")) -> User:
            self.append("asked")
            if not authorization:
                raise Unauthorized
            return User(authorization)

        return current_user

    def database(self) -> Any:
        """Return a dependency that is a context."""
        numbers = iter(range(1, 100))

        async def database() -> AsyncIterator[str]:
            number = next(numbers)
            self.append(f"open {number}")
            try:
                yield f"db {number}"
            finally:
                await trio.lowlevel.checkpoint()
                self.append(f"left {number}")

        return database


ADA = {"Authorization": "Ada"}


# --- guards ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("place", ["app", "router", "route", "controller"])
async def test_a_guards_value_is_the_handlers_in_one_evaluation(place: str) -> None:
    notes = Notes()
    current_user = notes.user()
    guard = Depends(current_user)
    app = App(guards=[guard] if place == "app" else [])
    router = Router(guards=[guard] if place == "router" else [])

    @router.controller("/c", guards=[guard] if place == "controller" else [])
    class Rooms(Controller):
        def __init__(self, user: Annotated[User, Depends(current_user)]) -> None:
            self.user = user

        @websocket("/a", guards=[guard] if place == "route" else [])
        async def view(self, ws: WebSocket, user: Annotated[User, Depends(current_user)]) -> None:
            assert user is self.user
            notes.append(user)

    app.include(router)
    async with app.test_client() as client:
        async with client.websocket_connect("/c/a", headers=ADA):
            pass
        assert await status_of(client, "/c/a") == 401
    assert notes == ["asked", User("Ada"), "asked"]


async def test_a_plain_guards_answer_is_shared_with_what_depends_on_it() -> None:
    calls = []

    def is_admin(authorization: str = Header(default="")) -> bool:
        calls.append(authorization)
        return True

    async def view(ws: WebSocket, admin: Annotated[bool, Depends(is_admin)]) -> None:
        await ws.send_json(admin)

    app = app_of(view, "/a", App(guards=[is_admin]), guards=[is_admin])
    async with app.test_client() as client, client.websocket_connect("/a", headers=ADA) as ws:
        assert await ws.receive_json() is True
    assert calls == ["Ada"]


async def test_a_guard_after_its_own_dependency_is_not_asked_again() -> None:
    calls = []

    async def is_admin() -> bool:
        calls.append(1)
        return False

    async def may_see(admin: Annotated[bool, Depends(is_admin)]) -> bool:
        return not admin

    async def view(ws: WebSocket) -> None: ...

    assert (await status_of(app_of(view, "/a", guards=[may_see, is_admin]), "/a"), calls) == (403, [1])


async def test_a_class_of_guards_hands_over_its_instance() -> None:
    class Member:
        made = 0

        def __init__(self, authorization: str = Header(default="")) -> None:
            Member.made += 1
            self.name = authorization

        async def can_activate(self, context: GuardContext) -> bool:
            self.route = context.route.name
            return bool(self.name)

    async def view(ws: WebSocket, member: Annotated[Member, Depends()]) -> None:
        await ws.send(f"{member.name} on {member.route}")

    app = app_of(view, "/a", guards=[Member])
    async with app.test_client() as client, client.websocket_connect("/a", headers=ADA) as ws:
        assert await ws.receive() == "Ada on view"
    assert Member.made == 1


async def test_a_context_among_the_guards_lasts_as_the_connection() -> None:
    notes = Notes()
    database = notes.database()

    async def view(ws: WebSocket, db: Annotated[str, Depends(database)]) -> None:
        notes.append(db)

    async with app_of(view, "/a", guards=[Depends(database)]).test_client() as client, client.websocket_connect("/a"):
        pass
    assert notes == ["open 1", "db 1", "left 1"]


@pytest.mark.parametrize(("value", "status"), [(False, 403), (None, 500), (0, 101), ("", 101), (True, 101)])
async def test_a_guards_value_refuses_only_if_it_is_false(value: Any, status: int) -> None:
    """None is no answer: who forgets a return shall not let everybody in."""

    async def given() -> Any:
        return value

    async def view(ws: WebSocket) -> None: ...

    async with app_of(view, "/a", guards=[Depends(given)]).test_client(raise_server_errors=False) as client:
        if status == 101:
            async with client.websocket_connect("/a"):
                return
        assert await status_of(client, "/a") == status


async def test_overrides_replace_a_guard_that_is_a_dependency() -> None:
    notes = Notes()
    current_user = notes.user()

    async def view(ws: WebSocket, user: Annotated[User, Depends(current_user)]) -> None:
        await ws.send(user.name)

    app = app_of(view, "/a", guards=[Depends(current_user)])
    async with app.test_client(overrides={current_user: User("Eve")}) as client:
        async with client.websocket_connect("/a") as ws:
            assert await ws.receive() == "Eve"
    assert notes == []


def test_guards_that_cannot_be_dependencies_are_refused() -> None:
    app = App()

    with pytest.raises(RegistrationError, match=r"Depends\(current_user\)"):
        app.websocket("/a", guards=[Depends()])(lambda ws: None)

    class Member:
        def can_activate(self, context: GuardContext) -> bool:
            return False

    with pytest.raises(RegistrationError, match=r"has can_activate\(context\): leave Depends\(\) out"):
        app.websocket("/d", guards=[Depends(Member)])(lambda ws: None)
    with pytest.raises(TypeError, match="takes a list"):
        app.websocket("/b", guards=Depends(User))
    with pytest.raises(RegistrationError, match="nothing provides it"):
        app.websocket("/c", guards=[Depends(lambda one, two: None)])(lambda ws: None)


# --- on_disconnect -----------------------------------------------------------------------------------------------


def listening(app: App, notes: Notes, database: Any, **options: Any) -> Any:
    @app.listener("/a", **options)
    async def receive(data: Any, db: Annotated[str, Depends(database)]) -> str:
        notes.append(f"message with {db}")
        return db

    return receive


async def test_on_disconnect_has_contexts_of_its_own() -> None:
    """Those of the connection were left before: they do not wait for the close frame of a peer that is slow."""
    app, notes = App(), Notes()
    database = notes.database()

    async def repository(db: Annotated[str, Depends(database)]) -> str:
        return f"repository of {db}"

    @listening(app, notes, database).on_disconnect
    async def leave(
        code: int, db: Annotated[str, Depends(database)], repository: Annotated[str, Depends(repository)]
    ) -> None:
        notes.append(f"{code} with {db}, {repository}")

    async with app.test_client() as client, client.websocket_connect("/a") as ws:
        await ws.send_json(1)
        assert await ws.receive_json() == "db 1"
    assert notes == ["open 1", "message with db 1", "left 1", "open 2", "1000 with db 2, repository of db 2", "left 2"]


async def test_values_that_are_not_left_are_the_connections() -> None:
    """A token that has expired meanwhile must not keep the application from noticing that its user has gone."""
    app, notes = App(), Notes()
    database, current_user = notes.database(), notes.user()

    @app.listener("/a")
    async def receive(data: Any) -> None: ...

    @receive.on_disconnect
    async def leave(db: Annotated[str, Depends(database)], user: Annotated[User, Depends(current_user)]) -> None:
        notes.append(f"{user.name} with {db}")

    async with app.test_client() as client:
        async with client.websocket_connect("/a", headers=ADA):
            assert notes == ["asked"]
        await refusal_of(client, "/a")
    assert notes == ["asked", "open 1", "Ada with db 1", "left 1", "asked"]


@pytest.mark.parametrize("way", ["abrupt", "error", "shutdown"])
async def test_contexts_of_on_disconnect_are_left_on_every_way_out(way: str) -> None:
    app, notes = App(), Notes()
    database = notes.database()

    @app.listener("/a")
    async def receive(data: Any) -> None:
        if way == "error":
            raise KeyError
        await trio.sleep_forever()

    @receive.on_disconnect
    def leave(ws: BlockingWebSocket, db: Annotated[str, Depends(database)]) -> None:
        notes.append(db)
        if way == "error":
            raise LookupError

    async with app.test_client(raise_server_errors=False) as client:
        async with client.raw("/a") as peer:
            if way == "abrupt":
                await peer.reset()
            else:
                await peer.message("1")
                if way == "shutdown":
                    client.server.shutdown(grace=0)
                await peer.receive_close()
    assert notes == ["open 1", "db 1", "left 1"]


async def test_contexts_of_a_hanging_on_disconnect_are_not_cut_off(autojump_clock: Any) -> None:
    app, notes = App(timeouts=Timeouts(cleanup_timeout=3)), Notes()

    async def slow() -> AsyncIterator[int]:
        try:
            yield 1
        finally:
            await trio.sleep(2)
            notes.append("left")

    @app.listener("/a")
    async def receive(data: Any) -> None:
        await trio.sleep_forever()

    @receive.on_disconnect
    async def leave(it: Annotated[int, Depends(slow)]) -> None:
        await trio.sleep_forever()

    async with app.test_client(timeout=60) as client:
        async with client.websocket_connect("/a") as ws:
            await ws.send_json(1)
    assert notes == ["left"]


async def test_an_error_of_a_dependency_of_on_disconnect_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    app = App()

    async def broken() -> AsyncIterator[int]:
        raise LookupError("no database")
        yield 1

    @app.listener("/a")
    async def receive(data: Any) -> None: ...

    @receive.on_disconnect
    async def leave(it: Annotated[int, Depends(broken)]) -> None:
        pytest.fail("called")

    async with app.test_client(raise_server_errors=False) as client, client.websocket_connect("/a"):
        pass
    assert "no database" in caplog.text


async def test_accept_callbacks_on_disconnect_has_contexts_too() -> None:
    app, notes = App(), Notes()
    database = notes.database()

    async def receive(data: Any) -> None: ...

    async def leave(code: int, db: str = Depends(database)) -> None:
        notes.append(db)

    @app.websocket("/a", auto_accept=False)
    async def view(ws: WebSocket) -> None:
        await ws.accept_callback(on_receive=receive, on_disconnect=leave)

    async with app.test_client() as client, client.websocket_connect("/a"):
        assert notes == []
    assert notes == ["open 1", "db 1", "left 1"]


async def test_overrides_hold_for_on_disconnect() -> None:
    """A value in a context's place, and a context in a value's."""
    app, notes = App(), Notes()
    database, current_user = notes.database(), notes.user()

    @app.listener("/a")
    async def receive(data: Any) -> None: ...

    @receive.on_disconnect
    async def leave(first: Annotated[str, Depends(database)], second: Annotated[str, Depends(current_user)]) -> None:
        notes.append((first, second))

    async with app.test_client(overrides={database: "none", current_user: database}) as client:
        async with client.websocket_connect("/a"):
            pass
    assert notes == ["open 1", ("none", "db 1"), "left 1"]


# --- controllers -------------------------------------------------------------------------------------------------


class Entered(Controller):
    def __init__(self) -> None:
        self.notes = [("made", threading.get_ident())]

    async def __aenter__(self) -> Entered:
        self.notes.append(("entered", self.websocket.accepted))
        return self

    async def __aexit__(self, *_: object) -> None:
        await trio.lowlevel.checkpoint()
        self.notes.append(("left", self.websocket.connected))

    @listener("/a")
    async def receive(self, data: Any) -> int:
        return len(self.notes)

    @receive.on_disconnect
    async def leave(self) -> None:
        ended.append([each for each, _ in self.notes])


ended: list[list[str]] = []


async def test_a_controller_that_is_a_context_is_entered_and_left() -> None:
    ended.clear()
    app = App(controllers=[Entered])
    async with app.test_client() as client, client.websocket_connect("/a") as ws:
        await ws.send_json(1)
        assert await ws.receive_json() == 2
    assert ended == [["made", "entered", "left"]]


@pytest.mark.parametrize("cheap", [False, True])
async def test_a_plain_context_is_entered_in_a_thread(cheap: bool) -> None:
    app, threads = App(), []

    @app.controller("/c")
    class Plain(Controller):
        in_loop = cheap

        def __enter__(self) -> None:
            threads.append(threading.get_ident())

        def __exit__(self, *_: object) -> None:
            threads.append(threading.get_ident())

        @websocket("/a")
        async def view(self, ws: WebSocket) -> None: ...

    async with app.test_client() as client, client.websocket_connect("/c/a"):
        pass
    assert len(threads) == 2
    assert all((thread == threading.get_ident()) is cheap for thread in threads)


async def test_a_controller_that_cannot_be_entered_refuses() -> None:
    app = App()

    @app.controller("/c")
    class Closed(Controller):
        async def __aenter__(self) -> None:
            raise Reject(503)

        async def __aexit__(self, *_: object) -> None:
            pytest.fail("left, though not entered")

        @websocket("/a")
        async def view(self, ws: WebSocket) -> None: ...

    assert await status_of(app, "/c/a") == 503


async def test_a_controller_is_left_before_what_it_was_made_of() -> None:
    app, notes = App(), Notes()
    database = notes.database()

    @app.controller("/c")
    class Rooms(Controller):
        def __init__(self, db: Annotated[str, Depends(database)]) -> None: ...

        @in_loop
        def __enter__(self) -> None: ...

        @in_loop
        def __exit__(self, *_: object) -> None:
            notes.append("controller")

        @websocket("/a")
        async def view(self, ws: WebSocket) -> None:
            raise KeyError

    async with app.test_client(raise_server_errors=False) as client:
        with pytest.raises(Exception, match="1011"):
            async with client.websocket_connect("/c/a") as ws:
                await ws.receive()
    assert notes == ["open 1", "controller", "left 1"]
