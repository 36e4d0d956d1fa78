"""Guards, prefixes and applications that are registered in more than one place: nothing of them is lost."""

from __future__ import annotations

import functools
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing

from trio_ws import App, ConnectionRejected, Controller, Instrument, Limits, Request, Router, Sessions, WebSocket
from trio_ws.app import RegistrationError, listener, websocket


async def status_of(app: App, path: str) -> int:
    """The HTTP status that a handshake is answered with."""
    async with app.test_client() as client:
        try:
            async with client.websocket_connect(path):
                return 101
        except ConnectionRejected as rejected:
            return rejected.status


def never() -> bool:
    return False


def make_car(router: Router, **options: Any) -> type[Controller]:
    @router.controller("/car", **options)
    class Car(Controller):
        @websocket("/drive")
        async def drive(self) -> None:
            await self.websocket.send("on the way")

    return Car


def paths(app: App) -> list[str]:
    return [route.path for route in app.routes()]


# --- controllers -------------------------------------------------------------------------------------------------


REGISTRATIONS: dict[str, Callable[[type[Controller]], App]] = {
    "App(controllers=)": lambda car: App(controllers=[car]),
    "add_controller": lambda car: (app := App(), app.add_controller(car))[0],
    "add_controller with its prefix": lambda car: (app := App(), app.add_controller(car, "/car"))[0],
    "another decorator": lambda car: (app := App(), app.controller("/car")(car))[0],
    "a router in between": lambda car: (
        app := App(),
        router := Router(),
        router.add_controller(car),
        app.include(router),
    )[0],
}


@pytest.mark.parametrize("register", REGISTRATIONS.values(), ids=REGISTRATIONS)
async def test_decorator_guards_apply_wherever_class_is_registered(register: Callable[[Any], App]) -> None:
    """Guards of a decorator hold wherever the class is registered."""
    app = register(make_car(App(), guards=[never]))
    assert paths(app) == ["/car/drive"]
    assert await status_of(app, "/car/drive") == 403


async def test_guards_of_a_base_class_hold_for_a_derived_one() -> None:
    class SportsCar(make_car(App(), guards=[never])):  # type: ignore[misc]
        @websocket("/race")
        async def race(self) -> None: ...

    app = App(controllers=[SportsCar])
    assert paths(app) == ["/car/drive", "/car/race"]
    assert await status_of(app, "/car/race") == 403


async def test_guards_of_a_base_class_hold_below_a_prefix_of_its_own() -> None:
    app = App()
    app.controller("/sports")(type("SportsCar", (make_car(App(), guards=[never]),), {}))
    assert paths(app) == ["/sports/drive"]
    assert await status_of(app, "/sports/drive") == 403


def test_an_explicit_prefix_takes_the_place_of_the_decorators() -> None:
    app, car = App(), make_car(App())
    app.add_controller(car)
    app.add_controller(car, "/taxi")
    app.add_controller(car, "")
    assert paths(app) == ["/car/drive", "/taxi/drive", "/drive"]


async def test_guards_of_one_registration_hold_there_alone() -> None:
    app, car = App(), make_car(App())
    app.add_controller(car, "/locked", guards=[never])
    app.add_controller(car)
    assert [await status_of(app, path) for path in ("/locked/drive", "/car/drive")] == [403, 101]


def test_a_second_decorator_with_new_guards_is_refused() -> None:
    car = make_car(App())
    with pytest.raises(RegistrationError, match=r"registered already, without the guards.*add_controller"):
        App().controller("/car", guards=[never])(car)


def test_a_class_with_two_prefixes_needs_an_explicit_one() -> None:
    car = make_car(App())
    App().controller("/taxi")(car)
    with pytest.raises(RegistrationError, match="several prefixes"):
        App(controllers=[car])
    app = App()
    app.add_controller(car, "/taxi")
    assert paths(app) == ["/taxi/drive"]


async def test_guards_from_an_iterator_are_not_used_up() -> None:
    app = App(guards=iter([lambda: True]))
    router = Router(guards=iter([lambda: True]))

    async def view(ws: WebSocket) -> None: ...

    router.websocket("/view", guards=iter([never]))(view)
    router.listener("/listener", guards=iter([never]))(lambda data: data)

    @router.controller(guards=iter([never]))
    class Two(Controller):
        @websocket("/one")
        async def one(self) -> None: ...

        @websocket("/two")
        async def two(self) -> None: ...

    app.include(router)
    assert [await status_of(app, path) for path in ("/view", "/listener", "/one", "/two")] == [403] * 4


# --- applications ------------------------------------------------------------------------------------------------


async def test_an_included_app_enters_its_lifespan_with_its_own_state() -> None:
    events: list[str] = []

    def parse_lifespan(name: str) -> Callable[[App], AsyncIterator[None]]:
        async def lifespan(app: App) -> AsyncIterator[None]:
            app.state.name = name
            events.append(f"{name} begins")
            app.nursery.start_soon(trio.sleep_forever)
            yield
            events.append(f"{name} ends")

        return lifespan

    inner, outer = App(lifespan=parse_lifespan("inner")), App(lifespan=parse_lifespan("outer"))

    @inner.websocket("/name")
    async def name(ws: WebSocket, app: App) -> None:
        await ws.send(app.state.name)

    router = Router("/between")
    router.include(inner, "/inner")
    outer.include(router)
    async with outer.test_client() as client, client.websocket_connect("/between/inner/name") as ws:
        assert await ws.receive() == "inner"
    assert events == ["outer begins", "inner begins", "inner ends", "outer ends"]
    with pytest.raises(RuntimeError, match="only while it runs"):
        _ = inner.nursery


async def test_lifespans_of_included_apps_are_unwound_when_cancelled(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """Each has the host's `cleanup_timeout`: the inner one takes longer and is cut off, the outer one ends."""
    events: list[str] = []

    def parse_lifespan(name: str, seconds: float) -> Callable[[App], AsyncIterator[None]]:
        async def lifespan(app: App) -> AsyncIterator[None]:
            try:
                yield
            finally:
                await trio.sleep(seconds)
                events.append(f"{name} ends")

        return lifespan

    first, second = App(lifespan=parse_lifespan("first", 3)), App(lifespan=parse_lifespan("second", 30))
    outer = App(lifespan=parse_lifespan("outer", 4))
    outer.include(first, "/first")
    outer.include(second, "/second")
    begin = trio.current_time()
    with trio.move_on_after(1):
        async with outer.lifespan_context():
            await trio.sleep_forever()
    assert events == ["first ends", "outer ends"]
    assert trio.current_time() - begin == pytest.approx(1 + 5 + 3 + 4)


async def test_an_included_app_brings_its_pages_and_static_files(tmp_path: Path) -> None:
    (tmp_path / "style.css").write_text("body {}")
    inner, outer = App(), App()
    outer.include(inner, "/admin")
    inner.page("/", lambda request: "inner")
    inner.static("/files", tmp_path)

    @inner.websocket("/ws")
    async def ws(ws: WebSocket) -> None: ...

    async with outer.test_client() as client:
        assert (await client.get("/admin/")).text == "inner"
        assert (await client.get("/admin/files/style.css")).text == "body {}"
        moved = await client.get("/admin")
        assert (moved.status, dict(moved.headers)["location"]) == (307, "/admin/")
        assert (await client.get("/")).status == 404
        assert inner.url_for("ws") == "/admin/ws"


async def test_errors_of_an_included_apps_routes_are_its_own() -> None:
    class BrokenError(Exception):
        pass

    heard: list[str] = []
    inner, outer = App(), App()
    inner.close_on(BrokenError, 4001)
    outer.close_on(LookupError, 4002)
    inner.on_error(lambda ws, error: heard.append(f"inner {error}"))
    outer.on_error(lambda ws, error: heard.append(f"outer {error}"))

    async def fail(ws: WebSocket, kind: str) -> None:
        raise {"broken": BrokenError, "lookup": LookupError, "other": ValueError}[kind](kind)

    inner.websocket("/{kind}")(fail)
    outer.websocket("/outer/{kind}")(fail)
    outer.include(inner, "/inner")
    codes: list[int | None] = []
    async with outer.test_client(raise_server_errors=False) as client:
        for path in ("/inner/broken", "/inner/lookup", "/inner/other", "/outer/broken"):
            async with client.websocket_connect(path) as ws:
                assert await ws.recv()
            codes.append(ws.close_code)
    assert codes == [4001, 4002, 1011, 1011]
    assert sorted(heard) == ["inner other", "outer broken"]  # each in a thread


async def test_rooms_and_broadcasts_of_an_included_app_are_the_hosts() -> None:
    inner, outer = App(), App()
    lobby = inner.room("lobby")

    @inner.websocket("/in")
    async def join(ws: WebSocket) -> None:
        async with lobby.join(ws):
            await ws.send("joined")
            async for _ in ws:
                pass

    outer.include(inner)
    async with outer.test_client() as client, client.websocket_connect("/in") as ws:
        assert await ws.receive() == "joined"
        await outer.room("lobby").publish("from outside")
        await inner.broadcast("to all")
        assert [await ws.receive(), await ws.receive()] == ["from outside", "to all"]


async def test_an_included_apps_sessions_serve_its_routes() -> None:
    inner, outer = App(sessions=Sessions(secret_key="k" * 32)), App()

    @inner.websocket("/a")
    async def view(ws: WebSocket) -> None:
        await ws.send_json(dict(ws.session))

    outer.include(inner)
    async with outer.test_client() as client, client.websocket_connect("/a") as ws:
        assert await ws.receive_json() == {}


class Traced(Instrument):
    def connection_opened(self, websocket: WebSocket) -> None: ...


@pytest.mark.parametrize(
    ("options", "name"),
    [
        ({"origins": ["https://example.org"]}, "origins"),
        ({"limits": Limits(max_message_size=1)}, "limits"),
        ({"compression": True}, "compression"),
        ({"trusted_proxies": ["10.0.0.0/8"]}, "trusted_proxies"),
        (
            {"instruments": [type("Traced", (Instrument,), {"connection_opened": lambda self, ws: None})()]},
            "instruments",
        ),
        ({"not_found_status": 404}, "not_found_status"),
        ({"max_threads": 1}, "max_threads"),
        ({"backplane": "redis://localhost"}, "backplane"),
    ],
)
def test_server_wide_options_are_refused_in_included_app(options: dict[str, Any], name: str) -> None:
    """Options of a whole server are refused in an included app."""
    outer, inner = App(), App(**options)
    with pytest.raises(RegistrationError, match=f"has {name}= of its own"):
        outer.include(inner)
    assert not list(outer.routes())
    App(**options).include(App())  # the other way round there is one meaning


def test_options_that_both_apps_share_are_no_obstacle() -> None:
    App(origins=["https://example.org"]).include(App(origins=["https://example.org"]))


def test_sessions_of_two_kinds_are_refused() -> None:
    one, other = (App(sessions=Sessions(secret_key=letter * 32)) for letter in "ab")
    with pytest.raises(RegistrationError, match="sessions"):
        one.include(other)


def test_a_page_that_both_apps_have_is_refused() -> None:
    def page(request: Request) -> str:
        return ""

    outer, inner = App(), App()
    outer.page("/", page)
    inner.page("/", page)
    with pytest.raises(RegistrationError, match="two pages have the path '/'"):
        outer.include(inner)
    outer.include(inner, "/inner")


async def test_an_app_runs_in_one_place_at_a_time() -> None:
    inner, outer = App(), App()
    outer.include(inner)
    async with inner.lifespan_context():
        with pytest.raises(RuntimeError, match="runs already"):
            async with outer.lifespan_context():
                pass
    async with outer.lifespan_context():
        assert inner.nursery is outer.nursery


# --- what would be lost ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("derived", [False, True])
def test_guards_that_come_after_the_registration_are_refused(derived: bool) -> None:
    class Car(Controller):
        @websocket("/drive")
        async def drive(self) -> None: ...

    class SportsCar(Car): ...

    App(controllers=[SportsCar if derived else Car])
    with pytest.raises(RegistrationError, match="registered already, without the guards"):
        App().controller("/car", guards=[never])(Car)


def members_only(function: Any) -> Any:
    @functools.wraps(function)
    async def checked(self: Any, *args: Any) -> Any:
        raise AssertionError("refused")

    return checked


@pytest.mark.parametrize("decorate", [websocket("/drive"), listener("/drive")], ids=["websocket", "listener"])
def test_a_decorator_above_that_of_a_route_is_refused(decorate: Any) -> None:
    """The route would be registered without it."""

    class Car(Controller):
        @members_only
        @decorate
        async def drive(self, data: int) -> None: ...

    with pytest.raises(RegistrationError, match=r"Car\.drive: a decorator stands above .*put it below"):
        App(controllers=[Car])


async def test_a_decorator_below_that_of_a_route_runs() -> None:
    def denied(function: Any) -> Any:
        @functools.wraps(function)
        async def checked(self: Any) -> None:
            await self.websocket.reject(401)

        return checked

    class Car(Controller):
        @websocket("/drive", auto_accept=False)
        @denied
        async def drive(self) -> None: ...

        @websocket("/stop")
        async def stop(self) -> None: ...

    assert await status_of(App(controllers=[Car]), "/drive") == 401


@pytest.mark.parametrize(
    "guards", [b"abc", [5], ["never"], [None], iter([1])], ids=lambda guards: type(guards).__name__
)
def test_what_cannot_be_a_guard_is_refused_where_it_is_given(guards: Any) -> None:
    with pytest.raises((TypeError, RegistrationError), match="guard"):
        Router(guards=guards)


def test_pages_below_a_prefix_with_a_parameter_are_refused() -> None:
    guest = App()
    guest.page("/x", lambda request: "hello")
    with pytest.raises(RegistrationError, match=r"not one below '/\{tenant\}'"):
        App().include(guest, "/{tenant}")


def test_guest_sessions_differing_in_one_cookie_are_refused() -> None:
    """Sessions that differ in one cookie are refused in two guests."""
    host = App()
    host.include(App(sessions=Sessions(secret_key="a" * 32)), "/a")
    with pytest.raises(RegistrationError, match="sessions= that differ, in the cookie 'session'"):
        host.include(App(sessions=Sessions(secret_key="b" * 32)), "/b")
    host.include(App(sessions=Sessions(secret_key="b" * 32, cookie="other")), "/c")


def test_an_instrument_that_both_apps_have_is_no_obstacle() -> None:
    class Counting(Instrument):
        def connection_closed(self, *_: Any) -> None: ...

        def message_sent(self, *_: Any) -> None: ...

    counting = Counting()
    host, guest = App(instruments=[counting]), App(instruments=[counting])
    host.include(guest)
    with pytest.raises(RegistrationError, match="instruments="):
        host.include(App(instruments=[Counting()]), "/other")


async def test_an_app_that_is_included_while_the_host_runs_is_refused() -> None:
    """Its lifespan would not be entered."""
    host = App()
    async with host.test_client():
        host.include(Router())
        with pytest.raises(RegistrationError, match="include another App, whose lifespan is entered, before"):
            host.include(App())
    host.include(App())


async def test_rooms_of_an_included_app_are_its_own_again_afterwards() -> None:
    host, guest = App(), App()
    room = guest.room("x")

    @guest.websocket("/a")
    async def view(ws: WebSocket) -> None:
        async with room.join(ws):
            await ws.send(str(room.count))

    host.include(guest)
    for app in (host, guest, host):
        async with app.test_client() as client, client.websocket_connect("/a") as ws:
            assert await ws.receive_text() == "1"
    assert host.room("x") is not room


@pytest.mark.parametrize("given", [None, "router", App])
def test_what_is_no_router_cannot_be_included(given: Any) -> None:
    with pytest.raises(RegistrationError, match=r"include\(\) takes a Router or an App, not"):
        App().include(given)
