"""Rules of conversion: strict models get JSON, strict parameters get text, and `Field` means what it says."""

from __future__ import annotations

import datetime
import decimal
import enum
import json
import uuid
from typing import Annotated, Any, NamedTuple

import attrs
import pytest
from pydantic import BaseModel, ConfigDict, Field, Json, Strict, StrictInt, field_validator, model_validator
from support.endings import status_of
from support.handlers import app_of, app_of_listener

from trio_ws import App, ConnectionRejected, Cookie, Depends, Header, InvalidMessage, Path, Query, WebSocket
from trio_ws.app import RegistrationError
from trio_ws.app.parameters import validation
from trio_ws.app.parameters.validation import adapter_for


async def answer_of(app: App, target: str) -> Any:
    """What the view says first; or the status and the error list."""
    async with app.test_client() as client:
        try:
            async with client.websocket_connect(target) as ws:
                return await ws.receive_json()
        except ConnectionRejected as rejected:
            return rejected.status, rejected.body.decode()


# --- JSON rules --------------------------------------------------------------------------------------------------


class Colour(enum.Enum):
    RED = "red"


class Exact(BaseModel):
    model_config = ConfigDict(strict=True)

    day: datetime.date
    at: datetime.datetime
    span: datetime.timedelta
    id: uuid.UUID
    colour: Colour
    price: decimal.Decimal
    tags: set[str]
    pair: tuple[int, str]


EXACT = {
    "day": "2024-02-03",
    "at": "2024-02-03T04:05:06",
    "span": "PT1H",
    "id": "12345678-1234-5678-1234-567812345678",
    "colour": "red",
    "price": "1.50",
    "tags": ["a"],
    "pair": [1, "x"],
}


@pytest.mark.parametrize("binary", [False, True], ids=["text", "binary"])
async def test_a_strict_model_takes_what_json_has_instead(binary: bool) -> None:
    async def echo(data: Exact) -> Exact:
        return data

    async with app_of_listener(echo, "/a").test_client() as client, client.websocket_connect("/a") as ws:
        text = json.dumps(EXACT)
        await ws.send(text.encode() if binary else text)
        assert await ws.receive_json() == EXACT


async def test_a_strict_model_refuses_what_is_of_another_type_in_json() -> None:
    class Count(BaseModel):
        model_config = ConfigDict(strict=True)
        n: int

    validator = adapter_for(Count)
    with pytest.raises(Exception, match="n: Input should be a valid integer"):
        validator.from_json('{"n": "1"}')


@pytest.mark.parametrize(
    "message",
    [
        '{"x": NaN}',
        '{"x": Infinity}',
        '{"x": -Infinity}',
        b'{"x": NaN}',
        "{",
        "",
        '{"x": 1}}',
        "\ufeff{}",
        "[" * 100_000,
        '{"y": ' + "[" * 128 + "]" * 128 + "}",
        b'{"y": ' + b"[" * 128 + b"]" * 128 + b"}",
        '{"y": ' + "[" * 128 + "]" * 128 + ', "z": "' + "x" * 40_000 + '"}',
        '{"x": ' + "1" * 250 + "e99}",
    ],
)
def test_what_is_no_json_is_none_for_a_model_too(message: str | bytes) -> None:
    """Pydantic's parser takes constants that are not in JSON, and deeper nesting."""

    class Model(BaseModel):
        x: float = 0
        y: Any = None

    with pytest.raises(InvalidMessage):
        adapter_for(Model).from_json(message)


def test_a_body_at_the_bound_of_nesting_is_taken() -> None:
    message = '{"y": ' + "[" * 127 + "]" * 127 + "}"
    assert adapter_for(dict[str, Any]).from_json(message) == json.loads(message)


def test_lone_surrogate_in_body_without_model_is_kept() -> None:
    """Pydantic's parser refuses the escape; `json` has its value, which an annotation of `Any` takes."""
    assert adapter_for(dict[str, Any]).from_json(r'{"y": "\ud800"}') == {"y": "\ud800"}


@pytest.mark.parametrize("message", ['{"x": "NaN"}', '{"x": "1e999"}', '{"x": "' + "1" * 400 + '"}'])
def test_text_that_looks_like_a_constant_is_text(message: str) -> None:
    assert adapter_for(dict[str, str]).from_json(message)


def test_an_invalid_message_is_a_value_error_as_in_json() -> None:
    with pytest.raises(ValueError, match="not JSON"):
        adapter_for(dict[str, Any]).from_json("{")


# --- text --------------------------------------------------------------------------------------------------------


class Levels(BaseModel):
    model_config = ConfigDict(strict=True)
    level: int


async def test_strict_parameters_take_text() -> None:
    async def view(  # noqa: PLR0917 - one of each kind
        ws: WebSocket,
        number: StrictInt,
        day: Annotated[datetime.date, Strict()],
        ids: list[Annotated[uuid.UUID, Strict()]],
        ratio: float = Query(strict=True),
        flag: bool = Field(False, strict=True),
        levels: Json[Levels] = Query(),
    ) -> None:
        await ws.send_json([number, f"{day}", [f"{each}" for each in ids], ratio, flag, levels.level])

    app = app_of(view, "/{number}")
    target = f"/7?day=2024-02-03&ids={EXACT['id']}&ratio=0.5&flag=true&levels=%7B%22level%22:3%7D"
    assert await answer_of(app, target) == [7, "2024-02-03", [EXACT["id"]], 0.5, True, 3]
    status, errors = await answer_of(app, target.replace(":3", ":%223%22").replace("/7", "/x"))
    assert status == 400
    assert '"levels","level"' in errors
    assert '["path","number"]' in errors


# --- Field and Query ---------------------------------------------------------------------------------------------


async def test_fields_and_constraints_of_markers_are_understood() -> None:
    async def view(  # noqa: PLR0917 - one of each kind
        ws: WebSocket,
        a: int = Field(1, ge=1),
        b: int = Query(2, ge=2),
        c: Annotated[int, Field(alias="see", default=3)] = 4,
        d: Annotated[int, Field(default=5)] = Query(le=9),
        e: Any = Query("x", max_length=2),
        f: str = Header("h", pattern="[a-h]"),
        g: str = Cookie("g", min_length=1),
        h: int = Field(6, alias="aitch"),
        item: int = Path(..., ge=1),
    ) -> None:
        await ws.send_json([a, b, c, d, e, f, g, h, item])

    app = app_of(view, "/{item}")
    assert await answer_of(app, "/1") == [1, 2, 4, 5, "x", "h", "g", 6, 1]
    assert await answer_of(app, "/1?see=7&aitch=8&d=9") == [1, 2, 7, 9, "x", "h", "g", 8, 1]
    status, errors = await answer_of(app, "/0?a=0&b=1&d=10&e=xxx")
    assert status == 400
    for loc in ('["query","a"]', '["query","b"]', '["query","d"]', '["query","e"]', '["path","item"]'):
        assert loc in errors


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Query(title="x"), r"Query\(\) has no option 'title'.*ge, .*Annotated\[int, Query\(\), Field\(title="),
        (lambda: Query(defualt=1), r"has no option 'defualt': did you mean 'default'"),
        (lambda: Header(convert_underscores=False), r"Header\(\) has no option 'convert_underscores'"),
        (lambda: Path(1), r"Path\(\) takes no default"),
    ],
)
def test_option_unknown_to_marker_is_refused_with_the_right_form(make: Any, message: str) -> None:
    """An option that a marker has not is refused with the right form."""
    with pytest.raises(RegistrationError, match=message):
        make()


def test_a_default_factory_is_refused_at_registration() -> None:
    def view(ws: WebSocket, items: list[int] = Field(default_factory=list)) -> None: ...

    with pytest.raises(RegistrationError, match="'items': a default_factory has no place here"):
        App().websocket("/a")(view)


# --- validators of what Depends() makes --------------------------------------------------------------------------


class Span(BaseModel):
    first: int = 0
    last: int = Field(9, alias="to")

    @field_validator("last")
    @classmethod
    def check_last(cls, value: int) -> int:
        if value == 7:
            raise ValueError("not seven")
        return value

    @model_validator(mode="after")
    def check_order(self) -> Span:
        if self.first > self.last:
            raise ValueError("first comes first")
        return self


@attrs.frozen
class Even:
    even: int = attrs.field()

    @even.validator
    def check(self, _: Any, value: int) -> None:
        if value % 2:
            raise ValueError("odd")


class Row:
    def __init__(self) -> None:
        self.span = Span(first="x")  # type: ignore[arg-type]


class Column:
    def __init__(self) -> None:
        raise ValueError("not of the client")


def make_app() -> App:
    app = App()

    @app.websocket("/span")
    async def span(ws: WebSocket, span: Span = Depends()) -> None:
        await ws.send_json([span.first, span.last])

    @app.websocket("/even")
    async def even(ws: WebSocket, even: Even = Depends()) -> None:
        await ws.send_json(even.even)

    @app.websocket("/row")
    async def row(ws: WebSocket, span: Any = Depends(lambda: Row().span)) -> None: ...

    @app.websocket("/class")
    async def row_of_class(ws: WebSocket, row: Row = Depends()) -> None: ...

    @app.websocket("/column")
    async def column(ws: WebSocket, column: Column = Depends()) -> None: ...

    return app


@pytest.mark.parametrize(
    ("target", "loc", "msg"),
    [
        ("/span?to=7", '["query","to"]', "not seven"),
        ("/span?first=10", '["query"]', "first comes first"),
        ("/span?first=x", '["query","first"]', "valid integer"),
        ("/even?even=1", '["query"]', "odd"),
    ],
)
async def test_a_validators_error_in_depends_is_400(target: str, loc: str, msg: str) -> None:
    status, errors = await answer_of(make_app(), target)
    assert status == 400
    assert f'"loc":{loc}' in errors
    assert msg in errors


@pytest.mark.parametrize("target", ["/row", "/class", "/column"])
async def test_a_function_or_class_that_fails_by_itself_is_an_error(target: str) -> None:
    async with make_app().test_client(raise_server_errors=False) as client:
        assert await status_of(client, target) == 500


# --- bodies that are text, and fields of bodies ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("annotation", "text", "value"),
    [
        (StrictInt, "5", 5),
        (Annotated[datetime.date, Strict()], "2026-01-02", datetime.date(2026, 1, 2)),
        (list[int] | StrictInt, "5", 5),
    ],
    ids=str,
)
async def test_a_strict_type_takes_a_body_of_text(annotation: Any, text: str, value: Any) -> None:
    app, taken = App(), []

    @app.listener("/a", encoding="text")
    async def receive(data: annotation) -> str:  # type: ignore[valid-type]
        taken.append(data)
        return "taken"

    async with app.test_client() as client, client.websocket_connect("/a") as ws:
        await ws.send(text)
        assert await ws.receive_text() == "taken"
    assert taken == [value]


def test_leniency_leaves_defaults_alone() -> None:
    class Pair(NamedTuple):
        a: int
        b: int

    class Model(BaseModel):
        model_config = ConfigDict(strict=True)
        level: int
        options: dict[str, bool] = {"strict": True}
        pair: Pair = Pair(1, 2)
        default: int = 0

    model = adapter_for(Model).from_json('{"level": 5}')
    assert (model.level, model.options, model.pair, model.default) == (5, {"strict": True}, (1, 2), 0)


async def test_a_field_as_the_default_of_a_body_constrains_it() -> None:
    app = App()

    @app.listener("/a")
    async def receive(data: int = Field(ge=5)) -> int:
        return data

    @app.listener("/bare")
    async def receive_bare(data=Field(ge=5)):  # type: ignore[no-untyped-def]
        return data

    async with app.test_client() as client:
        for path in ("/a", "/bare"):
            async with client.websocket_connect(path) as ws:
                await ws.send("4")
                assert (await ws.receive_json())["statusCode"] == 400
                await ws.send("5")
                assert await ws.receive_json() == 5


def test_number_that_may_overflow_to_infinity_is_inspected(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pydantic's parser makes it infinity; whether that is JSON is decided in one place."""
    seen: list[str | bytes] = []

    def refuse(message: str | bytes) -> None:
        seen.append(message)
        raise InvalidMessage("not JSON", message)

    monkeypatch.setattr(validation, "from_json", refuse)
    for message in ("1" + "0" * 250 + "e99", "9" * 310, "1e309"):
        with pytest.raises(InvalidMessage):
            adapter_for(float).from_json(message)
    assert len(seen) == 3
