"""Replies that are raised, errors that become replies, and references of requests."""

from __future__ import annotations

import copy
import gc
import pickle
import weakref
from collections.abc import AsyncIterator, Iterator
from typing import Annotated, Any

import attrs
import pytest
import trio
from pydantic import BaseModel
from support.endings import refusal_of, status_of
from support.handlers import app_of, app_of_listener

from trio_ws import (
    App,
    BlockingWebSocket,
    Conflict,
    Controller,
    Depends,
    Forbidden,
    NotFound,
    Ok,
    Reject,
    Reply,
    Request,
    WebSocket,
    WebSocketDisconnect,
    WebSocketException,
)
from trio_ws.app import InternalServerError, ParameterError, RegistrationError, listener


class DomainError(Exception):
    """Of an application."""


class NarrowerError(DomainError):
    """A kind of it."""


class Secret(BaseModel):
    name: str


async def replies(app: App, *messages: Any, path: str = "/a", count: int | None = None) -> list[Any]:
    """Send messages, and return as many JSON replies, or `count`."""
    async with app.test_client() as client, client.websocket_connect(path) as ws:
        for message in messages:
            await (ws.send(message) if isinstance(message, str | bytes) else ws.send_json(message))
        return [await ws.receive_json() for _ in range(len(messages) if count is None else count)]


async def end_of(app: App, *messages: Any, path: str = "/a") -> tuple[list[str], int]:
    """Send messages, and return what came before the end, and its code."""
    got: list[str] = []
    async with app.test_client(raise_server_errors=False) as client:
        with pytest.raises(WebSocketDisconnect) as end:
            async with client.websocket_connect(path) as ws:
                for message in messages:
                    await ws.send_json(message)
                while True:
                    got.append(await ws.receive_text())
    return got, end.value.code


# --- the value ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("reply", [NotFound({"id": 4}), NotFound(), Reply(404, {"id": 4}), Reply(status_code=418)])
def test_a_reply_survives_copies_and_pickling(reply: Reply) -> None:
    for again in (copy.copy(reply), copy.deepcopy(reply), pickle.loads(pickle.dumps(reply))):
        assert again == reply
        assert type(again) is type(reply)


def test_replies_are_equal_by_status_and_body() -> None:
    assert Reply(404, [1]) == NotFound([1]) != NotFound([2])
    assert len({NotFound([1]), NotFound([1])}) == 1
    assert NotFound() != 404
    assert repr(NotFound({"id": 4})) == "Reply(status_code=404, body={'id': 4})"
    match NotFound("x"):
        case Conflict():
            pytest.fail("another class")
        case NotFound(body):
            assert body == "x"


# --- raised ------------------------------------------------------------------------------------------------------


async def raised(data: Any) -> None:
    raise NotFound({"id": data})


def raised_in_a_thread(data: Any) -> None:
    raise NotFound({"id": data})


async def raised_by_a_generator(data: Any) -> AsyncIterator[Any]:
    if data is None:
        yield 1
    raise NotFound({"id": data})


def raised_by_a_plain_generator(data: Any) -> Iterator[Any]:
    if data is None:
        yield 1
    raise NotFound({"id": data})


async def raised_in_a_nursery(data: Any) -> None:
    async def fail() -> None:
        raise NotFound({"id": data})

    async with trio.open_nursery() as nursery:
        nursery.start_soon(fail)
        nursery.start_soon(fail)


async def raised_as_a_class(data: Any) -> None:
    raise NotFound


@pytest.mark.parametrize(
    "function",
    [raised, raised_in_a_thread, raised_by_a_generator, raised_by_a_plain_generator, raised_in_a_nursery],
)
@pytest.mark.parametrize("concurrency", [1, 3])
async def test_a_raised_reply_is_the_reply_and_the_connection_stays(function: Any, concurrency: int) -> None:
    app = App()
    app.listener("/a", concurrency=concurrency)(function)
    assert await replies(app, 4, 5) == [{"statusCode": 404, "body": {"id": number}} for number in (4, 5)]


async def test_a_class_of_replies_is_raised_without_a_call() -> None:
    app = App()
    app.listener("/a")(raised_as_a_class)
    assert await replies(app, 4) == [{"statusCode": 404, "body": None}]


async def test_what_a_generator_yielded_comes_before_its_error() -> None:
    app = App()
    app.listener("/a")(raised_by_a_generator)
    assert await replies(app, None, count=2) == [1, {"statusCode": 404, "body": {"id": None}}]


async def test_a_controllers_method_raises_a_reply() -> None:
    app = App()

    @app.controller("/c")
    class Boards(Controller):
        @listener("/a")
        async def receive(self, data: int) -> None:
            raise Forbidden(data)

    assert await replies(app, 1, path="/c/a") == [{"statusCode": 403, "body": 1}]


async def test_accept_callback_sends_raised_replies() -> None:
    async def view(ws: WebSocket) -> None:
        await ws.accept_callback(on_receive=raised, reference="ref")

    app = app_of(view, "/a", auto_accept=False)
    assert await replies(app, {"ref": 1}) == [{"statusCode": 404, "body": {"id": {"ref": 1}}, "ref": 1}]


@pytest.mark.parametrize(
    ("errors", "code"), [([NotFound(), Forbidden()], 1008), ([NotFound(), KeyError()], 1011), ([KeyError()], 1011)]
)
async def test_errors_of_a_group_without_a_common_reply_close(errors: list[Exception], code: int) -> None:
    app = App()
    listening(app, ExceptionGroup("several", errors))
    assert await end_of(app, 1) == ([], code)


async def test_a_raised_body_is_narrowed_below_400_only() -> None:
    async def receive(data: int) -> Secret:
        raise Reply(data, {"name": "n", "password": "p"})

    good, bad = await replies(app_of_listener(receive, "/a"), 200, 400)
    assert good["body"] == {"name": "n"}
    assert bad["body"] == {"name": "n", "password": "p"}


async def test_a_reply_that_cannot_be_sent_closes_with_1011() -> None:
    async def receive(data: Any) -> None:
        raise NotFound(object())

    assert await end_of(app_of_listener(receive, "/a"), 1) == ([], 1011)


async def test_a_reply_that_is_kept_holds_no_frames() -> None:
    """One that is raised again and again would hold the frames, and so the connections, of all its requests."""
    app, kept = App(), NotFound()
    seen: list[weakref.ref[DomainError]] = []

    @app.listener("/a")
    async def receive(data: Any) -> None:
        local = DomainError()
        seen.append(weakref.ref(local))
        try:
            raise KeyError(data)
        except KeyError as error:
            raise kept from error

    assert await replies(app, 1, 2) == [{"statusCode": 404, "body": None}] * 2
    assert (kept.__traceback__, kept.__context__, kept.__cause__) == (None, None, None)
    gc.collect()
    assert [each() for each in seen] == [None, None]


# --- errors that become replies ----------------------------------------------------------------------------------


def listening(app: App, error: BaseException, **options: Any) -> None:
    @app.listener("/a", **options)
    async def receive(data: Any) -> None:
        raise error


@pytest.mark.parametrize("maker", [NotFound, NotFound(), lambda error: NotFound(), lambda error, message: NotFound()])
async def test_reply_on_makes_the_reply_of_an_error(maker: Any) -> None:
    app = App()
    app.reply_on(DomainError, maker)
    listening(app, NarrowerError())
    assert await replies(app, 1, 2) == [{"statusCode": 404, "body": None}] * 2


@pytest.mark.parametrize(
    ("message", "seen"), [({"a": 1}, {"a": 1}), ("[1]", [1]), (b"{}", {}), ('"' + "x" * 70_000 + '"', "x" * 70_000)]
)
async def test_reply_on_gets_the_value_of_the_message(message: Any, seen: Any) -> None:
    app = App()

    @app.reply_on(DomainError)
    async def make(error: DomainError, message: Any) -> Any:
        return {"error": str(error), "message": message}

    listening(app, DomainError("why"))
    assert await replies(app, message) == [{"error": "why", "message": seen}]


@pytest.mark.parametrize("encoding", ["text", "bytes"])
async def test_reply_on_gets_text_and_bytes_as_they_came(encoding: Any) -> None:
    app = App()
    app.reply_on(DomainError, lambda error, message: Conflict(repr(message)))
    listening(app, DomainError(), encoding=encoding)
    sent: Any = "{}" if encoding == "text" else b"{}"
    assert await replies(app, sent) == [{"statusCode": 409, "body": repr(sent)}]


async def test_the_most_derived_type_counts_of_codes_and_replies() -> None:
    app = App()
    app.reply_on(DomainError, Conflict)
    app.close_on(NarrowerError, 4010)

    @app.listener("/a")
    async def receive(data: str) -> None:
        raise NarrowerError if data == "narrower" else DomainError

    got, code = await end_of(app, "wider", "narrower")
    assert (got, code) == (['{"statusCode":409,"body":null}'], 4010)


async def test_an_included_application_has_its_own_replies_first() -> None:
    app, guest = App(), App()
    app.reply_on(DomainError, Conflict)
    app.reply_on(KeyError, NotFound)
    guest.close_on(DomainError, 4010)

    @guest.listener("/a")
    async def receive(data: int) -> None:
        raise DomainError if data else KeyError

    app.include(guest)
    assert await end_of(app, 0, 1) == (['{"statusCode":404,"body":null}'], 4010)


@pytest.mark.parametrize(
    ("error", "code"), [(WebSocketException(4003), 4003), (Reject(404), 1011), (WebSocketDisconnect(1000), None)]
)
async def test_a_reply_on_exception_is_not_for_orders(error: Exception, code: int | None) -> None:
    """Another connection's disconnect is an error as any other; this connection's never gets a reply."""
    app = App()
    app.reply_on(Exception, InternalServerError)
    listening(app, error)
    if code is None:
        assert await replies(app, 1) == [{"statusCode": 500, "body": None}]
    else:
        assert await end_of(app, 1) == ([], code)


async def test_the_connections_own_end_gets_no_reply() -> None:
    app, seen, calls = App(), [], []

    @app.reply_on(Exception)
    async def make(error: Exception) -> None:
        calls.append(error)

    @app.listener("/a")
    async def receive(ws: WebSocket, data: Any) -> None:
        await ws.wait_closed()
        try:
            await ws.send("x")
        except WebSocketDisconnect as end:
            seen.append(end.code)
            raise

    async with app.test_client() as client, client.websocket_connect("/a") as ws:
        await ws.send_json(1)
    assert (seen, calls) == ([1000], [])


async def test_none_from_reply_on_is_no_reply() -> None:
    app = App()
    app.reply_on(DomainError, lambda error: None)

    @app.listener("/a")
    async def receive(data: int) -> int:
        if not data:
            raise DomainError
        return data

    assert await replies(app, 0, 1, count=1) == [1]


async def test_an_error_in_reply_on_closes_with_1011() -> None:
    app = App()

    @app.reply_on(DomainError)
    async def make(error: DomainError) -> None:
        raise LookupError

    listening(app, DomainError())
    assert await end_of(app, 1) == ([], 1011)


async def test_a_reply_raised_by_reply_on_is_the_reply() -> None:
    app = App()

    @app.reply_on(DomainError)
    def make(error: DomainError) -> None:
        raise Conflict(1)

    listening(app, DomainError())
    assert await replies(app, 1) == [{"statusCode": 409, "body": 1}]


async def test_reply_on_a_class_of_replies_changes_them() -> None:
    app = App()
    app.reply_on(NotFound, lambda reply: {"lost": reply.body})
    listening(app, NotFound(7))
    assert await replies(app, 1) == [{"lost": 7}]


def test_reply_on_refuses_what_cannot_work() -> None:
    app = App()
    app.close_on(DomainError, 4010)
    app.reply_on(KeyError, NotFound)
    with pytest.raises(RegistrationError, match=r"close_on\(\) and reply_on\(\) name DomainError"):
        app.reply_on(DomainError, NotFound)
    with pytest.raises(RegistrationError, match="name KeyError"):
        app.close_on(KeyError, 4010)
    with pytest.raises(RegistrationError, match="two functions"):
        app.reply_on(KeyError, Conflict)
    for error in (DomainError(), int, "DomainError"):
        with pytest.raises(TypeError, match="a type of error"):
            app.reply_on(error, NotFound)  # type: ignore[call-overload]
    for maker in (5, lambda: None, lambda one, two, three: None):
        with pytest.raises(TypeError, match="called with the error"):
            app.reply_on(LookupError, maker)  # type: ignore[call-overload]
    with pytest.raises(TypeError, match="Reply itself"):
        app.reply_on(LookupError, Reply)


# --- where there is no message -----------------------------------------------------------------------------------


def guard_that_raises() -> bool:
    raise Forbidden({"why": "no"})


async def dependency_that_raises() -> None:
    raise DomainError


@pytest.mark.parametrize(
    ("options", "status", "body"),
    [({"guards": [guard_that_raises]}, 403, b'{"why":"no"}'), ({}, 409, b'{"why":"full"}')],
)
async def test_an_error_before_the_answer_refuses_with_its_status(options: Any, status: int, body: bytes) -> None:
    app = App()
    app.reply_on(DomainError, lambda error: Conflict({"why": "full"}))

    @app.websocket("/a", **options)
    async def view(ws: WebSocket, it: Annotated[None, Depends(dependency_that_raises)]) -> None:
        pytest.fail("called")

    refused = await refusal_of(app, "/a")
    assert (refused.status, refused.body) == (status, body)


async def test_a_reply_without_a_status_refuses_with_500() -> None:
    app = App()
    app.reply_on(DomainError, lambda error: {"why": "full"})

    @app.websocket("/a")
    async def view(ws: WebSocket, it: Annotated[None, Depends(dependency_that_raises)]) -> None:
        pytest.fail("called")

    refused = await refusal_of(app, "/a")
    assert (refused.status, refused.body) == (500, b'{"why":"full"}')


async def test_a_reply_that_cannot_refuse_is_an_error_500() -> None:
    async def greets() -> bool:
        raise Ok("welcome")

    async def view(ws: WebSocket) -> None: ...

    async with app_of(view, "/a", guards=[greets]).test_client(raise_server_errors=False) as client:
        assert await status_of(client, "/a") == 500


@pytest.mark.parametrize(
    ("reply", "code"), [(Reply(399), None), (Reply(400), 1008), (Reply(499), 1008), (Reply(500), 1011), (5, 1011)]
)
async def test_a_reply_of_on_connect_is_sent_and_from_400_on_closes(reply: Any, code: int | None) -> None:
    """What is not a `Reply` is the reply to an error of ours, so that it closes as a status of 500 does."""
    app = App()
    app.reply_on(DomainError, lambda error: reply)

    @app.listener("/a")
    async def receive(data: Any) -> Any:
        return data

    @receive.on_connect
    async def connect(ws: WebSocket) -> None:
        raise reply if isinstance(reply, Reply) else DomainError

    sent = {"statusCode": reply.status_code, "body": reply.body} if isinstance(reply, Reply) else reply
    if code is None:
        assert await replies(app, 5, count=2) == [sent, 5]
    else:
        async with app.test_client() as client:
            with pytest.raises(WebSocketDisconnect) as end:
                async with client.websocket_connect("/a") as ws:
                    assert await ws.receive_json() == sent
                    await ws.receive()
        assert end.value.code == code


async def test_an_error_of_on_connect_without_a_reply_sends_nothing() -> None:
    app = App()

    @app.listener("/a")
    async def receive(data: Any) -> None: ...

    @receive.on_connect
    async def connect(ws: WebSocket) -> None:
        raise DomainError

    async with app.test_client(raise_server_errors=False) as client:
        with pytest.raises(WebSocketDisconnect) as end:
            async with client.websocket_connect("/a") as ws:
                await ws.receive()
    assert end.value.code == 1011


async def test_on_connect_refuses_the_handshake_before_the_answer() -> None:
    app = App()

    @app.listener("/a", auto_accept=False)
    async def receive(data: Any) -> None: ...

    @receive.on_connect
    def connect(ws: BlockingWebSocket) -> None:
        raise NotFound

    refused = await refusal_of(app, "/a")
    assert (refused.status, refused.body) == (404, b"")


@pytest.mark.parametrize(("reply", "body"), [(NotFound({"id": 4}), b'{"id":4}'), (Reply(410), b"")])
async def test_a_page_answers_with_a_raised_reply(reply: Reply, body: bytes) -> None:
    app = App()

    def page(request: Request) -> str:
        raise reply

    app.page("/p", page)
    async with app.test_client() as client:
        answer = await client.get("/p")
    assert (answer.status, answer.body) == (reply.status_code, body)


@pytest.mark.parametrize(
    ("reply", "code"), [(Reply(399), 1011), (Reply(400), 1008), (Reply(499), 1008), (Reply(500), 1011)]
)
async def test_a_reply_of_a_view_closes_by_its_status(reply: Reply, code: int) -> None:
    async def view(ws: WebSocket) -> None:
        raise reply

    assert await end_of(app_of(view, "/a")) == ([], code)


# --- references --------------------------------------------------------------------------------------------------


@attrs.frozen
class Pair:
    left: int


@pytest.mark.parametrize("reference", [1, -2, 1.5, "a", "", "x" * 256, 2**64 - 1, "\ud83d", 0])
@pytest.mark.parametrize(
    ("reply", "expected"),
    [
        ({"a": 1}, {"a": 1}),
        ({"ref": "own"}, {}),
        (Pair(1), {"left": 1}),
        ([1], {"body": [1]}),
        ("text", {"body": "text"}),
        (Ok([1]), {"statusCode": 200, "body": [1]}),
    ],
)
async def test_every_reply_repeats_the_reference(reference: Any, reply: Any, expected: dict[str, Any]) -> None:
    async def receive(data: dict[str, Any]) -> AsyncIterator[Any]:
        yield reply
        yield reply

    app = app_of_listener(receive, "/a", reference="ref")
    assert await replies(app, {"ref": reference}, count=2) == [{**expected, "ref": reference}] * 2


async def test_replies_of_concurrent_requests_have_own_references(autojump_clock: Any) -> None:
    async def receive(data: dict[str, Any]) -> Any:
        await trio.sleep(1 / data["ref"])
        if data["ref"] % 2:
            raise NotFound
        return {}

    app = app_of_listener(receive, "/a", reference="ref", concurrency=4)
    expected = [{"statusCode": 404, "body": None, "ref": 1}, {"ref": 2}, {"statusCode": 404, "body": None, "ref": 3}]
    assert await replies(app, *({"ref": number} for number in (1, 2, 3))) == expected


@pytest.mark.parametrize("message", [{}, {"ref": None}, [1], 5, "5"])
async def test_a_message_without_reference_gets_replies_without(message: Any) -> None:
    async def receive(data: Any) -> Any:
        return [data]

    (reply,) = await replies(app_of_listener(receive, "/a", reference="ref"), message)
    assert isinstance(reply, list)


@pytest.mark.parametrize("reference", ["x" * 257, 2**64, True, [1], {"a": 1}])
async def test_a_reference_that_is_none_is_an_invalid_message(reference: Any) -> None:
    """Else a client could have a megabyte sent back in each of many replies."""

    async def receive(data: Any) -> None:
        pytest.fail("called")

    (reply,) = await replies(app_of_listener(receive, "/a", reference="ref"), {"ref": reference})
    assert reply["statusCode"] == 400
    assert reply["body"]["errorList"][0]["loc"] == ["ref"]
    assert "ref" not in reply


async def test_the_reply_to_an_invalid_message_repeats_the_reference() -> None:
    app, seen = App(), []

    def explain(error: ParameterError, message: Any) -> Any:
        seen.append(message)
        return {"count": len(error.errors)}

    @app.listener("/a", reference="id")
    async def receive(data: Secret) -> None: ...

    @app.listener("/b", reference="id", on_invalid=explain)
    async def explained(data: Secret) -> None: ...

    (reply,) = await replies(app, {"id": "r"})
    assert (reply["statusCode"], reply["id"]) == (400, "r")
    assert await replies(app, {"id": 9}, "no JSON", path="/b") == [{"count": 1, "id": 9}, {"count": 1}]
    assert seen == [{"id": 9}, "no JSON"]


async def test_a_large_message_keeps_its_reference() -> None:
    async def receive(data: dict[str, Any]) -> int:
        return len(data["text"])

    app = app_of_listener(receive, "/a", reference="ref")
    assert await replies(app, {"text": "x" * 100_000, "ref": 1}) == [{"body": 100_000, "ref": 1}]


async def test_a_strict_model_takes_json_with_a_reference() -> None:
    """The rules for JSON apply, though the message is read for its reference, too."""

    class Strict(BaseModel, strict=True):
        on: __import__("datetime").date

    async def receive(data: Strict) -> Any:
        return {"year": data.on.year}

    app = app_of_listener(receive, "/a", reference="ref")
    assert await replies(app, {"on": "2026-01-01", "ref": 1}) == [{"year": 2026, "ref": 1}]


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"reference": ""}, ValueError),
        ({"reference": "body"}, ValueError),
        ({"reference": "statusCode"}, ValueError),
        ({"reference": 5}, TypeError),
        ({"reference": "ref", "encoding": "text"}, ValueError),
        ({"on_invalid": lambda: None}, TypeError),
        ({"on_invalid": lambda one, two, three: None}, TypeError),
    ],
)
def test_options_that_cannot_work_are_refused(options: Any, error: type[Exception]) -> None:
    with pytest.raises(error):
        App().listener("/a", **options)


async def test_a_second_parameter_with_a_default_is_not_the_message() -> None:
    def explain(error: ParameterError, verbose: bool = False) -> Any:
        return verbose

    async def receive(data: int) -> None: ...

    assert await replies(app_of_listener(receive, "/a", on_invalid=explain), "x") == [False]
