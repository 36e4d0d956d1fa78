"""Mistakes of users of other frameworks: each has an error, or a record, that says what to write."""

from __future__ import annotations

import asyncio
import functools
import logging
from collections.abc import Callable
from typing import Annotated, Any

import pytest
from support.handlers import app_of

from trio_ws import (
    App,
    Compression,
    Cookie,
    Depends,
    Header,
    Limits,
    Query,
    Request,
    Router,
    Timeouts,
    WebSocket,
    WebSocketException,
    open_websocket,
    reconnect,
)
from trio_ws.app import RegistrationError
from trio_ws.server.serve import serve_websocket


def dependency() -> int:
    return 1


def foreign(module: str, name: str) -> Any:
    """Return a class as another library has it."""
    return type(name, (), {"__module__": module})


MARKER, SOCKET = foreign("fastapi.params", "Depends"), foreign("starlette.websockets", "WebSocket")


# --- parameters: the annotations are evaluated, as they are in modules without the future import ---------------------


def typed(annotation: Any, **default: Any) -> Callable[..., Any]:
    """Return a view with a parameter `d` of such an annotation."""

    async def view(ws: WebSocket, d: Any) -> None: ...

    view.__annotations__["d"] = annotation
    if default:
        view.__defaults__ = (default["default"],)
    if annotation is None:
        del view.__annotations__["d"]
    return view


async def _second(ws, channel_id) -> None: ...


async def _two(ws, request, what) -> None: ...


async def _misspelt(ws: WebSocket, chanel: str) -> None: ...


@pytest.mark.parametrize(
    ("view", "message"),
    [
        (_second, "parameter 'channel_id': nothing provides it: .*path \\(channel\\).*`request: Request`"),
        (_two, "parameter 'what': nothing provides it"),
        (_misspelt, "parameter 'chanel': the path has \\{channel\\}, which nothing takes: did you mean that"),
        (typed(Annotated[int, Depends]), "Depends is not called in its Annotated: write Depends\\(\\)"),
        (typed(Annotated[int, Query]), "Query is not called in its Annotated: write Query\\(\\)"),
        (typed(Annotated[int, dependency]), "a function in Annotated does nothing: write Depends\\(dependency\\)"),
        (typed(Annotated[int, MARKER()]), "fastapi.params.Depends, .*`from trio_ws import Depends`"),
        (
            typed(Depends(dependency)),
            "Depends\\(dependency\\) is no type: write Annotated\\[T, Depends\\(dependency\\)\\]",
        ),
        (typed(Depends()), "Depends\\(\\) is no type"),
        (typed(Header()), "Header\\(\\) is no type: write Annotated\\[T, Header\\(\\)\\]"),
        (typed(Query), "Query is no type: write Annotated\\[T, Query\\(\\)\\]"),
        (typed(dependency), "its annotation is the function .*dependency: write Annotated"),
        (typed(SOCKET), "its annotation is starlette.websockets.WebSocket: write `from trio_ws import WebSocket`"),
        (typed(int, default=Cookie), "its default is Cookie itself: write Cookie\\(\\)"),
        (typed(None, default=Depends), "its default is Depends itself: write Depends\\(\\)"),
        (typed(int, default=dependency), "its default is a function, .*Depends\\(dependency\\)"),
        (typed(None, default=MARKER()), "its default is of fastapi.params.Depends.*`from trio_ws import Depends`"),
    ],
)
def test_marker_in_wrong_place_is_refused_with_right_form(view: Callable[..., Any], message: str) -> None:
    with pytest.raises(RegistrationError, match=message):
        App().websocket("/{channel}")(view)


async def test_second_parameter_called_request_is_the_request() -> None:
    """The documented form `(ws, request)` goes on, as does `request: Request` under any name."""
    app = App()

    @app.websocket("/{number}")
    async def bare(ws, request) -> None:
        await ws.send(request.path_params["number"] if hasattr(request, "path_params") else request.params["number"])

    @app.websocket("/typed/{number}")
    async def typed_request(ws: WebSocket, asked: Request) -> None:
        await ws.send(asked.params["number"])

    async with app.test_client() as client:
        for path in ("/7", "/typed/7"):
            async with client.websocket_connect(path) as ws:
                assert await ws.receive() == "7"


def test_similar_query_name_is_taken_where_it_is_deliberate() -> None:
    async def marked(ws: WebSocket, chanel: str = Query()) -> None: ...

    async def optional(ws: WebSocket, chanel: str = "") -> None: ...

    async def both(ws: WebSocket, channel: str, channels: str) -> None: ...

    for view in (marked, optional, both):
        App().websocket("/{channel}")(view)


# --- annotations that find a method (PEP 649) ------------------------------------------------------------------------

SHADOWED = """
from trio_ws import App, Controller
app = App()
@app.controller("/c")
class Encodings(Controller):
    @app.listener("/bytes", encoding="bytes")
    async def bytes(self, data: {annotation}) -> None: ...
"""


@pytest.mark.parametrize("annotation", ["bytes", "list[bytes]", "bytes | None"])
def test_annotation_that_names_a_method_is_refused(annotation: str) -> None:
    with pytest.raises(
        RegistrationError, match=r"'data' is annotated with bytes, and Encodings has a method .*PEP 649"
    ):
        exec(compile(SHADOWED.format(annotation=annotation), "shadowed.py", "exec", dont_inherit=True), {})


def test_annotation_that_is_text_is_resolved_around_the_class() -> None:
    source = "from __future__ import annotations\n" + SHADOWED.format(annotation="bytes")
    names: dict[str, Any] = {"__name__": __name__}
    exec(compile(source, "text.py", "exec", dont_inherit=True), names)
    (route,) = names["app"].routes()
    assert route.path == "/c/bytes"


# --- registering -----------------------------------------------------------------------------------------------------


async def _coroutine() -> None: ...


def _register(decorate: str, value: Any, path: Any = "/x") -> Callable[[App], Any]:
    return lambda app: getattr(app, decorate)(path)(value)


@pytest.mark.parametrize(
    ("register", "message"),
    [
        (lambda app: app.websocket(dependency), r'write @websocket\("/path"\)'),
        (lambda app: app.listener(dependency), r'write @listener\("/path"\)'),
        (lambda app: app.controller(App), r'write @controller\("/path"\)'),
        (_register("websocket", App), r"App is a class: decorate it with @app.controller"),
        (_register("listener", Router), r"Router is a class: decorate it with @app.controller"),
        (_register("websocket", None), "it cannot be called: give the function itself"),
        (_register("websocket", dependency, "/<int:n>"), r"write the parameter '<int:n>' as \{n\}"),
        (_register("websocket", dependency, "/:n"), r"write the parameter ':n' as \{n\}"),
        (_register("websocket", dependency, "/{int:n}"), r"the name comes first: write \{n:int\}"),
        (_register("websocket", dependency, "ws://localhost/x"), "it must begin with a slash"),
    ],
)
def test_registration_mistake_is_refused_with_right_form(register: Callable[[App], Any], message: str) -> None:
    with pytest.raises(RegistrationError, match=message):
        register(App())


def test_two_routes_with_one_path_are_refused_with_both_names() -> None:
    app = App()
    app.websocket("/a/{x}")(lambda ws, x: None)
    with pytest.raises(RegistrationError, match=r"two routes match the same paths: '/a/\{x\}' .*'/a/\{y\}'"):
        app.websocket("/a/{y}")(lambda ws, y: None)


@pytest.mark.parametrize(
    "register",
    [
        lambda app, made: app.websocket("/x")(made),
        lambda app, made: app.websocket("/x")(lambda ws, d=Depends(made): None),
        lambda app, made: app.page("/", made),
    ],
)
def test_coroutine_in_place_of_function_is_refused_and_closed(register: Callable[[App, Any], Any]) -> None:
    """It is closed: a second warning, that it was never awaited, would only confuse."""
    with pytest.raises((RegistrationError, TypeError), match=r"give (the function itself|it without calling it)"):
        register(App(), _coroutine())


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("include_router", r"include\(router\)"),
        ("dependency_overrides", r"app\.test_client\(overrides="),
        ("websocket_connect", r"app\.test_client\(\)\.websocket_connect\(path\)"),
        ("serve_forever", r"app\.serve\(host, port\)"),
        ("openapi", r"app\.asyncapi\(\)"),
        ("before_serving", r"App\(lifespan=\.\.\.\)"),
        ("exception_handlers", r"app\.close_on\(Error, code\)"),
        ("teardown_websocket", r"App\(guards="),
        ("add_url_rule", r"app\.websocket\(path\)"),
        ("router", r"app\.include\(router\)"),
        ("host", r"hosts= of App"),
        ("add_websocket_route", r"app.websocket\(path\)"),
        ("on_event", "lifespan="),
        ("exception_handler", "close_on"),
        ("add_middleware", "guards="),
        ("get", r"app.page\(path"),
        ("mount", "app.static"),
    ],
)
def test_name_of_another_framework_leads_to_ours(name: str, hint: str) -> None:
    with pytest.raises(AttributeError, match=f"'App' object has no attribute '{name}': .*{hint}"):
        getattr(App(), name)
    assert not hasattr(App(), "nothing_of_the_kind")


# --- options ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: Limits("1MB"), r"Limits\(\) takes options by name, such as Limits\(max_message_size='1MB'\)"),  # type: ignore[misc]
        (lambda: Timeouts(5), r"such as Timeouts\(open_timeout=5\); it has open_timeout, close_timeout"),  # type: ignore[misc]
        (lambda: Compression(6), r"such as Compression\(level=6\)"),  # type: ignore[misc]
        (lambda: App().room("a", history="50"), r"history must be a whole number, such as history=50, not str"),  # type: ignore[arg-type]
        (lambda: App().room("a", history="some"), r"history must be a whole number, not str: 'some'"),  # type: ignore[arg-type]
        (lambda: App(open_timeout=3), r"App\(\) has no option 'open_timeout': write timeouts=Timeouts\(open_timeout"),  # type: ignore[call-arg]
        (lambda: App(origin="*"), r"App\(\) has no option 'origin': did you mean 'origins'"),  # type: ignore[call-arg]
        (lambda: WebSocketException("bye"), "a close code is a whole number such as 1000, not 'bye'"),  # type: ignore[arg-type]
        (lambda: App().run(8000), "host takes a name .*, not 8000: a port is given as port="),  # type: ignore[arg-type]
    ],
)
def test_option_of_wrong_form_is_a_type_error_with_right_one(call: Callable[[], Any], message: str) -> None:
    with pytest.raises(TypeError, match=message):
        call()


def test_host_with_port_is_refused_with_both_apart() -> None:
    with pytest.raises(ValueError, match=r"host takes no port: write host='127.0.0.1', port=8000"):
        App().run("127.0.0.1:8000", 0)


# --- URLs ------------------------------------------------------------------------------------------------------------


MALFORMED = r"URL|host|port"


@pytest.mark.parametrize(
    "url", ["localhost:8000", "ws//x", "ws://", "ws://x:99999/", "ws://x/#f", "ftp://x/", "ws://a b/"]
)
async def test_malformed_url_is_a_value_error_everywhere(url: str) -> None:
    """It is never a ConnectError: no attempt is made; reconnect, too, says so when it is called."""
    with pytest.raises(ValueError, match=MALFORMED):
        async with open_websocket(url):
            pass
    with pytest.raises(ValueError, match=MALFORMED):
        reconnect(url)
    with pytest.raises(ValueError, match=MALFORMED):
        async for _ in reconnect(lambda: url):
            pass
    async with App().test_client() as client:
        with pytest.raises(ValueError, match=MALFORMED):
            async with client.websocket_connect(url):
                pass


# --- the wrong event loop --------------------------------------------------------------------------------------------


async def _connect() -> None:
    async with open_websocket("ws://127.0.0.1:1/"):
        pass


@pytest.mark.parametrize(
    "main",
    [
        lambda: App().serve("127.0.0.1", 0),
        lambda: serve_websocket(WebSocket.receive, "127.0.0.1", 0),
        _connect,
    ],
)
def test_asyncio_is_refused_with_the_way_under_trio(main: Callable[[], Any]) -> None:
    with pytest.raises(RuntimeError, match=r"runs under Trio, not asyncio: write `trio.run\(main\)`"):
        asyncio.run(main())


async def test_run_within_trio_is_refused_with_serve() -> None:
    with pytest.raises(RuntimeError, match=r"app.run\(\) starts Trio itself: in async code, `await app.serve\(\)`"):
        App().run("127.0.0.1", 0)


# --- in handlers -----------------------------------------------------------------------------------------------------


async def failure_of(view: Callable[..., Any], **options: Any) -> Exception:
    """Return the error that a client of the test kit gets for a view's."""
    app = App()
    app.websocket("/", **options)(view)
    with pytest.raises((TypeError, RuntimeError, AttributeError)) as caught:
        async with app.test_client() as client, client.websocket_connect("/") as ws:
            await ws.receive()
    return caught.value


def _sends(method: str, *arguments: Any) -> Callable[..., Any]:
    async def view(ws: WebSocket) -> None:
        await getattr(ws, method)(*arguments)

    return view


@pytest.mark.parametrize(
    ("view", "message"),
    [
        (_sends("send", {"a": 1}), "not dict: send_json() sends values"),
        (_sends("send_text", b"x"), "a text message is str, not bytes: send_bytes() sends it"),
        (_sends("send_text", {}), "a text message is str, not dict: send_json() sends it as JSON"),
        (_sends("send_bytes", "x"), "a binary message is bytes, not str: send_text() sends it"),
        (_sends("close", "bye"), "a close code is a whole number such as 1000, not 'bye': the reason comes second"),
        (_sends("close", 1000, 7), "a close reason is text, not 7"),
    ],
)
async def test_message_of_wrong_type_has_an_error_with_the_right_call(view: Callable[..., Any], message: str) -> None:
    assert message in str(await failure_of(view))


async def _allowed(context: Any) -> bool:
    return True


async def _unawaited(context: Any) -> Any:
    return _allowed(context)


def _silent(context: Any) -> None: ...


@pytest.mark.parametrize(
    ("guard", "message"), [(_unawaited, "not a coroutine: await .*_allowed in it"), (_silent, "not None: does it end")]
)
async def test_guard_without_await_or_return_is_explained(guard: Any, message: str) -> None:
    error = await failure_of(functools.partial(_coroutine), guards=[guard])
    with pytest.raises(TypeError, match=message):
        raise error


async def test_result_of_a_view_is_a_warning(caplog) -> None:
    async def view(ws: WebSocket) -> dict[str, int]:
        return {"a": 1}

    async with app_of(view).test_client() as client, client.websocket_connect("/", caught_close_codes=all) as ws:
        async for _ in ws:
            pass
    (record,) = [each for each in caplog.records if each.levelno == logging.WARNING]
    assert record.msg == "%s: %s returned %s, which is not sent: send() it, or register it with @app.listener()"
    assert "view returned dict, which is not sent" in record.message
