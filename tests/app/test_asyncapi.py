"""The description of an application by AsyncAPI 3: valid by the specification's schema, and true."""

from __future__ import annotations

import dataclasses
import datetime
import enum
import html
import json
import math
import re
import shutil
import subprocess
import uuid
from collections.abc import AsyncIterator, Callable
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Generic, Literal, NamedTuple, NewType, TypeVar

import attrs
import jsonschema
import pytest
from pydantic import BaseModel, ConfigDict, Field, RootModel
from referencing import Registry
from referencing.jsonschema import DRAFT7
from support.handlers import app_of, app_of_listener
from typing_extensions import TypeAliasType, TypedDict

from trio_ws import (
    App,
    Cookie,
    Depends,
    Header,
    NotFound,
    Ok,
    Query,
    RegistrationError,
    Reply,
    Router,
    WebSocket,
    WsBody,
)
from trio_ws.app import Controller, listener
from trio_ws.app.asyncapi.typescript import typescript
from trio_ws.app.output import reply_type

HERE = Path(__file__).parent
TSC = shutil.which("tsc")


@cache
def validator() -> jsonschema.Draft7Validator:
    """The specification's schema, behind a reference: the schema that is given itself is indexed for each lookup."""
    schema = json.loads((HERE / "asyncapi" / "schema-3.0.0.json").read_text())
    registry = Registry().with_resource(schema["$id"], DRAFT7.create_resource(schema)).crawl()
    return jsonschema.Draft7Validator({"$ref": schema["$id"]}, registry=registry)


def problems(document: dict[str, Any]) -> list[str]:
    return [f"{list(each.absolute_path)}: {each.message:.200}" for each in validator().iter_errors(document)]


def described(app: App, **options: Any) -> dict[str, Any]:
    """Return an application's document, which is valid, is JSON, and whose references lead somewhere."""
    document = app.asyncapi(**options)
    text = json.dumps(document, allow_nan=False)
    for reference in re.findall(r'"\$ref": "#/([^"]*)"', text):
        found: Any = document
        for part in reference.split("/"):
            found = found[part]
    assert problems(document) == []
    return document


def messages(document: dict[str, Any], references: list[dict[str, str]]) -> dict[str, Any]:
    """Return the payloads of messages by their names."""
    names = [each["$ref"].rpartition("/")[2] for each in references]
    return {name: document["components"]["messages"][name]["payload"] for name in names}


# --- a usual application -------------------------------------------------------------------------------------------


class Kind(enum.Enum):
    CUP = "cup"
    POT = "pot"


class Question(BaseModel):
    """A question of a visitor."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"text": "Where is my cup?"}]})

    text: str = Field(min_length=1, description="What they want.")
    kind: Kind = Kind.CUP


@dataclasses.dataclass
class Answer:
    """An answer."""

    text: str
    at: datetime.datetime


class SoldOutError(Exception):
    """There is none left."""


class TooLateError(Exception):
    pass


def is_visitor(token: str = Header(default="", description="From the sign-in.")) -> bool:
    return True


def page_size(size: int = Query(default=10, ge=1)) -> int:
    return size


def shop() -> App:
    app = App()
    app.close_on(SoldOutError, 4010)
    app.close_on(TooLateError, 4011)

    @app.listener("/support/{kind}/{number:int}", guards=[is_visitor], reference="ref", close_codes={4003: "Closed."})
    async def support(  # noqa: PLR0917 - as many as there are
        question: Question,
        kind: Kind,
        number: int,
        user: str,
        size: Annotated[int, Depends(page_size)],
        theme: str = Cookie(default="dark"),
    ) -> Answer | Ok | NotFound | None:
        """Answer
        a question.

        At length.

        With more.
        """

    @app.websocket("/feed", value_type="json", sends=Answer | Kind, subprotocols=["v1"])
    async def feed(ws: WebSocket) -> None:
        """Send news."""

    return app


def test_document_of_an_application_is_valid_and_complete() -> None:
    document = described(
        shop(), title="Shop", version="2", description="All.", servers={"main": "wss://shop.example/x"}
    )
    assert document["asyncapi"] == "3.0.0"
    assert document["info"] == {"title": "Shop", "version": "2", "description": "All."}
    assert document["servers"] == {"main": {"host": "shop.example", "protocol": "wss", "pathname": "/x"}}
    channel = document["channels"]["support"]
    assert channel["address"] == "/support/{kind}/{number}"
    assert (channel["summary"], channel["description"]) == ("Answer a question.", "At length.\n\nWith more.")
    assert channel["parameters"] == {"kind": {"enum": ["cup", "pot"]}, "number": {"description": "int"}}
    assert channel["x-guards"] == [f"{__name__}.is_visitor"]
    assert list(channel["x-cookies"]["properties"]) == ["theme"]
    query, headers = (channel["bindings"]["ws"][name] for name in ("query", "headers"))
    assert query["properties"]["size"] == {"type": "integer", "minimum": 1, "default": 10}
    assert query["required"] == ["user"]
    assert headers["properties"]["token"]["description"] == "From the sign-in."
    codes = channel["x-close-codes"]
    assert list(codes) == sorted(codes)
    assert codes["4010"] == "There is none left."
    assert codes["4011"] == "Too late error."
    assert codes["4003"] == "Closed."
    assert document["channels"]["feed"]["x-subprotocols"] == ["v1"]


def test_messages_of_a_listener_are_those_of_its_annotations() -> None:
    document = described(shop())
    receive = document["operations"]["support.receive"]
    reference = {"type": "object", "properties": {"ref": {"type": ["string", "number"]}}}
    assert messages(document, receive["messages"]) == {
        "Question": {"allOf": [{"$ref": "#/components/schemas/Question"}, reference]}
    }
    replies = messages(document, receive["reply"]["messages"])
    assert list(replies) == ["Answer", "Answer_200", "SupportReply_404", "ErrorList_400"]
    assert replies["Answer"] == {"allOf": [{"$ref": "#/components/schemas/Answer"}, reference]}
    envelope = replies["Answer_200"]["allOf"][0]
    assert envelope["properties"] == {"statusCode": {"const": 200}, "body": {"$ref": "#/components/schemas/Answer"}}
    question = document["components"]["messages"]["Question"]
    assert question["summary"] == "A question of a visitor."
    assert question["contentType"] == "application/json"
    schemas = document["components"]["schemas"]
    assert schemas["Question"]["properties"]["text"]["description"] == "What they want."
    assert schemas["Answer"]["description"] == "An answer."
    assert schemas["Answer"]["properties"]["at"]["format"] == "date-time"


def test_messages_of_a_view_are_those_of_its_options() -> None:
    document = described(shop())
    operations = document["operations"]
    assert list(messages(document, operations["feed.send"]["messages"])) == ["Feed_Answer", "Kind"]
    assert messages(document, operations["feed.receive"]["messages"]) == {"FeedReceived": {}}


def test_examples_of_a_model_are_those_of_its_message() -> None:
    async def ask(question: Question) -> None: ...

    message = described(app_of_listener(ask, "/ask"))["components"]["messages"]["Question"]
    assert message["examples"] == [{"payload": {"text": "Where is my cup?"}}]


async def test_what_is_described_is_what_is_sent() -> None:
    """The payloads of a conversation validate against the schemas of their messages."""

    async def ask(question: Question) -> Answer | Ok | NotFound:
        if question.text == "none":
            raise NotFound({"id": 1})
        answer = Answer(question.text, datetime.datetime(2026, 11, 30, tzinfo=datetime.UTC))
        return Ok(answer) if question.text == "ok" else answer

    app = app_of_listener(ask, "/ask", reference="ref")
    document = described(app)
    replies = messages(document, document["operations"]["ask.receive"]["reply"]["messages"])
    async with app.test_client() as client, client.websocket_connect("/ask") as ws:
        for sent, name in (
            ({"text": "x", "ref": 1}, "Answer"),
            ({"text": "ok", "ref": "b"}, "Answer_200"),
            ({"text": "none"}, "AskReply_404"),
            ({"text": ""}, "ErrorList_400"),
        ):
            await ws.send_json(sent)
            reply = await ws.receive_json()
            fitting = [
                each
                for each, payload in replies.items()
                if jsonschema.Draft7Validator({**payload, **{"components": document["components"]}}).is_valid(reply)
            ]
            assert name in fitting
            assert "Answer_200" not in fitting or name == "Answer_200"


# --- whatever an application may hold ------------------------------------------------------------------------------

T = TypeVar("T")
Number = NewType("Number", int)
Tree = TypeAliasType("Tree", "dict[str, Tree] | int")


class Node(BaseModel):
    name: str
    children: list[Node] = []
    parent: Node | None = None


class Page(BaseModel, Generic[T]):
    items: list[T]
    weight: float = math.nan


class Cat(BaseModel):
    type: Literal["cat"]
    model_config = ConfigDict(extra="forbid")


class Dog(BaseModel):
    type: Literal["dog"]
    model_config = ConfigDict(extra="allow")


class Names(RootModel[dict[str, list[int]]]):
    pass


class Typed(TypedDict, total=False):
    """A dictionary."""

    a_b: int


class Pair(NamedTuple):
    left: int
    right: str = "x"


@attrs.frozen
class Attributes:
    """Of attrs."""

    _hidden: int
    inner: Attributes | None = None
    shape: tuple[int, ...] = ()


class Aliased(BaseModel):
    first_name: str = Field(alias="first-name")
    constructor: int = 1
    raw: bytes = b""
    fixed: tuple[int, str] = (1, "a")
    any: Any = None
    function: Any = Field(default=len)
    number: Number = Number(1)
    tree: Tree = 1
    ids: dict[uuid.UUID, Kind] = {}


class Channels(BaseModel):
    """Named as our own type; its text ends a comment: */ and </script> <b>."""

    quote: Literal['"', "\\", "\n", 1, None, True]


class Keywords(BaseModel):
    """Members with the names of keywords of JSON schemas."""

    model_config = ConfigDict(title='A "title"\nof */ two lines')

    properties: dict[str, Node] = {}
    default: Node | None = None
    enum: Node | None = None
    const: list[Node] = []
    examples: Node | None = None
    ref: Node | None = Field(default=None, alias="$ref")
    defs: Node | None = Field(default=None, alias="$defs")
    items: Kind | None = None
    proto: int = Field(default=1, alias="__proto__")
    any_of: int = Field(default=1, alias="anyOf")
    type: Literal["a"] = "a"
    description: str = Field(default="", description="two\nlines */")


class Opaque:
    pass


TYPES: dict[str, Any] = {
    "recursive": Node,
    "generic": Page[Node] | Page[int],
    "discriminated": Annotated[Cat | Dog, Field(discriminator="type")],
    "optional": Annotated[Cat | None, Field(description="x")],
    "root": Names,
    "typed dict": Typed,
    "named tuple": Pair,
    "attrs": Attributes,
    "aliased": Aliased,
    "named as ours": Channels,
    "keywords": Keywords,
    "classes": type[Node] | type,
    "callable": Callable[[int], str] | int,
    "pattern": re.Pattern[str] | Path | bytes,
    "constant objects": Annotated[dict[str, int], Field(json_schema_extra={"enum": [{"a": 1}, {}]})],
    "deep": dict[str, list[tuple[int, dict[str, tuple[Node, ...]]]]],
    "list of unions": list[Cat | Dog | None],
    "literal": Literal["a", 1],
    "enum": Kind,
    "alias": Tree,
    "new type": Number,
    "set": frozenset[int],
    "any": Any,
    "none": None,
    "object": object,
    "dict": dict[int, Typed],
    "date": datetime.date | datetime.timedelta | uuid.UUID,
}
types = pytest.mark.parametrize("kind", TYPES.values(), ids=TYPES)


def both_ways(kind: Any) -> App:
    app = App()

    async def talk(data: Any) -> Any:
        """Talk."""

    talk.__annotations__ = {"data": kind, "return": kind}
    app.listener("/talk")(talk)
    app.websocket("/see", receives=kind, sends=kind)(lambda ws: None)
    return app


def test_path_parameter_may_be_one_of_several_texts() -> None:
    async def view(
        ws: WebSocket, side: Literal["left", "right"], since: datetime.date = datetime.date(2026, 1, 1)
    ) -> None:
        """See."""

    channel = described(app_of(view, "/{side}/{unused}"))["channels"]["view"]
    assert channel["parameters"] == {"side": {"enum": ["left", "right"]}, "unused": {}}
    assert channel["bindings"]["ws"]["query"]["properties"]["since"] == {"type": "string", "format": "date"}


@types
def test_document_is_valid_with_any_type(kind: Any) -> None:
    described(both_ways(kind))


def test_reply_of_a_class_without_a_schema_is_anything() -> None:
    async def x(data: int) -> Opaque | AsyncIterator[Opaque]: ...

    assert "OpaqueReply" not in described(app_of_listener(x, "/x"))["components"]["schemas"]


def test_class_with_one_form_both_ways_has_one_schema() -> None:
    assert set(described(both_ways(Node))["components"]["schemas"]) == {"Node", "ErrorItem", "ErrorList"}


def test_class_with_two_forms_has_two_schemas() -> None:
    class Masked(BaseModel):
        secret: datetime.timedelta
        inner: list[Masked] = []

        @property
        def x(self) -> int:
            return 1

    class Computed(Masked):
        model_config = ConfigDict(json_schema_serialization_defaults_required=True)
        count: int = 1
        child: Node | None = None

    found = described(both_ways(Computed))["components"]["schemas"]
    assert {"Computed-Input", "Computed-Output", "Node"} <= set(found)


def test_channels_with_one_name_have_keys_of_their_own() -> None:
    app = App()
    for path in ("/a", "/b", "/c"):

        @app.websocket(path, name="ünïcode name/x")
        async def view(ws: WebSocket) -> None: ...

    assert list(described(app)["channels"]) == ["_n_code_name_x", "_n_code_name_x2", "_n_code_name_x3"]


def test_path_may_hold_a_name_outside_of_ascii() -> None:
    async def view(ws: WebSocket, größe: int) -> None: ...  # noqa: PLC2401 - of users

    channel = described(app_of(view, "/x/{größe:int}/{rest:path}"))["channels"]["view"]
    assert channel["address"] == "/x/{größe}/{rest}"
    assert list(channel["parameters"]) == ["rest"]


def test_controllers_routers_and_included_apps_are_described() -> None:
    inner, router = App(), Router("/r")
    inner.close_on(SoldOutError, 4444)

    class Car(Controller):
        @listener("/{number}")
        async def drive(self, data: Question) -> Answer:
            """Drive."""

    inner.add_controller(Car, "/car")
    router.websocket("/w")(lambda ws: None)
    app = App()
    app.include(inner, "/in")
    app.include(router)
    channels = described(app)["channels"]
    assert {each["address"] for each in channels.values()} == {"/in/car/{number}", "/r/w"}
    assert channels["drive"]["summary"] == "Drive."
    assert channels["drive"]["x-close-codes"]["4444"] == "There is none left."


@pytest.mark.parametrize(("encoding", "content"), [("text", "text/plain"), ("bytes", "application/octet-stream")])
def test_messages_of_another_encoding_are_no_json(encoding: Any, content: str) -> None:
    app = App()

    app.listener("/x", encoding=encoding)(lambda data: data)

    @app.websocket("/y", value_type=encoding)
    async def y(ws: WebSocket) -> None: ...

    found = described(app)["components"]["messages"]
    assert {each["contentType"] for each in found.values()} == {content}


def test_statuses_of_replies_are_those_of_their_classes() -> None:
    app = App()

    @app.listener("/x")
    async def x(data: Question) -> Reply: ...

    @app.listener("/y", on_invalid=lambda error: Kind.CUP)
    async def y(data: Annotated[Question, WsBody(description="Asked.")]) -> AsyncIterator[Answer | Ok]:
        yield

    document = described(app)
    operations = document["operations"]
    names = list(messages(document, operations["x.receive"]["reply"]["messages"]))
    assert names == ["XReply_Status", "ErrorList_400"]
    assert list(messages(document, operations["y.receive"]["reply"]["messages"])) == ["Answer", "Answer_200", "YReply"]
    assert document["components"]["messages"]["Y_Question"]["summary"] == "Asked."


def test_return_annotation_that_cannot_be_resolved_is_anything() -> None:
    app = App()

    async def x(data: int) -> Missing: ...  # type: ignore[name-defined]  # noqa: F821

    with pytest.raises(NameError):
        reply_type(x)
    app.listener("/x")(x)
    document = described(app)
    assert messages(document, document["operations"]["x.receive"]["reply"]["messages"])["XReply"] == {}


@pytest.mark.parametrize(
    ("options", "error", "match"),
    [
        ({"receives": [Cat, Dog]}, TypeError, r"receives takes a type.*A \| B"),
        ({"sends": "Cat"}, TypeError, "sends takes a type"),
        ({"close_codes": {4003: 1}}, TypeError, "meaning of a close code"),
        ({"close_codes": {"4003": "x"}}, TypeError, "a code of close_codes"),
        ({"close_codes": {9999: "x"}}, ValueError, "a code of close_codes"),
        ({"close_codes": [4003]}, TypeError, "close_codes takes a mapping"),
    ],
)
def test_option_of_a_route_that_cannot_be_described_is_refused(options: Any, error: Any, match: str) -> None:
    with pytest.raises(error, match=match):
        App().websocket("/x", **options)


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"servers": {"a": "http//x"}}, ValueError),
        ({"servers": ["wss://x"]}, TypeError),
        ({"title": 1}, TypeError),
        ({"titel": "x"}, TypeError),
    ],
)
def test_option_of_the_document_that_makes_no_sense_is_refused(options: Any, error: Any) -> None:
    with pytest.raises(error):
        App().asyncapi(**options)
    with pytest.raises(error):
        App().asyncapi_page("/docs", **options)


def test_validator_finds_a_broken_document() -> None:
    """It is the judge of all others."""
    document = shop().asyncapi()
    document["operations"]["support.receive"]["action"] = "get"
    assert len(problems(document)) == 1


# --- the page ------------------------------------------------------------------------------------------------------


async def test_page_shows_the_channels_and_links_the_document() -> None:
    app = shop()
    app.asyncapi_page("/docs", title="Shop <1>")

    async with app.test_client() as client:
        page, document = await client.get("/docs"), await client.get("/docs.json")
        app.websocket("/later")(lambda ws: None)
        later = await client.get("/docs")
    text = page.body.decode()
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    assert "default-src 'none'" in page.headers["content-security-policy"]
    assert "<title>Shop &lt;1&gt;</title>" in text
    assert 'href="/docs.json"' in text
    assert document.json() == shop().asyncapi(title="Shop <1>")
    for shown in (
        "/support/{kind}/{number}",
        "Answer a question.",
        "There is none left.",
        "is_visitor",
        "What they want.",
    ):
        assert shown in html.unescape(text)
    assert "/later" in later.body.decode()


@types
async def test_page_of_any_type_is_well_formed(kind: Any) -> None:
    app = both_ways(kind)
    app.asyncapi_page("/")
    async with app.test_client() as client:
        text = (await client.get("/")).body.decode()
        assert problems((await client.get("/asyncapi.json")).json()) == []
    assert "<b>" not in text
    assert text.count("<article") == text.count("</article>") == 2


def test_page_has_one_place() -> None:
    app = App()
    app.asyncapi_page("/docs", json_path="/spec")
    with pytest.raises(ValueError, match="already"):
        app.asyncapi_page("/docs")
    with pytest.raises(ValueError, match="slash"):
        app.asyncapi_page("docs")


def test_routes_that_cannot_work_are_reported() -> None:
    app = App()

    class Unregistered:
        @app.websocket("/x")
        async def x(self, ws: WebSocket) -> None: ...

    with pytest.raises(RegistrationError, match="decorate the class"):
        app.asyncapi()


# --- TypeScript ----------------------------------------------------------------------------------------------------


def everything() -> App:
    """An application with a route for each of the types."""
    app = shop()
    for number, kind in enumerate(TYPES.values()):
        app.include(both_ways(kind), f"/t{number}")
    app.listener("/bytes", encoding="bytes")(lambda data: b"")
    return app


def test_types_of_a_usual_application() -> None:
    written = typescript(shop().asyncapi(title="Shop"))
    assert (
        "/** A question of a visitor. */\nexport interface Question {\n  /** What they want. */\n  text: string;\n"
        in written
    )
    assert 'export type Kind = "cup" | "pot";' in written
    assert "    send: unknown;\n    receive: Answer | Kind;\n" in written
    assert "      ref?: string | number;\n" in written


@pytest.mark.slow
def test_names_in_types_are_identifiers_and_differ() -> None:
    written = typescript(everything().asyncapi())
    declared = re.findall(r"^export (?:interface|type) (\S+)", written, re.MULTILINE)
    assert len(declared) == len({each.partition("<")[0] for each in declared})
    assert {"Channels2", "Page_Node", "Page_int"} <= {each.strip("_") for each in declared}
    assert "*/ and" not in written


PAGE = """
import type { Address, CloseCode, Parameters, Query, Received, Sent } from "./messages";

const question: Sent<"/support/{kind}/{number}"> = { text: "Where?", kind: "cup", ref: 1 };
const where: Parameters<"/support/{kind}/{number}"> = { kind: "pot", number: "7" };
const query: Query<"/support/{kind}/{number}"> = { user: "Ada" };
const sold: CloseCode<"/feed"> = 4010;
const address: Address = "/feed";

export function onMessage(event: MessageEvent): string {
  const message: Received<"/support/{kind}/{number}"> = JSON.parse(event.data);
  if ("statusCode" in message) {
    return message.statusCode === 400 ? message.body.errorList.map((each) => each.msg).join() : "";
  }
  return message.text + address + question.text + where.kind + query.user + sold;
}
"""
MISTAKES = [
    ('kind: "cup", ref: 1', 'kind: "plate", ref: 1'),
    ('text: "Where?", ', ""),
    ('sold: CloseCode<"/feed"> = 4010', 'sold: CloseCode<"/feed"> = 4999'),
    ("each.msg", "each.message"),
    ('address: Address = "/feed"', 'address: Address = "/food"'),
]


def compile_page(folder: Path, *pages: str) -> list[list[str]]:
    """Return the errors of pages that use the types of everything, as the compiler reports them."""
    assert TSC is not None
    (folder / "messages.d.ts").write_text(typescript(everything().asyncapi()), encoding="utf-8")
    names = [f"page{number}.ts" for number in range(len(pages))]
    for name, page in zip(names, pages, strict=True):
        (folder / name).write_text(page, encoding="utf-8")
    options = ["--strict", "--noEmit", "--target", "es2022", "--lib", "es2022,dom", "--pretty", "false"]
    result = subprocess.run(
        [TSC, *options, *names], cwd=folder, capture_output=True, text=True, timeout=300, check=False
    )
    lines = result.stdout.splitlines()
    assert [line for line in lines if line.startswith("error")] == []  # of its options
    assert [line for line in lines if "messages.d.ts" in line] == []
    return [[line for line in lines if line.startswith(f"{name}(")] for name in names]


@pytest.mark.slow
@pytest.mark.skipif(TSC is None, reason="tsc is not installed: npm install -g typescript")
def test_page_that_uses_the_types_compiles_and_mistakes_do_not(tmp_path: Path) -> None:
    wrong = [PAGE.replace(*mistake) for mistake in MISTAKES]
    assert PAGE not in wrong
    right, *errors = compile_page(tmp_path, PAGE, *wrong)
    assert right == []
    assert [bool(each) for each in errors] == [True] * len(MISTAKES)
