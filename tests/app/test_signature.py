"""Plan: where each parameter comes from, and what is refused at registration, with the fix in the message."""

# Markers are calls in defaults: that is what they are for.

from __future__ import annotations

import functools
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from types import MethodType
from typing import TYPE_CHECKING, Annotated, Any, Literal
from uuid import UUID

import attrs
import pytest
from pydantic import BaseModel, Field, Json

from trio_ws.app.errors import RegistrationError
from trio_ws.app.parameters.markers import MISSING, Body, Cookie, Depends, Form, Header, Path, Query, WsBody
from trio_ws.app.parameters.signature import Parameter, ParameterSource, Signature
from trio_ws.app.path import Converter, PathPattern
from trio_ws.http.request import Request
from trio_ws.websocket.websocket import WebSocket

if TYPE_CHECKING:
    from trio_ws.websocket.websocket import WebSocket as Hidden


def sources(function: Any, **options: Any) -> dict[str, str]:
    return {each.name: each.source.value for each in Signature.of(function, **options).parameters}


def parameter(function: Any, name: str, **options: Any) -> Parameter:
    return next(each for each in Signature.of(function, **options).parameters if each.name == name)


def refusal(function: Any, **options: Any) -> str:
    with pytest.raises(RegistrationError) as caught:
        Signature.of(function, **options)
    return str(caught.value)


# --- the connection and the request ------------------------------------------------------------------------------


def test_a_function_may_take_nothing() -> None:
    assert sources(lambda: None) == {}


def test_connection_parameter_is_found_by_annotation_anywhere() -> None:
    """The connection is found by annotation wherever it stands."""

    def view(n: int, *, socket: WebSocket) -> None: ...

    assert sources(view) == {"n": "query", "socket": "connection"}


def test_the_request_is_found_by_annotation() -> None:
    def view(asked: Request) -> None: ...

    assert sources(view) == {"asked": "request"}


@pytest.mark.parametrize("view", [lambda ws: None, lambda connection: None, lambda anything, /: None])
def test_first_unannotated_parameter_is_the_connection(view: Any) -> None:
    """A first parameter without annotation is the connection whatever its name."""
    assert list(sources(view).values()) == ["connection"]


def test_a_second_parameter_without_annotation_is_the_request() -> None:
    """As Cello's documents have it."""
    assert sources(lambda ws, request: None) == {"ws": "connection", "request": "request"}


def test_request_is_second_behind_an_annotated_connection() -> None:
    """The request comes second behind an annotated connection too."""

    def view(ws: WebSocket, req) -> None: ...  # type: ignore[no-untyped-def]

    assert sources(view) == {"ws": "connection", "req": "request"}


def test_unannotated_parameter_in_the_path_is_a_path_parameter() -> None:
    """A parameter without annotation that is named in the path is of the path."""
    assert sources(lambda ws, room: None, path_names={"room"}) == {"ws": "connection", "room": "path"}
    assert sources(lambda room: None, path_names={"room"}) == {"room": "path"}


# --- the path and the query --------------------------------------------------------------------------------------


def test_names_in_the_path_are_path_others_query_parameters() -> None:
    """Names of the path are of the path and others of the query."""

    def chat(ws, channel: str, anonymous: bool = False) -> None: ...  # type: ignore[no-untyped-def]

    assert sources(chat, path_names={"channel"}) == {"ws": "connection", "channel": "path", "anonymous": "query"}


def test_a_name_of_the_path_need_not_be_taken() -> None:
    assert sources(lambda ws: None, path_names={"channel"}) == {"ws": "connection"}


def test_a_query_parameter_without_default_is_required() -> None:
    def view(n: int, m: int = 5) -> None: ...

    assert (parameter(view, "n").default, parameter(view, "m").default) == (MISSING, 5)


def test_an_optional_query_parameter_without_default_is_none() -> None:
    def view(n: int | None, m: Annotated[str | None, Header()]) -> None: ...

    assert (parameter(view, "n").default, parameter(view, "m").default) == (None, None)


@pytest.mark.parametrize(
    ("default", "raw", "value"), [(1, "2", 2), (1.5, "2", 2.0), (False, "on", True), ("", "x", "x")]
)
def test_a_default_says_the_type_where_there_is_no_annotation(default: Any, raw: str, value: Any) -> None:
    def view(ws, n=default) -> None: ...  # type: ignore[no-untyped-def]

    found = parameter(view, "n")
    assert (found.source, found.default) == (ParameterSource.QUERY, default)
    assert found.validator is not None
    assert found.validator.from_strings([raw]) == value


def test_a_default_of_none_says_no_type() -> None:
    assert parameter(lambda ws, n=None: None, "n").validator is None


def test_path_types_are_checked_against_annotations() -> None:
    """Path types may be given and are checked against annotations."""
    types = PathPattern("/{n:int}/{u:uuid}/{s}/{x:own}", {"own": Converter(regex=".+", convert=list)}).types

    def fits(n: int, u: UUID, s: int, x: str) -> None: ...
    def wider(n: float, u: object, s: Literal["a"]) -> None: ...
    def wrong(n: str) -> None: ...

    assert set(sources(fits, path_names=types).values()) == {"path"}
    assert set(sources(wider, path_names=types).values()) == {"path"}
    assert "parameter 'n': the path makes {n} int, not str: annotate it so" in refusal(wrong, path_names=types)


# --- markers -----------------------------------------------------------------------------------------------------


def test_markers_as_defaults_and_in_annotations_mean_the_same() -> None:
    def as_defaults(
        q: str = Query("John", description="who"), h: str = Header(), c: str = Cookie(None), p: int = Path(alias="room")
    ) -> None: ...

    def in_annotations(
        q: Annotated[str, Query(description="who")] = "John",
        h: Annotated[str, Header()] = MISSING,  # type: ignore[assignment]
        c: Annotated[str | None, Cookie()] = None,
        p: Annotated[int, Path(alias="room")] = MISSING,  # type: ignore[assignment]
    ) -> None: ...

    for view in (as_defaults, in_annotations):
        found = Signature.of(view, path_names={"room"}).parameters
        assert [(each.source.value, each.key, each.default) for each in found] == [
            ("query", "q", "John"),
            ("header", "h", MISSING),
            ("cookie", "c", None),
            ("path", "room", MISSING),
        ]
        assert found[0].description == "who"


def test_a_header_is_named_with_hyphens_unless_it_has_an_alias() -> None:
    def view(x_token: str = Header(), other: str = Header(alias="x_odd")) -> None: ...

    assert (parameter(view, "x_token").key, parameter(view, "other").key) == ("x-token", "x_odd")


def test_an_alias_is_the_name_in_the_source() -> None:
    def view(q: int = Query(alias="page-number"), c: str = Cookie(alias="sid")) -> None: ...

    assert (parameter(view, "q").key, parameter(view, "c").key) == ("page-number", "sid")


def test_metadata_of_others_stays_in_the_annotation() -> None:
    def view(n: Annotated[int, Query(), Field(gt=3)]) -> None: ...

    found = parameter(view, "n")
    assert found.validator is not None
    with pytest.raises(Exception, match="greater than 3"):
        found.validator.from_strings(["3"])


def test_a_marker_outranks_the_path_and_the_caller() -> None:
    def view(code: int = Query(), room: int = Query()) -> None: ...

    assert sources(view, path_names={"room"}, provided={"code"}) == {"code": "query", "room": "query"}


# --- what the caller provides ------------------------------------------------------------------------------------


def test_names_that_the_caller_provides_are_left_to_it() -> None:
    def on_disconnect(ws, code) -> None: ...  # type: ignore[no-untyped-def]
    def only_code(code: int) -> None: ...
    def on_message(ws: WebSocket, data: dict[str, int] = WsBody()) -> None: ...

    assert sources(on_disconnect, provided={"code"}) == {"ws": "connection", "code": "provided"}
    assert sources(only_code, provided={"code"}) == {"code": "provided"}
    assert sources(on_message, provided={"data"}) == {"data": "provided", "ws": "connection"}


def test_provided_parameter_may_have_unresolvable_annotation() -> None:
    """What the caller provides may have an annotation that nobody knows."""

    def on_message(data: Nowhere) -> None: ...  # type: ignore[name-defined]  # noqa: F821

    assert sources(on_message, provided={"data"}) == {"data": "provided"}


def test_provided_classes_match_by_annotation_in_dependencies() -> None:
    """Classes whose instances the caller has are found by annotation in dependencies too."""

    class App: ...

    def load(app: App) -> None: ...
    def view(it: App, loaded: Annotated[int, Depends(load)]) -> None: ...

    signature = Signature.of(view, types={App: "app"})
    assert [(each.source, each.key) for each in signature.flat()] == [
        (ParameterSource.PROVIDED, "app"),
        (ParameterSource.DEPENDENCY, "loaded"),
        (ParameterSource.PROVIDED, "app"),
    ]


def test_keyword_arguments_of_any_name_are_the_rest_of_the_path() -> None:
    def view(ws, **params: Any) -> None: ...  # type: ignore[no-untyped-def]

    assert sources(view, path_names={"a"}) == {"ws": "connection", "params": "path_rest"}


# --- callables of every kind -------------------------------------------------------------------------------------


class Controller:
    async def chat(self, ws: WebSocket, n: int) -> None: ...

    @classmethod
    def of_class(cls, n: int) -> None: ...

    @staticmethod
    def of_none(n: int) -> None: ...

    def __call__(self, ws, n: int) -> None: ...  # type: ignore[no-untyped-def]


def test_bound_methods_are_planned_without_their_instance() -> None:
    assert sources(Controller().chat) == {"ws": "connection", "n": "query"}
    assert sources(Controller.of_class) == {"n": "query"}
    assert sources(Controller.of_none) == {"n": "query"}
    assert sources(MethodType(Controller.chat, object())) == {"ws": "connection", "n": "query"}


def test_objects_that_can_be_called_are_planned() -> None:
    assert sources(Controller()) == {"ws": "connection", "n": "query"}


def test_what_a_partial_has_filled_is_left_out() -> None:
    def view(ws: WebSocket, a: int, b: int, c: int) -> None: ...

    signature = Signature.of(functools.partial(functools.partial(view, b=1), c=2))
    assert [(each.name, each.by_position) for each in signature.parameters] == [("ws", True), ("a", True)]
    assert sources(functools.partial(view, None)) == {"a": "query", "b": "query", "c": "query"}


def logged(function: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(function)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        return function(*args, **kwargs)

    return wrapper


def test_wraps_decorator_exposes_parameters_of_its_function() -> None:
    """A decorator that uses wraps shows the parameters of its function."""

    @logged
    @logged
    def view(ws: WebSocket, n: int) -> None: ...

    assert sources(view) == {"ws": "connection", "n": "query"}


def test_class_signature_is_that_of_its_constructor() -> None:
    """Of a class the parameters of its constructor are planned."""

    class Plain:
        def __init__(self, ws: WebSocket, n: int) -> None: ...

    class Derived(Plain): ...

    class Made:
        def __new__(cls, n: int) -> Made:
            return super().__new__(cls)

    @dataclass
    class Data:
        ws: WebSocket
        n: int = 1

    @attrs.define
    class Attrs:
        ws: WebSocket
        n: Annotated[int, Query()] = 1

    for kind in (Plain, Derived, Data, Attrs):
        assert sources(kind) == {"ws": "connection", "n": "query"}
    assert sources(Made) == {"n": "query"}


def test_a_model_of_pydantic_is_planned_by_its_fields() -> None:
    class Page(BaseModel):
        number: int = 1
        size: int = 10

    assert sources(Page) == {"number": "query", "size": "query"}


def test_positional_and_keyword_only_parameters_are_filled() -> None:
    """Parameters that are positional only are filled by position and keyword only ones by keyword."""

    def view(ws, /, n: int, *, m: int) -> None: ...  # type: ignore[no-untyped-def]

    assert [each.by_position for each in Signature.of(view).parameters] == [True, True, False]


# --- annotations that are strings --------------------------------------------------------------------------------


def test_a_local_class_is_resolved_while_its_function_runs() -> None:
    class Local(BaseModel):
        n: int

    def view(local: Json[Local]) -> None: ...

    found = parameter(view, "local").validator
    assert found is not None
    assert found.from_strings(['{"n": 1}']) == Local(n=1)


def test_a_local_class_that_a_closure_uses_is_resolved_later_too() -> None:
    def make() -> Callable[..., Any]:
        class Local(BaseModel):
            n: int

        def view(local: Json[Local]) -> Any:
            return Local

        return view

    assert sources(make()) == {"local": "query"}


def test_unassigned_closure_variable_does_not_prevent_planning() -> None:
    """A variable of a closure that is not assigned yet does not disturb."""

    def view(n: int) -> Any:
        return later

    assert sources(view) == {"n": "query"}
    later = None


def test_the_inner_of_two_variables_of_one_name_counts() -> None:
    Kind = int  # noqa: N806

    def inner() -> dict[str, str]:
        Kind = WebSocket  # noqa: N806

        def view(it: Kind) -> None: ...  # type: ignore[valid-type]

        return sources(view)

    assert inner() == {"it": "connection"}
    assert Kind is int


def test_class_body_names_resolve_during_and_after_creation() -> None:
    """Names in a class body are resolved while it is made and afterwards."""
    planned = []

    class Local:
        Number = int

        def early(self, n: Number) -> None: ...  # type: ignore[valid-type]

        planned.append(sources(MethodType(early, object())))

    assert planned == [{"n": "query"}]
    assert sources(Chatty().late) == {"n": "query", "names": "query"}


class Chatty:
    Number = int

    def late(self, n: Number, names: list[str]) -> None: ...

    def list(self) -> None: ...


def test_connection_imported_for_type_checking_is_found_by_name() -> None:
    """The connection is known by name if it was imported for type checkers only."""
    namespace: dict[str, Any] = {"__name__": "elsewhere"}
    exec("from __future__ import annotations\ndef view(ws: WebSocket, request: Request, n: int): ...", namespace)
    assert sources(namespace["view"]) == {"ws": "connection", "request": "request", "n": "query"}


def test_unresolvable_annotation_is_refused_with_the_fix() -> None:
    """An annotation that cannot be resolved is refused with the fix."""

    def view(ws: Hidden) -> None: ...

    message = refusal(view)
    assert "test_signature.test_unresolvable_annotation_is_refused" in message
    assert "parameter 'ws': its annotation 'Hidden' cannot be resolved (name 'Hidden' is not defined)" in message
    assert "not under TYPE_CHECKING only" in message


# --- dependencies ------------------------------------------------------------------------------------------------


def test_a_dependency_is_planned_with_its_own_parameters() -> None:
    def load(ws: WebSocket, channel: str, n: int) -> None: ...
    def view(loaded: int = Depends(load, use_cache=False)) -> None: ...

    found = parameter(view, "loaded", path_names={"channel"}).dependency
    assert found is not None
    assert not found.use_cache
    assert [each.source.value for each in found.signature.parameters] == ["connection", "path", "query"]


def test_depends_without_function_uses_class_of_annotation() -> None:
    """Depends without a function is the class of the annotation."""

    class Service:
        def __init__(self, n: int) -> None: ...

    def view(service: Annotated[Service, Depends()]) -> None: ...

    found = parameter(view, "service").dependency
    assert found is not None
    assert found.signature.function is Service


def test_depends_without_function_and_class_is_refused() -> None:
    """Depends without a function and without a class is refused."""
    assert "wants a class as annotation" in refusal(lambda x=Depends(): None)


def test_what_is_entered_is_made_for_it() -> None:
    def bare() -> Iterator[int]:
        yield 1

    async def bare_async() -> AsyncIterator[int]:
        yield 1

    class Both:
        async def __aenter__(self) -> None: ...
        async def __aexit__(self, *_: object) -> None: ...

    class Blocking:
        def __enter__(self) -> None: ...
        def __exit__(self, *_: object) -> None: ...

    def of_somebody_else() -> Both:
        return Both()

    def entered(function: Any) -> bool:
        found = parameter(lambda x=Depends(function): None, "x").dependency
        assert found is not None
        return found.entered

    made = [bare, bare_async, contextmanager(bare), asynccontextmanager(bare_async), Both, Blocking]
    assert all(map(entered, made))
    assert entered(functools.partial(bare_async))
    assert not any(map(entered, [of_somebody_else, len, Controller, Controller()]))


def test_a_circle_of_dependencies_is_refused_with_its_way() -> None:
    def one(x: Annotated[int, Depends(lambda: two)]) -> None: ...
    def two(x: Annotated[int, Depends(one)]) -> None: ...

    one.__annotations__["x"] = Annotated[int, Depends(two)]

    def view(x: Annotated[int, Depends(one)]) -> None: ...

    message = refusal(view)
    assert "it depends on itself: " in message
    assert message.rpartition("itself: ")[2].count(" -> ") == 2
    assert [part.rpartition(".")[2] for part in message.rpartition("itself: ")[2].split(" -> ")] == [
        "one",
        "two",
        "one",
    ]


def test_two_ways_to_one_dependency_are_no_circle() -> None:
    def base() -> None: ...
    def left(b: Annotated[int, Depends(base)]) -> None: ...
    def right(b: Annotated[int, Depends(base)]) -> None: ...
    def view(x: Annotated[int, Depends(left)], y: Annotated[int, Depends(right)]) -> None: ...

    assert [each.name for each in Signature.of(view).flat()] == ["x", "b", "y", "b"]


def test_a_problem_in_a_dependency_names_the_way_to_it() -> None:
    def load(ws, request, what) -> None: ...  # type: ignore[no-untyped-def]
    def view(loaded: Annotated[int, Depends(load)]) -> None: ...

    message = refusal(view, where="route '/x'")
    assert message.startswith("route '/x': ")
    assert "view: parameter 'loaded' depends on " in message
    assert "load: parameter 'what': nothing provides it" in message


# --- refusals ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (lambda ws, request, what: None, "parameter 'what': nothing provides it: annotate it or give it a default"),
        (lambda ws, *, what: None, "parameter 'what': nothing provides it"),
        (lambda *args: None, "parameter '*args': nothing can be put into it: name each parameter"),
        (lambda *args: None, "functools.wraps"),
        (lambda self, ws: None, "parameter 'self': it is a method: make its class a controller"),
        (lambda x=Body(): None, "parameter 'x': the request for a WebSocket has no body: Body() is WsBody()"),
        (lambda x=Form(): None, "parameter 'x': the request for a WebSocket has no body: Form() is WsBody()"),
        (lambda x=WsBody(): None, "parameter 'x': only a listener's function for messages takes a WsBody()"),
        (lambda x=Path(): None, "parameter 'x': the path has no {x}: it has {room}"),
        (lambda room=Depends(5): None, "it cannot be called: give the function itself, not what it returns"),
        (5, "it cannot be called"),
        (None, "it cannot be called"),
    ],
)
def test_what_cannot_work_is_refused_with_the_fix(function: Any, message: str) -> None:
    assert message in refusal(function, path_names={"room"})


def test_a_path_without_parameters_is_said_to_have_none() -> None:
    assert "the path has no {x}: it has no parameters" in refusal(lambda x=Path(): None)


def test_a_builtin_whose_parameters_cannot_be_read_is_refused() -> None:
    assert "type: its parameters cannot be read: wrap it in a function of your own" in refusal(type)


def test_two_markers_or_two_defaults_are_refused() -> None:
    def in_annotation(x: Annotated[int, Query(), Header()]) -> None: ...
    def in_both(x: Annotated[int, Query()] = Header()) -> None: ...
    def defaults(x: Annotated[int, Query(1)] = 2) -> None: ...
    def never_used(x: Annotated[int, Depends(len)] = 2) -> None: ...

    assert "more than one marker" in refusal(in_annotation)
    assert "a marker in its annotation and one as default" in refusal(in_both)
    assert "two defaults: leave the one behind the equals sign" in refusal(defaults)
    assert "leave the default out" in refusal(never_used)


def test_a_class_that_no_text_becomes_is_refused_with_the_fix() -> None:
    class Database: ...

    def view(db: Database) -> None: ...

    message = refusal(view)
    assert message.startswith(f"{__name__}.test_a_class_that_no_text_becomes")
    assert "view: parameter 'db': nothing that a client sends can be made into" in message
    assert "or let Depends(...) provide it" in message


def test_body_marker_where_only_text_is_possible_is_refused() -> None:
    """A body where only text can come from is refused with the fix."""

    class Chat(BaseModel):
        message: str

    def view(chat: Chat) -> None: ...

    assert "view: parameter 'chat': Chat is made of several values: let Depends() make it" in refusal(view)


def test_a_plan_is_labelled_with_module_and_name() -> None:
    assert Signature.of(Controller().chat).label == f"{__name__}.Controller.chat"
    assert Signature.of(functools.partial(Controller.of_none)).label == f"{__name__}.Controller.of_none"
    assert Signature.of(Controller()).label == f"{__name__}.Controller"
