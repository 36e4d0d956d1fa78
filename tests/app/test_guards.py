"""Guards: what can be one, what it is asked with, and what its answers do."""

# Markers are calls in defaults: that is what they are for.

from __future__ import annotations

import functools
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Iterator
from typing import Annotated, Any

import attrs
import pytest
import trio

from trio_ws.app.errors import ParameterError, RegistrationError
from trio_ws.app.guard_calls import check_guards
from trio_ws.app.guards import GuardContext, PlannedGuard
from trio_ws.app.parameters.dependencies import Resolver
from trio_ws.app.parameters.markers import Depends, Header
from trio_ws.app.parameters.signature import Signature
from trio_ws.errors import Reject, WebSocketException
from trio_ws.headers import Headers
from trio_ws.http.request import Request
from trio_ws.websocket.websocket import WebSocket


@attrs.frozen
class Asked:
    """A connection whose guards are asked."""

    context: GuardContext
    resolver: Resolver


def asked(target: str = "/", **path: Any) -> Asked:
    request = Request(target=target, headers=Headers([("host", "localhost")]), path_parameters=path)
    websocket = WebSocket(request)
    context = GuardContext(request=request, websocket=websocket, route="route", parameters={"n": 1}, app="app")
    return Asked(context, Resolver(request, websocket, "app"))


async def ask(*guards: Any, of: Asked | None = None) -> None:
    of = of or asked()
    names = of.context.request.path_parameters.keys()
    signatures = [PlannedGuard.of(guard, path_names=names) for guard in guards]
    await check_guards(signatures, of.context, of.resolver)


def answering(answer: Any) -> list[Any]:
    """Return guards of every kind that give one answer."""

    def function(context: GuardContext) -> Any:
        return answer

    async def async_function(context: GuardContext) -> Any:
        await trio.lowlevel.checkpoint()
        return answer

    class Class:
        def can_activate(self, context: GuardContext) -> Any:
            return answer

    class AsyncClass:
        async def can_activate(self, context):  # type: ignore[no-untyped-def]
            return answer

    class Static:
        @staticmethod
        def can_activate(context: GuardContext) -> Any:
            return answer

    return [
        *(function, async_function, Class, Class(), AsyncClass, AsyncClass(), Static, Static()),
        *(Class().can_activate, lambda context: answer, lambda: answer, functools.partial(function)),
    ]


# --- answers -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("guard", answering(True))
async def test_true_lets_the_client_in(guard: Any) -> None:
    await ask(guard)


@pytest.mark.parametrize("guard", answering(False))
async def test_false_is_a_rejection_with_403(guard: Any) -> None:
    with pytest.raises(Reject) as caught:
        await ask(guard)
    assert caught.value.status == 403


@pytest.mark.parametrize("guard", answering(None))
async def test_any_other_answer_is_an_error(guard: Any) -> None:
    with pytest.raises(TypeError, match="must answer True, False or Credentials, not None"):
        await ask(guard)


@pytest.mark.parametrize("answer", [1, 0, "yes", [], object()])
async def test_what_merely_counts_as_true_or_false_is_an_error_too(answer: Any) -> None:
    def careless(context: GuardContext) -> Any:
        return answer

    with pytest.raises(TypeError, match=r"guard .*test_guards\.test_what_merely.*careless must answer"):
        await ask(careless)


@pytest.mark.parametrize("error", [Reject(401), WebSocketException(4003), RuntimeError("broken")])
async def test_what_a_guard_raises_is_raised(error: Exception) -> None:
    def guard() -> bool:
        raise error

    with pytest.raises(type(error)) as caught:
        await ask(guard)
    assert caught.value is error


async def test_guards_are_asked_in_order_until_one_refuses() -> None:
    asked_in_order = []

    def guard(number: int, answer: bool) -> Any:
        def decide() -> bool:
            asked_in_order.append(number)
            return answer

        return decide

    with pytest.raises(Reject):
        await ask(guard(1, True), guard(2, False), guard(3, True))
    assert asked_in_order == [1, 2]


# --- the context -------------------------------------------------------------------------------------------------


async def test_context_has_request_connection_route_parameters_and_app() -> None:
    """The context tells request connection route parameters and app."""
    of, seen = asked(), []

    def guard(context):  # type: ignore[no-untyped-def]
        seen.append(context)
        return True

    await ask(guard, of=of)
    assert seen == [of.context]
    assert (of.context.route, of.context.parameters, of.context.app) == ("route", {"n": 1}, "app")
    assert of.context.switch_to_websocket().get_client() is of.context.websocket


def test_the_context_cannot_be_changed() -> None:
    context = asked().context
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        context.route = None  # type: ignore[misc]
    with pytest.raises(TypeError):
        context.parameters["n"] = 2  # type: ignore[index]


async def test_the_context_is_found_by_annotation_wherever_it_stands() -> None:
    of = asked()

    def load(context: GuardContext) -> GuardContext:
        return context

    def guard(ws: WebSocket, it: GuardContext, loaded: Annotated[GuardContext, Depends(load)]) -> bool:
        return it is of.context and loaded is of.context and ws is of.context.websocket

    await ask(guard, of=of)


async def test_can_activate_gets_context_first_for_any_annotation() -> None:
    """can_activate gets the context first whatever the annotation."""
    of = asked()

    class Documented:
        async def can_activate(self, context: IExecutionContext) -> bool:  # type: ignore[name-defined]  # noqa: F821
            return context is of.context  # type: ignore[no-any-return]

    await ask(Documented, Documented(), of=of)


async def test_when_guards_were_asked_everybody_can_have_the_context() -> None:
    of = asked()
    await ask(of=of)
    args, _ = await of.resolver.arguments(Signature.of(_takes_context, types={GuardContext: "context"}))
    assert args == [of.context]


def _takes_context(context: GuardContext) -> None: ...


# --- parameters --------------------------------------------------------------------------------------------------


async def test_other_parameters_are_filled_like_a_handlers() -> None:
    def guard(context: Any, room: str, n: int = 0, *, ws: WebSocket, x: str = Header("none")) -> bool:
        found = isinstance(context, GuardContext) and isinstance(ws, WebSocket)
        return found and (room, n, x) == ("cats", 5, "none")

    def with_context(context, room: str, n: int) -> bool:  # type: ignore[no-untyped-def]
        return isinstance(context, GuardContext) and (room, n) == ("cats", 5)

    for each in (guard, with_context):
        await ask(each, of=asked("/?n=5", room="cats"))


async def test_guard_with_dependencies_is_built_for_each_connection() -> None:
    """A constructor may have dependencies and is called for each connection."""
    made = []

    class Guard:
        def __init__(self, secret: Annotated[str, Depends(lambda: "s3kr3t")], key: str = "") -> None:
            made.append(self)
            self.good = secret == key

        def can_activate(self, context: GuardContext) -> bool:
            return self.good

    await ask(Guard, of=asked("/?key=s3kr3t"))
    with pytest.raises(Reject):
        await ask(Guard, of=asked("/?key=wrong"))
    assert len(made) == 2


async def test_a_dependency_is_shared_between_guards_and_handler() -> None:
    calls: list[str] = []

    def user(token: str) -> str:
        calls.append(token)
        return token

    def guard(who: Annotated[str, Depends(user)]) -> bool:
        return who == "ada"

    of = asked("/?token=ada")
    await ask(guard, of=of)
    args, _ = await of.resolver.arguments(Signature.of(lambda who=Depends(user): None))
    assert (args, calls) == (["ada"], ["ada"])


async def test_what_guards_take_can_be_converted_before_any_is_asked() -> None:
    class Guard:
        def __init__(self, a: int) -> None: ...

        def can_activate(self, context: GuardContext, b: int) -> bool:
            raise AssertionError("it is not asked")

    signature = PlannedGuard.of(Guard)
    with pytest.raises(ParameterError) as caught:
        asked().resolver.convert(*signature.signatures)
    assert [each.loc for each in caught.value.errors] == [("query", "a"), ("query", "b")]
    signature = PlannedGuard.of(lambda: True)
    assert signature.signatures == (signature.call,)


# --- refusals ----------------------------------------------------------------------------------------------------


class Abstract(ABC):
    @abstractmethod
    def can_activate(self, context: GuardContext) -> bool: ...


class Without: ...


class WithAttribute:
    can_activate = True


def generator(context: GuardContext) -> Iterator[bool]:
    yield True


async def async_generator(context: GuardContext) -> AsyncIterator[bool]:
    yield True


class YieldingGuard:
    async def can_activate(self, context: GuardContext) -> AsyncIterator[bool]:
        yield True


@pytest.mark.parametrize(
    ("guard", "message"),
    [
        (
            Without,
            f"guard {__name__}.Without: a guard is a function, or a class or an object with can_activate(context)",
        ),
        (Without(), "a class or an object with can_activate(context), not a result"),
        (WithAttribute, "with can_activate(context)"),
        (WithAttribute(), "with can_activate(context)"),
        (True, "not a result"),
        (Abstract, f"guard {__name__}.Abstract: it is abstract: write its can_activate(context)"),
        (generator, f"guard {__name__}.generator: it yields: a guard returns True or False"),
        (async_generator, "it yields"),
        (YieldingGuard, f"guard {__name__}.YieldingGuard.can_activate: it yields"),
        (lambda context, *args: True, "parameter '*args': nothing can be put into it"),
        (lambda context, what: True, "parameter 'what': nothing provides it"),
    ],
)
def test_invalid_guard_is_refused_at_registration_with_the_fix(guard: Any, message: str) -> None:
    """What cannot be a guard is refused at registration with the fix."""
    with pytest.raises(RegistrationError) as caught:
        PlannedGuard.of(guard, where="route '/x'")
    assert message in str(caught.value)
    assert str(caught.value).startswith("route '/x': ")
    with pytest.raises(RegistrationError, match=r"^(?!route)"):
        PlannedGuard.of(guard)


def test_the_result_of_an_async_guard_is_refused_and_closed() -> None:
    """Python would warn of a coroutine that was never awaited."""

    async def guard() -> bool:
        return True

    with pytest.raises(RegistrationError, match="not a result"):
        PlannedGuard.of(guard())
