"""Replies: by which names attrs classes leave, what becomes of NaN, and what the return annotation filters."""

from __future__ import annotations

import dataclasses
import json
import logging
import typing
from collections.abc import AsyncIterator, Awaitable, Iterable, Iterator
from typing import TYPE_CHECKING, Annotated, Any, Generic, NamedTuple, NewType, TypeVar

import attrs
import pytest
from pydantic import BaseModel, ConfigDict, Field
from support.handlers import app_of_listener
from typing_extensions import TypeAliasType, TypedDict

from trio_ws import App, Controller, Ok, Reply, WebSocket
from trio_ws.app import BadRequest, NotAReply, RegistrationError, listener
from trio_ws.app.output import output_from
from trio_ws.app.replies import encode_reply

if TYPE_CHECKING:
    from trio_ws.cli.main import Missing  # type: ignore[attr-defined]


class Public(BaseModel):
    name: str


class User(Public):
    password: str = "secret"


class Stranger(BaseModel):
    name: str = "Eve"
    password: str = "secret"


@dataclasses.dataclass
class Point:
    x: int


@dataclasses.dataclass
class Marked(Point):
    mark: str = "secret"


@attrs.define
class Size:
    _width: int
    unit: str = attrs.field(default="mm", alias="unitName")


@attrs.define
class Box(Size):
    password: str = "secret"


class Named(TypedDict):
    name: str


async def reply_of(function: Any, data: Any = 1) -> Any:
    """What a listener's function answers one message with."""
    app = App()
    app.listener("/a")(function)
    async with app.test_client() as client, client.websocket_connect("/a") as ws:
        await ws.send_json(data)
        return await ws.receive_json()


def user() -> User:
    return User(name="Ann")


def make_model() -> Public:
    return user()


def make_of_another_class() -> Public:
    return Stranger()  # type: ignore[return-value]


def make_dictionary() -> Public:
    return {"name": "Ann", "password": "secret"}  # type: ignore[return-value]


def make_list() -> list[Public]:
    return [user(), Stranger()]  # type: ignore[list-item]


def make_optional() -> Public | None:
    return user()


def make_mapping() -> dict[str, Public]:
    return {"user": user()}


def make_annotated() -> Annotated[Public, "of the user"]:
    return user()


def make_reply() -> Public:
    return Ok(user())  # type: ignore[return-value]


def make_reply_or_model() -> Public | Reply:
    return Ok(user())


def make_typed_dict() -> Named:
    return {"name": "Ann", "password": "secret"}  # type: ignore[typeddict-unknown-key]


def make_dataclass() -> Point:
    return Marked(1)


def make_attrs() -> Size:
    return Box(3)


def make_list_of_attrs() -> list[Size]:
    return [Box(3)]


def make_attrs_of_a_dictionary() -> Size:
    return {"width": 3, "password": "secret"}  # type: ignore[return-value]


def make_awaitable() -> Awaitable[Public]:
    return make_asynchronous()


async def make_asynchronous() -> Public:
    return user()


def make_one_by_one() -> Iterator[Public]:
    yield user()


async def make_one_by_one_asynchronously() -> AsyncIterator[Public]:
    yield user()


PUBLIC = {"name": "Ann"}


@pytest.mark.parametrize(
    ("function", "reply"),
    [
        (make_model, PUBLIC),
        (make_of_another_class, {"name": "Eve"}),
        (make_dictionary, PUBLIC),
        (make_list, [PUBLIC, {"name": "Eve"}]),
        (make_optional, PUBLIC),
        (make_mapping, {"user": PUBLIC}),
        (make_annotated, PUBLIC),
        (make_reply, {"statusCode": 200, "body": PUBLIC}),
        (make_reply_or_model, {"statusCode": 200, "body": PUBLIC}),
        (make_typed_dict, PUBLIC),
        (make_dataclass, {"x": 1}),
        (make_attrs, {"width": 3, "unitName": "mm"}),
        (make_list_of_attrs, [{"width": 3, "unitName": "mm"}]),
        (make_attrs_of_a_dictionary, {"width": 3}),
        (make_awaitable, PUBLIC),
        (make_asynchronous, PUBLIC),
        (make_one_by_one, PUBLIC),
        (make_one_by_one_asynchronously, PUBLIC),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
async def test_a_return_annotation_filters_what_is_sent(function: Any, reply: Any) -> None:
    assert await reply_of(function) == reply


async def test_a_method_and_accept_callback_are_filtered_too() -> None:
    app = App()

    @app.controller("/car")
    class Car(Controller):
        @listener("/owner")
        async def owner(self, data: int) -> Public:
            return user()

    @app.websocket("/callback")
    async def callback(ws: WebSocket) -> None:
        async def on_receive(data: int) -> Public:
            return user()

        await ws.accept_callback(on_receive=on_receive)

    async with app.test_client() as client:
        for path in ("/car/owner", "/callback"):
            async with client.websocket_connect(path) as ws:
                await ws.send("1")
                assert await ws.receive_json() == PUBLIC


async def test_without_a_class_in_the_annotation_everything_is_sent() -> None:
    def unsaid(data: int):  # type: ignore[no-untyped-def]
        return user()

    def anything(data: int) -> Any:
        return user()

    def loose(data: int) -> dict[str, Any]:
        return {"user": user()}

    def error(data: int) -> Public:
        return BadRequest({"why": "not today"})  # type: ignore[return-value]

    full = {"name": "Ann", "password": "secret"}
    assert [await reply_of(each) for each in (unsaid, anything, loose, error)] == [
        full,
        full,
        {"user": full},
        {"statusCode": 400, "body": {"why": "not today"}},
    ]


async def test_a_reply_that_is_not_what_is_annotated_is_not_sent() -> None:
    async def wrong(data: int) -> Public:
        return {"password": "secret"}  # type: ignore[return-value]

    with pytest.raises(NotAReply, match=r"wrong: .*returned dict, which is not the Public of its .*\(name: Field requ"):
        async with app_of_listener(wrong, "/a").test_client() as client, client.websocket_connect("/a") as ws:
            await ws.send("1")
            assert (await ws.recv()).code == 1011  # type: ignore[union-attr]


async def test_a_return_annotation_that_is_unknown_is_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    def unknown(data: int) -> Missing:
        return user()  # type: ignore[return-value]

    caplog.set_level(logging.WARNING)
    assert await reply_of(unknown) == {"name": "Ann", "password": "secret"}
    assert "replies of" in caplog.text
    assert "not narrowed" in caplog.text


class Opaque:
    pass


@dataclasses.dataclass
class Holder:
    opaque: Opaque


def test_a_class_that_cannot_be_described_is_refused() -> None:
    def function(data: int) -> Holder: ...

    with pytest.raises(RegistrationError, match="replies cannot be"):
        App().listener("/a")(function)


# --- names, and numbers that JSON has not ------------------------------------------------------------------------


@pytest.mark.parametrize("value", [Size(3), [Size(3)], Ok(Size(3))])
def test_attrs_classes_leave_by_the_names_that_are_taken_in(value: Any) -> None:
    assert '{"width":3,"unitName":"mm"}' in str(encode_reply(value, "json"))


async def test_an_attrs_class_makes_the_way_there_and_back() -> None:
    async def echo(data: Size) -> Size:
        return data

    said = {"width": 3, "unitName": "cm"}
    assert await reply_of(echo, said) == said


class Null(BaseModel):
    x: float = float("nan")
    y: float = float("-inf")


class Strings(BaseModel):
    model_config = ConfigDict(ser_json_inf_nan="strings")
    x: float = float("nan")


class Constants(BaseModel):
    model_config = ConfigDict(ser_json_inf_nan="constants")
    x: float = float("nan")


@pytest.mark.parametrize(
    ("value", "sent"),
    [
        (Null(), {"x": None, "y": None}),
        ([Null(), 1.5], [{"x": None, "y": None}, 1.5]),
        (Ok(Null()), {"statusCode": 200, "body": {"x": None, "y": None}}),
        (Strings(), {"x": "NaN"}),
    ],
)
async def test_nan_in_a_reply_is_what_the_model_says(value: Any, sent: Any) -> None:
    assert json.loads(str(encode_reply(value, "json"))) == sent

    def annotated(data: int) -> Any:
        return value

    annotated.__annotations__["return"] = list[Any] if isinstance(value, list) else type(value)
    assert await reply_of(annotated) == sent


@pytest.mark.parametrize("value", [Constants(), float("nan"), {"x": float("inf")}])
def test_nan_that_no_model_replaces_is_no_reply(value: Any) -> None:
    with pytest.raises(NotAReply, match="which is no reply"):
        encode_reply(value, "json")


def test_the_error_for_a_wrong_reply_says_what_may_be_returned() -> None:
    with pytest.raises(NotAReply, match=r"may return None for no reply.*Ok\(\.\.\.\).*Reply\(status_code, body\)"):
        encode_reply(object(), "json")


class Renamed(BaseModel):
    user_name: str = Field(serialization_alias="userName")


async def test_a_filtered_model_leaves_by_its_aliases() -> None:
    def annotated(data: int) -> Renamed:
        return Renamed(user_name="Ann")

    assert await reply_of(annotated) == {"userName": "Ann"}


# --- annotations that hide what they are ---------------------------------------------------------------------------

T = TypeVar("T")


@dataclasses.dataclass
class Page(Generic[T]):
    items: list[T]


@dataclasses.dataclass
class MarkedPage(Page[T]):
    mark: str = "secret"


@attrs.define
class Parcel(Generic[T]):
    content: T


@attrs.define
class MarkedParcel(Parcel[T]):
    mark: str = "secret"


@attrs.define
class Shelf:
    sizes: list[Size]
    owner: Public


@attrs.define
class Tree:
    owner: Public
    below: "list[Tree]" = attrs.Factory(list)  # noqa: UP037 - as it is written


class Pair(NamedTuple):
    number: int
    owner: Public


class Counted(TypedDict, Generic[T]):
    count: T


class OfTyping(typing.TypedDict):
    owner: Public


PublicId = NewType("PublicId", Public)
PublicAlias = TypeAliasType("PublicAlias", Public)
PublicBound = TypeVar("PublicBound", bound=Public)


@pytest.mark.parametrize(
    ("annotation", "value", "reply"),
    [
        (PublicId, user(), PUBLIC),
        (list[PublicId], [user()], [PUBLIC]),
        (PublicAlias, user(), PUBLIC),
        (PublicBound, user(), PUBLIC),
        (list[PublicBound], [user()], [PUBLIC]),  # type: ignore[valid-type]
        (Annotated[PublicAlias | Reply, "of the user"], Ok(user()), {"statusCode": 200, "body": PUBLIC}),
        (Annotated[Public, {"of": "the user"}], user(), PUBLIC),  # its metadata has no hash
        (list[Annotated[Public, ["user"]]], [user()], [PUBLIC]),
        (Page[int], MarkedPage([1]), {"items": [1]}),
        (Parcel[int], MarkedParcel(1), {"content": 1}),
        (Parcel[list[Public]], MarkedParcel([user()]), {"content": [PUBLIC]}),
        (Shelf, Shelf([Box(3)], user()), {"sizes": [{"width": 3, "unitName": "mm"}], "owner": PUBLIC}),
        (Tree, Tree(user(), [Tree(user())]), {"owner": PUBLIC, "below": [{"owner": PUBLIC, "below": []}]}),
        (Pair, Pair(1, user()), [1, PUBLIC]),
        (Counted[int], {"count": 1, "password": "secret"}, {"count": 1}),
        (OfTyping, {"owner": user(), "password": "secret"}, {"owner": PUBLIC}),
        (typing.AsyncIterator, {"a": 1}, {"a": 1}),
    ],
    ids=str,
)
async def test_a_class_behind_another_name_filters_too(annotation: Any, value: Any, reply: Any) -> None:
    async def function(data: int) -> Any:
        return value

    function.__annotations__["return"] = annotation
    assert await reply_of(function) == reply


NamedLater = TypeAliasType("NamedLater", "Public")
ListLater = TypeAliasType("ListLater", "list[Public]")
NamedWithin = TypeAliasType("NamedWithin", "list[NamedWithin] | Public")


def make_named_later(data: int) -> NamedLater:
    return user()


def make_list_later(data: int) -> ListLater:
    return [user()]


def make_list_of_named_later(data: int) -> list[NamedLater]:
    return [user()]


def make_named_within(data: int) -> NamedWithin:
    return [[user()], user()]


@pytest.mark.parametrize(
    ("function", "reply"),
    [
        (make_named_later, PUBLIC),
        (make_list_later, [PUBLIC]),
        (make_list_of_named_later, [PUBLIC]),
        (make_named_within, [[PUBLIC], PUBLIC]),
    ],
)
async def test_an_alias_whose_type_is_a_name_filters_too(function: Any, reply: Any) -> None:
    """Pydantic finds what a name in quotes stands for, in the alias's module."""
    assert await reply_of(function) == reply


def iterate(data: int) -> Iterable[Public]:
    yield user()


def list_of_all(data: int) -> Iterable[Public]:
    return [user()]


async def one_or_several(data: int) -> Public | AsyncIterator[Public]:
    return make_one_by_one_asynchronously()


@pytest.mark.parametrize(("function", "reply"), [(iterate, PUBLIC), (list_of_all, [PUBLIC]), (one_or_several, PUBLIC)])
async def test_an_iterable_is_one_reply_or_several(function: Any, reply: Any) -> None:
    assert await reply_of(function) == reply


class Counts(TypedDict):
    counts: dict[Any, int]


class Hidden(Counts):
    password: str


@pytest.mark.parametrize("wrap", [lambda value: value, Ok])
def test_a_lone_surrogate_in_a_key_does_not_undo_the_filter(wrap: Any) -> None:
    """Pydantic does not express such a key; what is sent in its place has the fields of the annotation only."""

    def count() -> Counts: ...  # type: ignore[empty-body]

    value = Hidden(counts={"\ud800": 1}, password="secret")
    text = encode_reply(wrap(value), "json", output_from(count))
    assert isinstance(text, str)
    body = json.loads(text)
    assert (body["body"] if wrap is Ok else body) == {"counts": {"\ud800": 1}}
    text.encode()
