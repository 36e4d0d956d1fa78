"""Resolver: what functions are called with; all problems at once; dependencies, once each, unwound at the end."""

# Markers are calls in defaults: that is what they are for.

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Annotated, Any
from urllib.parse import quote

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st
from support.handlers import noted_when_cancelled
from support.internals import internal

from trio_ws.app.errors import ErrorDetail, ParameterError
from trio_ws.app.parameters.dependencies import Resolver
from trio_ws.app.parameters.markers import Cookie, Depends, Header, Path, Query
from trio_ws.app.parameters.signature import Signature
from trio_ws.app.path import PathPattern
from trio_ws.headers import Headers
from trio_ws.http import request as request_module
from trio_ws.http.request import Request
from trio_ws.http.url import QueryParameters
from trio_ws.websocket.websocket import WebSocket


def a_request(target: str = "/", *headers: tuple[str, str], **path: Any) -> Request:
    return Request(target=target, headers=Headers([("host", "localhost"), *headers]), path_parameters=path)


def a_resolver(request: Request | None = None, app: object = None) -> Resolver:
    request = request or a_request()
    return Resolver(request, WebSocket(request), app)


async def call(function: Any, resolver: Resolver | None = None, **provided: Any) -> Any:
    resolver = resolver or a_resolver()
    signature = Signature.of(
        function, path_names=internal(resolver, "_request").path_parameters.keys(), provided=provided.keys()
    )
    args, kwargs = await resolver.arguments(signature, **provided)
    return function(*args, **kwargs)


# --- values of the request ---------------------------------------------------------------------------------------


async def test_values_come_from_where_the_plan_says() -> None:
    def view(
        ws: WebSocket,
        request: Request,
        /,
        room: int,
        n: int,
        *,
        tags: list[str],
        x_token: str = Header(),
        agents: list[str] = Header(alias="x-agent"),
        sid: str = Cookie(),
        lost: str = Cookie("none"),
    ) -> Any:
        return ws, request, room, n, tags, x_token, agents, sid, lost

    headers = [("X-Token", "one"), ("X-Token", "two"), ("X-Agent", "a"), ("X-Agent", "b"), ("Cookie", "sid=5")]
    request = a_request("/?n=1&tags=a&n=2&tags=b", *headers, room="7")
    resolver = a_resolver(request)
    found = await call(view, resolver)
    assert found == (internal(resolver, "_websocket"), request, 7, 2, ["a", "b"], "one", ["a", "b"], "5", "none")


async def test_a_value_that_does_not_come_is_its_default() -> None:
    assert await call(lambda ws, n=5: n) == 5
    assert await call(lambda ws, n=None: n, a_resolver(a_request("/?n=x"))) == "x"


async def test_an_empty_value_came() -> None:
    assert await call(lambda ws, s="default": s, a_resolver(a_request("/?s="))) == ""


async def test_a_mutable_default_belongs_to_one_connection() -> None:
    def view(tags: list[str] = []) -> list[str]:  # noqa: B006
        tags.append("x")
        return tags

    assert await call(view) == ["x"]
    assert await call(view) == ["x"]


async def test_converted_path_value_is_passed_on_or_validated() -> None:
    """A value that the path converted is taken as it is or validated."""
    values = PathPattern("/{n:int}/{m:int}").match("/1/2") or {}
    assert await call(lambda n: n, a_resolver(a_request(**values))) == 1

    def floating(n: float, m: Annotated[int, Path()]) -> Any:
        return n, m

    found = await call(floating, a_resolver(a_request(**values)))
    assert found == (1.0, 2)
    assert type(found[0]) is float


async def test_all_problems_are_told_at_once_those_of_dependencies_too() -> None:
    def user(token: Annotated[str, Header(alias="X-Token")]) -> str:
        raise AssertionError("it is not called")

    def view(
        who: Annotated[str, Depends(user)], n: int, tags: list[int], sid: Annotated[int, Cookie()], room: int
    ) -> None: ...

    request = a_request("/?n=x&tags=1&tags=y", room="cats")
    with pytest.raises(ParameterError) as caught:
        await call(view, a_resolver(request))
    assert [(each.loc, each.type) for each in caught.value.errors] == [
        (("header", "X-Token"), "missing"),
        (("query", "n"), "int_parsing"),
        (("query", "tags", 1), "int_parsing"),
        (("cookie", "sid"), "missing"),
        (("path", "room"), "int_parsing"),
    ]
    assert caught.value.errors[0] == ErrorDetail(("header", "X-Token"), "missing", "Field required")


async def test_plans_converted_together_report_each_problem_once() -> None:
    """Several plans are converted together and one problem is told once."""

    def user(token: str) -> None: ...
    def guard(u: Annotated[str, Depends(user)]) -> None: ...
    def view(u: Annotated[str, Depends(user)], n: int) -> None: ...

    with pytest.raises(ParameterError) as caught:
        a_resolver().convert(Signature.of(guard), Signature.of(view))
    assert [each.loc for each in caught.value.errors] == [("query", "token"), ("query", "n")]


async def test_converting_returns_the_values_of_the_functions_by_name() -> None:
    def user(token: str = "") -> None: ...
    def view(ws: WebSocket, u: Annotated[str, Depends(user)], n: int, room: str) -> None: ...

    resolver = a_resolver(a_request("/?n=1", room="cats"))
    assert resolver.convert(Signature.of(view, path_names={"room"})) == {"n": 1, "room": "cats"}


async def test_a_text_is_converted_once() -> None:
    calls = []

    class Counted:
        @classmethod
        def __get_pydantic_core_schema__(cls, *_: object) -> Any:
            from pydantic_core import core_schema

            return core_schema.no_info_plain_validator_function(lambda text: calls.append(text) or cls())

    def view(it: Counted) -> Counted:
        return it

    resolver, signature = a_resolver(a_request("/?it=x")), Signature.of(view)
    resolver.convert(signature)
    resolver.convert(signature)
    (first,), _ = await resolver.arguments(signature)
    (second,), _ = await resolver.arguments(signature)
    assert (calls, first is second) == (["x"], True)


def view_of_everything(  # noqa: PLR0917
    a: int,
    b: float | None,
    c: list[int],
    d: Annotated[bool, Query(alias="e")],
    f: Annotated[list[str], Header()],
    g: Annotated[int, Cookie()],
    h: Annotated[str, Header(alias="x-h")] = "",
) -> None: ...


EVERYTHING = Signature.of(view_of_everything)


@given(st.text() | st.lists(st.tuples(st.sampled_from("abcdeg"), st.text())), st.text(st.characters(max_codepoint=255)))
def test_arbitrary_queries_raise_only_parameter_error(query: Any, header: str) -> None:
    """Whatever query comes nothing but ParameterError is raised."""
    if not isinstance(query, str):
        query = "&".join(f"{name}={quote(value, errors='replace')}" for name, value in query)
    request = a_request(f"/?{query}", ("cookie", f"g={header}"), ("f", header), ("x-h", header))
    try:
        found = a_resolver(request).convert(EVERYTHING)
    except ParameterError as error:
        assert {problem.loc[0] for problem in error.errors} <= {"query", "header", "cookie"}  # noqa: PT017 - some only
    else:
        assert list(map(type, found.values())) == [int, type(found["b"]), list, bool, list, int, str]


# --- what the caller provides ------------------------------------------------------------------------------------


async def test_what_the_caller_provides_is_put_in_by_name() -> None:
    def on_disconnect(ws: WebSocket, code: int, *, data: str) -> Any:
        return code, data

    assert await call(on_disconnect, code=1000, data="x") == (1000, "x")


async def test_what_the_function_does_not_take_is_left_out() -> None:
    signature = Signature.of(lambda: None, provided={"code"})
    assert await a_resolver().arguments(signature, code=1000) == ([], {})


async def test_resolved_arguments_are_filled_with_provided_values() -> None:
    """The rest can be found first and what is provided put in often."""
    calls = []

    def user() -> str:
        calls.append("user")
        return "ada"

    def on_message(data: str, who: Annotated[str, Depends(user)]) -> None: ...

    arguments = await a_resolver().resolve(Signature.of(on_message, provided={"data"}))
    assert arguments.fill(data="one") == (["one", "ada"], {})
    assert arguments.fill(data="two") == (["two", "ada"], {})
    assert calls == ["user"]


async def test_a_name_that_the_caller_gives_stands_for_any_parameter() -> None:
    """A blocking view gets another connection than an async one."""
    assert await a_resolver().arguments(Signature.of(lambda ws, n=1: None), ws="other", n=5) == (["other", 5], {})


async def test_missing_provided_value_is_an_error_that_names_it() -> None:
    """What is counted on and not provided is an error that names it."""
    signature = Signature.of(lambda code: None, provided={"code"})
    with pytest.raises(TypeError, match=r"<lambda> is called without 'code'"):
        await a_resolver().arguments(signature)


async def test_a_provided_parameter_may_have_a_default() -> None:
    signature = Signature.of(lambda ws, code=7: None, provided={"code"})
    args, _ = await a_resolver().arguments(signature)
    assert args[1] == 7


async def test_application_is_injected_by_annotation_of_its_class() -> None:
    """The application is given to whoever is annotated with its class."""

    class App: ...

    def load(app: App) -> App:
        return app

    def view(it: App, loaded: Annotated[App, Depends(load)]) -> None: ...

    app = App()
    args, _ = await a_resolver(app=app).arguments(Signature.of(view, types={App: "app"}))
    assert args == [app, app]


async def test_var_keyword_takes_the_remaining_path_parameters() -> None:
    """Keyword arguments of any name are the path parameters that are left."""

    def view(a: str, aliased: str = Path(alias="b"), **params: Any) -> Any:
        return a, aliased, params

    assert await call(view, a_resolver(a_request(a="1", b="2", c="3", d=4))) == ("1", "2", {"c": "3", "d": 4})


# --- dependencies ------------------------------------------------------------------------------------------------


class Log(list[str]):
    """What happened, and dependencies that write it."""

    @asynccontextmanager
    async def decorated_async(self) -> AsyncIterator[str]:
        self.append("enter")
        yield "value"
        self.append("leave")

    async def bare_async(self) -> AsyncIterator[str]:
        self.append("enter")
        yield "value"
        self.append("leave")

    @contextmanager
    def decorated(self) -> Iterator[str]:
        self.append("enter")
        yield "value"
        self.append("leave")

    def bare(self) -> Iterator[str]:
        self.append("enter")
        yield "value"
        self.append("leave")


@pytest.mark.parametrize("kind", ["decorated_async", "bare_async", "decorated", "bare"])
async def test_a_generator_lasts_as_long_as_the_connection(kind: str) -> None:
    log = Log()

    def view(x: Any = Depends(getattr(log, kind))) -> Any:
        return x

    async with a_resolver() as resolver:
        assert await call(view, resolver) == "value"
        assert log == ["enter"]
    assert log == ["enter", "leave"]


async def test_async_dependency_is_awaited_and_plain_one_called() -> None:
    """An async dependency is awaited and a plain one is called."""

    async def slow() -> str:
        await trio.lowlevel.checkpoint()
        return "slow"

    def list_of() -> list[int]:
        return []

    def view(
        a: Annotated[str, Depends(slow)],
        b: Annotated[str, Depends(lambda: "plain")],
        c: Annotated[Any, Depends(list_of)],
    ) -> Any:
        return a, b, c

    assert await call(view) == ("slow", "plain", [])


async def test_a_class_that_is_a_context_is_entered_and_left() -> None:
    log = []

    class Session:
        def __init__(self, n: int = 1) -> None:
            self.n = n

        async def __aenter__(self) -> Session:
            log.append("enter")
            return self

        async def __aexit__(self, *_: object) -> None:
            log.append("leave")

    class Blocking:
        def __enter__(self) -> str:
            log.append("enter blocking")
            return "blocking"

        def __exit__(self, *_: object) -> None:
            log.append("leave blocking")

    def view(session: Annotated[Session, Depends()], b: Annotated[Any, Depends(Blocking)]) -> Any:
        return session.n, b

    async with a_resolver(a_request("/?n=5")) as resolver:
        assert await call(view, resolver) == (5, "blocking")
    assert log == ["enter", "enter blocking", "leave blocking", "leave"]


async def test_a_context_that_a_function_returns_is_not_entered() -> None:
    """It may be one that all connections share."""
    shared = trio.Lock()

    def view(lock: Annotated[Any, Depends(lambda: shared)]) -> Any:
        return lock

    async with a_resolver() as resolver:
        assert await call(view, resolver) is shared
        assert not shared.locked()


async def test_dependency_is_called_once_per_connection_by_default() -> None:
    """A dependency is called once for a connection unless it says otherwise."""
    calls = []

    def counted() -> int:
        calls.append(None)
        return len(calls)

    def sub(x: Annotated[int, Depends(counted)]) -> int:
        return x

    def view(
        a: Annotated[int, Depends(counted)],
        b: Annotated[int, Depends(sub)],
        c: Annotated[int, Depends(counted, use_cache=False)],
        d: Annotated[int, Depends(counted, use_cache=False)],
    ) -> Any:
        return a, b, c, d

    resolver = a_resolver()
    assert await call(view, resolver) == (1, 1, 2, 3)
    assert await call(lambda x=Depends(counted): x, resolver) == 1
    assert await call(lambda x=Depends(counted): x) == 4


async def test_a_dependency_without_a_hash_is_known_by_identity() -> None:
    calls: list[int] = []

    class Callable:
        __hash__ = None  # type: ignore[assignment]

        def __call__(self) -> int:
            calls.append(1)
            return len(calls)

    one, other = Callable(), Callable()

    def view(a: int = Depends(one), b: int = Depends(one), c: int = Depends(other)) -> Any:
        return a, b, c

    assert await call(view) == (1, 1, 2)


async def test_dependencies_exit_in_reverse_order_despite_an_error() -> None:
    """Dependencies are left in reverse order even if one of them fails."""
    log = []

    async def first() -> AsyncIterator[str]:
        try:
            yield "first"
        finally:
            log.append("first left")

    async def second(before: Annotated[str, Depends(first)]) -> AsyncIterator[str]:
        try:
            yield "second"
        finally:
            log.append("second left")
            raise ValueError("while leaving")

    with pytest.raises(ValueError, match="while leaving"):
        async with a_resolver() as resolver:
            assert await call(lambda x=Depends(second): x, resolver) == "second"
    assert log == ["second left", "first left"]


async def test_what_was_entered_is_left_if_a_later_dependency_fails() -> None:
    log = Log()

    def failing(x: Annotated[Any, Depends(log.bare)]) -> None:
        log.append("failing")
        raise KeyError("no")

    with pytest.raises(KeyError):
        async with a_resolver() as resolver:
            await call(lambda x=Depends(failing): x, resolver)
    assert log == ["enter", "failing"]


async def test_an_error_of_the_handler_is_seen_by_dependencies() -> None:
    seen = []

    async def watching() -> AsyncIterator[None]:
        try:
            yield
        except ValueError as error:
            seen.append(str(error))
            raise

    async def handle() -> None:
        async with a_resolver() as resolver:
            await call(lambda x=Depends(watching): x, resolver)
            raise ValueError("handler")

    with pytest.raises(ValueError, match="handler"):
        await handle()
    assert seen == ["handler"]


async def test_dependency_with_nursery_unwinds_on_cancellation() -> None:
    """A dependency with a nursery is unwound when the connection is cancelled."""
    log = []

    async def forever() -> None:
        await noted_when_cancelled(log, "task ended")

    async def background() -> AsyncIterator[trio.Nursery]:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(forever)
            yield nursery
            nursery.cancel_scope.cancel()

    with trio.CancelScope() as scope:
        async with a_resolver() as resolver:
            await call(lambda x=Depends(background): x, resolver)
            await trio.testing.wait_all_tasks_blocked()
            scope.cancel()
            await trio.sleep_forever()
    assert scope.cancelled_caught
    assert log == ["task ended"]


async def test_a_generator_that_yields_twice_is_an_error() -> None:
    async def twice() -> AsyncIterator[int]:
        yield 1
        yield 2

    with pytest.raises(RuntimeError, match="didn't stop"):
        async with a_resolver() as resolver:
            await call(lambda x=Depends(twice): x, resolver)


async def test_query_and_cookies_are_parsed_once_for_all_parameters(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also for the request that has the path's parameters, and for whatever the handler reads later."""
    calls: list[str] = []
    for name in ("parse_cookies", "QueryParameters"):
        original = getattr(request_module, name)
        monkeypatch.setattr(
            request_module, name, lambda *args, name=name, original=original: calls.append(name) or original(*args)
        )

    def view(q: int, r: int, *, s: int = 0, c: int = Cookie(0), d: int = Cookie(0), e: int = Cookie(0)) -> Any:
        return q, r, s, c, d, e

    request = a_request("/?q=1&r=2&s=3", ("Cookie", "c=4; d=5; e=6"))
    assert request.cookies == {"c": "4", "d": "5", "e": "6"}
    routed = request.with_path_parameters({"room": 1})
    assert await call(view, a_resolver(routed)) == (1, 2, 3, 4, 5, 6)
    assert routed.query_parameters["q"] == "1"
    assert routed.cookies is not routed.cookies
    assert sorted(calls) == ["QueryParameters", "parse_cookies"]


def test_a_query_of_many_names_is_read_by_name_without_a_search() -> None:
    """A mapping of n names is read in n steps, not in n squared."""

    class Name(str):
        __slots__ = ()
        compared = 0

        def __eq__(self, other: object) -> bool:
            Name.compared += 1
            return str.__eq__(self, other)

        __hash__ = str.__hash__

    query = QueryParameters([(Name(number), "x") for number in range(1000)])
    assert len(dict(query)) == 1000
    assert query.get_list(Name(999)) == ["x"]
    assert Name.compared < 5000
