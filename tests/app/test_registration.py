"""Registration: whatever can be called can be a route, and what cannot work is refused there, with the fix."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import attrs
import pytest
from support.handlers import app_of, app_of_listener
from typing_extensions import TypedDict

from trio_ws import App, Compression, Controller, Depends, Limits, Router, Timeouts, WebSocket
from trio_ws.app import BlockingWebSocket, Converter, GuardContext, RegistrationError, websocket
from trio_ws.app.options import RouteKeywords
from trio_ws.app.route import RouteOptions


async def said(app: App, path: str) -> Any:
    """What the server says first on a connection to `path`."""
    async with app.test_client() as client, client.websocket_connect(path) as ws:
        return await ws.receive()


# --- what can be a view ------------------------------------------------------------------------------------------


async def speak(ws: WebSocket, word: str) -> None:
    await ws.send(word)


def decorated_asynchronously(function: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(function)
    async def wrapper(ws: WebSocket, word: str) -> None:
        await ws.send(function(ws, word))

    return wrapper


@decorated_asynchronously
def plain(ws: WebSocket, word: str) -> str:
    return word


@attrs.define  # compared by value, and so without a hash
class Speaker:
    suffix: str = ""

    async def __call__(self, ws: WebSocket, word: str) -> None:
        await ws.send(word + self.suffix)

    async def method(self, ws: WebSocket, word: str) -> None:
        await ws.send(word + self.suffix)

    @staticmethod
    async def static(ws: WebSocket, word: str) -> None:
        await ws.send(word)

    @classmethod
    async def of_class(cls, ws: WebSocket, word: str) -> None:
        await ws.send(word)


@pytest.mark.parametrize(
    "function",
    [
        speak,
        plain,
        Speaker(),
        Speaker().method,
        Speaker.static,
        Speaker.of_class,
        functools.partial(Speaker()),
        functools.partial(speak),
        lambda ws, word: ws.send(word),
    ],
    ids=[
        "function",
        "decorated",
        "object",
        "bound method",
        "static method",
        "class method",
        "partial of an object",
        "partial",
        "lambda",
    ],
)
async def test_whatever_can_be_called_can_be_a_view(function: Callable[..., Any]) -> None:
    app = App()
    app.websocket("/{word}")(function)
    assert await said(app, "/hello") == "hello"


async def test_function_may_be_view_of_several_paths_and_applications() -> None:
    """A function may be the view of several paths and applications."""
    one, other = App(), App()

    @one.websocket("/a")
    @one.websocket("/b")
    @other.websocket("/c")
    async def view(ws: WebSocket, app: App) -> None:
        await ws.send("one" if app is one else "other")

    assert [await said(one, "/a"), await said(one, "/b"), await said(other, "/c")] == ["one", "one", "other"]


async def test_factory_local_classes_resolve_after_factory_returns() -> None:
    """Classes that are local to a factory are known when it has returned."""

    def factory() -> App:
        @attrs.define
        class Point:
            x: int

        class Pair(TypedDict):
            first: Point

        def point(x: int = 4) -> Point:
            return Point(x)

        app, router = App(), Router("/router")

        @app.listener("/own")
        async def own(data: Point, other: Point = Depends(point)) -> int:
            return data.x + other.x

        @router.listener("/pair")
        async def pair(data: Pair) -> int:
            return data["first"].x

        @app.controller("/controller")
        class Points(Controller):
            def __init__(self, other: Point = Depends(point)) -> None:
                self.other = other

            @app.listener("/point")
            async def added(self, data: Point) -> int:
                return data.x + self.other.x

        app.include(router)
        return app

    app = factory()
    async with app.test_client() as client:
        for path, data, reply in (
            ("/own", '{"x": 1}', "5"),
            ("/router/pair", '{"first": {"x": 2}}', "2"),
            ("/controller/point", '{"x": 3}', "7"),
        ):
            async with client.websocket_connect(path) as ws:
                await ws.send(data)
                assert await ws.receive() == reply


async def test_connection_parameter_is_found_by_usual_name_anywhere() -> None:
    """The connection is found by its usual names wherever it stands."""

    async def receive(data: int, ws) -> None:
        await ws.send(str(data))

    async with app_of_listener(receive, "/a").test_client() as client, client.websocket_connect("/a") as ws:
        await ws.send("3")
        assert await ws.receive() == "3"


# --- routers -----------------------------------------------------------------------------------------------------

HEX = Converter(regex="[0-9a-f]+", convert=lambda text: int(text, 16), format=lambda number: f"{number:x}", type=int)


async def test_an_application_may_have_converters_of_its_own() -> None:
    async def view(ws: WebSocket, number: int) -> None:
        await ws.send(str(number))

    app = app_of(view, "/{number:hex}", App(converters={"hex": HEX}))
    assert await said(app, "/ff") == "255"
    assert app.url_for("view", number=255) == "/ff"


async def test_the_converters_of_a_router_go_with_it() -> None:
    app, middle, router = App(), Router("/m"), Router("/r", converters={"hex": HEX})

    @router.websocket("/{number:hex}")
    async def view(ws: WebSocket, number: int) -> None:
        await ws.send(str(number))

    middle.include(router)
    app.include(middle)
    assert await said(app, "/m/r/ff") == "255"


async def test_a_prefix_may_have_parameters_which_routes_take_by_name() -> None:
    app, router = App(), Router()

    @router.websocket("/x")
    async def view(ws: WebSocket, tenant: int) -> None:
        await ws.send(str(tenant))

    app.include(router, "/{tenant:int}")
    assert await said(app, "/7/x") == "7"


def test_route_invalid_below_prefix_is_refused_on_inclusion() -> None:
    """A route that cannot work below a prefix is refused when it is included."""
    app, router = App(), Router()

    @router.websocket("/x")
    async def view(ws: WebSocket, tenant: int) -> None: ...

    with pytest.raises(RegistrationError, match=r"the path makes \{tenant\} float, not int"):
        app.include(router, "/{tenant:float}")
    assert not list(app.routes())


def test_routers_cannot_include_each_other() -> None:
    app, router = App(), Router("/r")
    app.include(router)
    for included in (app, router):
        with pytest.raises(RegistrationError, match="in itself"):
            router.include(included)


@pytest.mark.parametrize("prefix", ["x", "/x/"])
def test_every_prefix_begins_with_a_slash_and_ends_without(prefix: str) -> None:
    class Handler:
        @websocket("/x")
        async def view(self) -> None: ...

    with pytest.raises(ValueError, match="prefix"):
        App().include(Router(), prefix)
    with pytest.raises(ValueError, match="prefix"):
        App().controller(prefix)(Handler)


async def test_method_of_non_controller_is_found_in_nested_routers() -> None:
    """A method of a class that is no controller is found in routers however deep."""
    app, middle, deep = App(), Router(), Router()

    class Forgotten:
        @deep.websocket("/x")
        async def view(self) -> None: ...

    middle.include(deep)
    app.include(middle)
    with pytest.raises(RegistrationError, match=r"Forgotten\.view"):
        async with app.lifespan_context():
            pass


async def test_routes_may_come_while_the_application_runs() -> None:
    app, router = App(), Router("/r")
    app.include(router)

    async with app.test_client() as client:
        for registrar, path in ((app, "/a"), (router, "/r/a")):
            registrar.websocket("/a")(lambda ws: ws.send("here"))
            async with client.websocket_connect(path) as ws:
                assert await ws.receive() == "here"


# --- options of a route ------------------------------------------------------------------------------------------


def test_typed_keywords_are_the_options_of_a_route() -> None:
    """The keywords that type checkers know are the options of a route."""
    options = {field.name for field in attrs.fields(RouteOptions)}
    assert RouteKeywords.__annotations__.keys() == options


async def test_a_route_may_have_limits_of_its_own() -> None:
    app = App(limits=Limits(max_message_size=100))

    async def echo(ws: WebSocket) -> None:
        await ws.send(await ws.receive())

    app.websocket("/small", limits=Limits(max_message_size=10))(echo)
    app.websocket("/large")(echo)
    codes = {}
    async with app.test_client() as client:
        for path in ("/small", "/large"):
            async with client.websocket_connect(path, caught_close_codes=all) as ws:
                await ws.send("x" * 11)
                async for message in ws:
                    assert message == "x" * 11
            codes[path] = ws.close_code
    assert codes == {"/small": 1009, "/large": 1000}


async def test_a_route_may_have_timeouts_of_its_own(autojump_clock) -> None:
    app = App(timeouts=Timeouts(idle_timeout=20.0))

    async def wait(ws: WebSocket) -> None:
        async for _ in ws:
            pass

    app.websocket("/short", timeouts=Timeouts(idle_timeout=2.0))(wait)
    app.websocket("/long")(wait)
    seconds = {}
    async with app.test_client(timeout=60) as client:
        for path in ("/short", "/long"):
            began = autojump_clock.current_time()
            async with client.websocket_connect(path) as ws:
                async for _ in ws:
                    pass
            seconds[path] = autojump_clock.current_time() - began
    assert seconds == pytest.approx({"/short": 2.0, "/long": 20.0}, abs=0.1)


@pytest.mark.parametrize("ours", [True, False])
async def test_a_route_may_have_compression_of_its_own(ours: bool) -> None:
    app = App(compression=not ours)

    async def view(ws: WebSocket) -> None: ...

    app.websocket("/own", compression=Compression(level=1) if ours else False)(view)
    app.websocket("/other")(view)
    compressed = {}
    async with app.test_client() as client:
        for path in ("/own", "/other"):
            async with client.websocket_connect(path, compression=True) as ws:
                compressed[path] = "sec-websocket-extensions" in ws.response_headers
    assert compressed == {"/own": ours, "/other": not ours}


async def test_route_selects_its_first_subprotocol_that_is_offered() -> None:
    """A route speaks the first of its subprotocols that is offered."""

    async def view(ws: WebSocket) -> None:
        await ws.send(str(ws.subprotocol))

    async with app_of(view, "/a", subprotocols=["one", "two", "three"]).test_client() as client:
        async with client.websocket_connect("/a", subprotocols=["three", "two"]) as ws:
            assert (await ws.receive(), ws.subprotocol) == ("two", "two")
        async with client.websocket_connect("/a", subprotocols=["four"]) as ws:
            assert (await ws.receive(), ws.subprotocol) == ("None", None)


async def test_a_name_of_its_own_is_what_url_for_knows_a_route_by() -> None:
    async def view(ws: WebSocket, b: str) -> None: ...

    app = app_of(view, "/a/{b}", name="other")
    assert app.url_for("other", b="c") == "/a/c"
    with pytest.raises(LookupError):
        app.url_for("view", b="c")


@pytest.mark.parametrize(
    ("options", "fix"),
    [
        ({"caught_close_codes": 1000}, "takes a list of codes, or the built-in all"),
        ({"caught_close_codes": "all"}, "takes a list of codes, or the built-in all"),
        ({"limits": 5}, r"limits takes Limits\(\.\.\.\)"),
        ({"timeouts": 5.0}, r"timeouts takes Timeouts\(\.\.\.\)"),
        ({"compression": "yes"}, "compression takes a Compression, True or False"),
        ({"subprotocols": "chat"}, r"write subprotocols=\['chat'\]"),
    ],
)
def test_an_option_of_another_kind_is_refused_with_the_fix(options: dict[str, Any], fix: str) -> None:
    with pytest.raises(TypeError, match=fix):
        App().websocket("/a", **options)
    if options.keys() & {"limits", "timeouts", "compression"}:
        with pytest.raises(TypeError, match=fix):
            App(**options)


# --- misuse ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["websocket", "listener", "controller"])
def test_a_decorator_without_its_path_is_refused_with_the_fix(name: str) -> None:
    with pytest.raises(RegistrationError, match=f'write @{name}\\("/path"\\)'):
        getattr(App(), name)(speak)


async def yields(ws):
    yield


def yields_plainly(ws):
    yield


@pytest.mark.parametrize("function", [yields, yields_plainly])
def test_a_view_that_yields_is_refused(function: Callable[..., Any]) -> None:
    with pytest.raises(RegistrationError, match="it yields: only a listener's function for messages may"):
        App().websocket("/a")(function)


def test_a_class_is_no_view() -> None:
    class Handler:
        def __init__(self, ws: WebSocket) -> None: ...

    with pytest.raises(RegistrationError, match=r"Handler is a class: decorate it with @app\.controller\(\)"):
        App().websocket("/a")(Handler)


def test_blocking_connection_is_refused_in_dependencies() -> None:
    """A blocking connection is for plain functions and not for what they depend on."""
    app = App()

    def dependency(ws: BlockingWebSocket) -> None: ...

    def guard(context: GuardContext, ws: BlockingWebSocket) -> bool:
        return True

    with pytest.raises(RegistrationError, match="dependencies take a WebSocket"):

        @app.websocket("/a")
        def view(ws: BlockingWebSocket, value: None = Depends(dependency)) -> None: ...

    with pytest.raises(RegistrationError, match="'ws'"):

        @app.websocket("/b", guards=[guard])
        def guarded(ws: BlockingWebSocket) -> None: ...


def test_a_controller_needs_room_for_the_connection() -> None:
    @attrs.define
    class Handler:
        @websocket("/x")
        async def view(self) -> None: ...

    with pytest.raises(RegistrationError, match="derive it from Controller"):
        App(controllers=[Handler])


async def test_a_controller_with_slots_may_be_derived_from_the_base() -> None:
    app = App()

    @app.controller()
    @attrs.define
    class Handler(Controller):
        number: int = 3

        @app.websocket("/x")
        async def view(self) -> None:
            await self.websocket.send(str(self.number))

    assert [await said(app, "/x"), await said(app, "/x?number=5")] == ["3", "5"]


@pytest.mark.parametrize("kind", [staticmethod, classmethod])
@pytest.mark.parametrize("inside", [False, True])
def test_a_route_of_a_controller_is_a_method_of_its_instances(kind: Callable[..., Any], inside: bool) -> None:
    mark = websocket("/x")

    async def view(ws: WebSocket) -> None: ...

    with pytest.raises(RegistrationError, match="a controller's routes are plain methods"):
        App(controllers=[type("Handler", (), {"view": mark(kind(view)) if inside else kind(mark(view))})])
