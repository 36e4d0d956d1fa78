"""Conversion: what texts and bodies become, and that nothing but ParameterError comes of bad ones."""

# Both ways to write a union are tested.
# ruff: noqa: UP007, UP045

from __future__ import annotations

import collections
import enum
import json
import typing
from collections import abc
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal
from types import MappingProxyType
from typing import Annotated, Any, Generic, Literal, NamedTuple, NewType, Optional, TypeVar, Union
from uuid import UUID

import attrs
import pytest
import typing_extensions
from hypothesis import given
from hypothesis import strategies as st
from pydantic import AfterValidator, BaseModel, BeforeValidator, Field, Json, RootModel

from trio_ws.app.errors import ErrorDetail, ParameterError, RegistrationError
from trio_ws.app.parameters.validation import MAX_ERRORS, Validator, adapter_for


class Level(enum.IntEnum):
    LOW = 1
    HIGH = 2


class Color(enum.Enum):
    RED = "red"
    BLUE = "blue"


class Mixed(enum.Enum):
    ONE = 1
    TEXT = "1"
    HALF = 0.5
    YES = True + 1
    PAIR = (1, 2)


class Switch(enum.Enum):
    ON = True
    OFF = False


class Point(NamedTuple):
    x: int
    y: int = 0


class Model(BaseModel):
    message: str
    count: int = 0


class Tags(RootModel[list[str]]):
    pass


@dataclass
class Data:
    message: str
    when: date | None = None


@attrs.define
class Inner:
    n: int


@attrs.frozen
class Chat:
    message: str
    inner: Inner | None = None
    inners: tuple[Inner, ...] = attrs.field(default=(), converter=tuple)
    _private: int = 7
    made: int = attrs.field(init=False, default=1)


@attrs.define
class Node:
    value: int
    children: list[Node] = attrs.field(factory=list)


@attrs.define
class Picky:
    n: Any = attrs.field(validator=attrs.validators.instance_of(int))
    even: int = attrs.field(default=0)

    @even.validator
    def _check(self, _: object, value: int) -> None:
        if value % 2:
            raise ValueError("must be even")


def seconds(text: str) -> float:
    return float(text.removesuffix("s"))


@attrs.define
class Converted:
    delay: float = attrs.field(converter=seconds)


class OldTyped(typing.TypedDict):
    name: str
    age: typing.NotRequired[int]


class OldTotal(OldTyped, total=False):
    inner: Inner
    again: typing.Required[list[OldTotal]]


class NewTyped(typing_extensions.TypedDict, total=False):
    name: typing_extensions.Required[str]
    inner: Inner


class Strict(typing_extensions.TypedDict):
    __pydantic_config__ = MappingProxyType({"extra": "forbid"})  # type: ignore[misc]
    n: int


@attrs.define
class Car:
    kind: Literal["car"]
    doors: int


@attrs.define
class Bike:
    kind: Literal["bike"]
    gears: int


T = TypeVar("T")


@dataclass
class Box(Generic[T]):
    content: T


UserId = NewType("UserId", int)
Alias = typing_extensions.TypeAliasType("Alias", int | None)
Many = typing_extensions.TypeAliasType("Many", list[T], type_params=(T,))


def text(annotation: Any) -> Validator:
    return adapter_for(annotation, source="text")


def errors(validator: Validator, value: Any) -> list[ErrorDetail]:
    with pytest.raises(ParameterError) as caught:
        validator.from_body(value)
    return list(caught.value.errors)


# --- text --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("annotation", "values", "value"),
    [
        (str, ["x"], "x"),
        (str, [""], ""),
        (int, ["1", "2"], 2),
        (float, ["1.5"], 1.5),
        (bool, ["true"], True),
        (bool, ["0"], False),
        (bool, ["on"], True),
        (bytes, ["é"], "é".encode()),
        (Decimal, ["1.10"], Decimal("1.10")),
        (UUID, [str(UUID(int=5))], UUID(int=5)),
        (date, ["2024-02-29"], date(2024, 2, 29)),
        (datetime, ["2024-02-29T12:00:00"], datetime(2024, 2, 29, 12)),
        (timedelta, ["PT1H"], timedelta(hours=1)),
        (Any, ["x"], "x"),
        (int | None, ["3"], 3),
        (Optional[date], ["2024-01-01"], date(2024, 1, 1)),
        (UserId, ["3"], 3),
        (Alias, ["3"], 3),
        (Annotated[int, Field(gt=1)], ["3"], 3),
        (Annotated[int | None, Field(gt=1)], ["3"], 3),
        (Annotated[str, AfterValidator(str.upper)], ["x"], "X"),
        (Literal["a", "b"], ["b"], "b"),
        (Literal[1, 2], ["2"], 2),
        (Literal[True, "auto"], ["true"], True),
        (Literal[True, "auto"], ["auto"], "auto"),
        (Literal["x", None], ["x"], "x"),
        (Literal[Level.HIGH], ["2"], Level.HIGH),
        (Color, ["blue"], Color.BLUE),
        (Level, ["2"], Level.HIGH),
        (Mixed, ["1"], Mixed.TEXT),
        (Mixed, ["0.5"], Mixed.HALF),
        (Switch, ["false"], Switch.OFF),
        (Optional[Level], ["1"], Level.LOW),
        (Json[Model], ['{"message": "x"}'], Model(message="x")),
        (Json[list[int]], ["[1, 2]"], [1, 2]),
        (Json, ["[1, 2]"], [1, 2]),
        (Annotated[Model, BeforeValidator(lambda raw: Model(message=raw))], ["x"], Model(message="x")),
    ],
)
def test_a_text_becomes_what_the_annotation_says(annotation: Any, values: list[str], value: Any) -> None:
    made = text(annotation).from_strings(values)
    assert made == value
    assert type(made) is type(value)


@pytest.mark.parametrize(
    ("annotation", "value"),
    [
        (list[int], [1, 2, 2]),
        (list, ["1", "2", "2"]),
        (typing.List[int], [1, 2, 2]),  # noqa: UP006
        (set[int], {1, 2}),
        (frozenset[Literal[1, 2]], frozenset({1, 2})),
        (tuple[int, ...], (1, 2, 2)),
        (tuple[int, str, Level], (1, "2", Level.HIGH)),
        (collections.deque[int], collections.deque([1, 2, 2])),
        (abc.Sequence[int], [1, 2, 2]),
        (abc.Iterable[int], [1, 2, 2]),
        (abc.Iterable, ["1", "2", "2"]),
        (abc.Collection[int], [1, 2, 2]),
        (abc.Iterator[int], [1, 2, 2]),
        (list[int] | None, [1, 2, 2]),
        (list[int | None], [1, 2, 2]),
        (Annotated[list[int], Field(min_length=3)], [1, 2, 2]),
        (list[Annotated[int, Field(gt=0)]], [1, 2, 2]),
        (Many[int], [1, 2, 2]),
        (list[Level], [Level.LOW, Level.HIGH, Level.HIGH]),
        (list[Json[int]], [1, 2, 2]),
        (int | list[int], [1, 2, 2]),
    ],
)
def test_repeated_values_become_a_collection(annotation: Any, value: Any) -> None:
    validator = text(annotation)
    assert validator.many
    made = validator.from_strings(["1", "2", "2"])
    assert made == value
    assert type(made) is type(value)


def test_a_named_tuple_is_made_of_repeated_values() -> None:
    assert text(Point).from_strings(["1"]) == Point(1, 0)
    assert text(Point).from_strings(["1", "2"]) == Point(1, 2)


@pytest.mark.parametrize(
    ("annotation", "raw", "value"),
    [
        (int | str, "1", 1),
        (int | str, "x", "x"),
        (str | int, "1", "1"),
        (date | int | str, "2024-01-01", date(2024, 1, 1)),
    ],
)
def test_of_a_union_the_first_member_that_takes_the_text_wins(annotation: Any, raw: str, value: Any) -> None:
    assert text(annotation).from_strings([raw]) == value


@pytest.mark.parametrize(
    ("annotation", "values", "expected"),
    [
        (
            int,
            ["x"],
            ErrorDetail((), "int_parsing", "Input should be a valid integer, unable to parse string as an integer"),
        ),
        (
            int | None,
            [""],
            ErrorDetail((), "int_parsing", "Input should be a valid integer, unable to parse string as an integer"),
        ),
        (Literal[1, 2], ["3"], ErrorDetail((), "literal_error", "Input should be 1 or 2")),
        (Color, ["pink"], ErrorDetail((), "enum", "Input should be 'red' or 'blue'")),
        (Annotated[int, Field(gt=1)], ["1"], ErrorDetail((), "greater_than", "Input should be greater than 1")),
    ],
)
def test_a_text_that_does_not_convert_is_a_problem(annotation: Any, values: list[str], expected: ErrorDetail) -> None:
    with pytest.raises(ParameterError) as caught:
        text(annotation).from_strings(values)
    assert caught.value.errors == (expected,)


def test_every_wrong_value_of_a_list_is_a_problem_with_its_index() -> None:
    with pytest.raises(ParameterError) as caught:
        text(list[int]).from_strings(["x", "1", "y"])
    assert [(each.loc, each.type) for each in caught.value.errors] == [((0,), "int_parsing"), ((2,), "int_parsing")]


@pytest.mark.parametrize(
    "annotation", [Model, Data, Chat, OldTyped, NewTyped, dict, dict[str, int], abc.Mapping[str, int]]
)
def test_composite_type_for_text_is_refused_with_the_fix(annotation: Any) -> None:
    """What is made of several values is refused for text with the fix."""
    with pytest.raises(RegistrationError, match=r"f\.g: parameter 'x': .* is made of several values: let Depends"):
        adapter_for(annotation, source="text", where="f.g: parameter 'x'")


@pytest.mark.parametrize("annotation", [list[list[int]], set[tuple[int, ...]], list[list]])
def test_lists_of_lists_are_refused_for_text_with_the_fix(annotation: Any) -> None:
    with pytest.raises(RegistrationError, match=r"take pydantic\.Json"):
        text(annotation)


@pytest.mark.parametrize("source", ["text", "body"])
@pytest.mark.parametrize("annotation", [range, abc.Generator[int, None, None] | range, object(), 5, Union[int, range]])
def test_what_nothing_can_be_made_into_is_refused(annotation: Any, source: Literal["text", "body"]) -> None:
    with pytest.raises(RegistrationError, match=r"^here: nothing .* can be made into .* let Depends"):
        adapter_for(annotation, source=source, where="here")


TEXT_ANNOTATIONS: list[Any] = [
    *(int, float, bool, bytes, Decimal, UUID, date, datetime, timedelta, Color, Level, Mixed, Switch),
    *(Literal[1, "a"], int | None, int | date, Json[list[int]], list[int], set[UUID], tuple[int, str], Point),
    *(Annotated[str, Field(max_length=2)], Annotated[Decimal, Field(gt=1)], Alias, Many[int], abc.Iterable[int]),
]
TEXT_VALIDATORS = [text(annotation) for annotation in TEXT_ANNOTATIONS]
NASTY = st.sampled_from(
    ["", "nan", "1e999", "9" * 5000, "-0", "1_0", "\x00", "2024-13-01", "P9999999999Y", "sNaN", "[" * 999]
)


@given(st.lists(st.text() | NASTY, min_size=1))
def test_arbitrary_texts_raise_only_parameter_error(values: list[str]) -> None:
    """Whatever texts come nothing but ParameterError is raised."""
    for validator in TEXT_VALIDATORS:
        try:
            validator.from_strings(values)
        except ParameterError as error:
            assert error.errors  # noqa: PT017 - most inputs raise nothing
            json.dumps(error.error_list, ensure_ascii=False).encode()


# --- bodies ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("annotation", "body", "value"),
    [
        (Model, {"message": "x"}, Model(message="x")),
        (Data, {"message": "x", "when": "2024-01-01"}, Data("x", date(2024, 1, 1))),
        (Tags, ["a"], Tags(["a"])),
        (Point, [1, 2], Point(1, 2)),
        (Point, {"x": 1}, Point(1)),
        (Box[int], {"content": "1"}, Box(1)),
        (str, "x", "x"),
        (str, b"x", "x"),
        (bytes, b"\x00", b"\x00"),
        (int, 5, 5),
        (dict[str, int], {"a": 1}, {"a": 1}),
        (list[Model], [{"message": "x"}], [Model(message="x")]),
        (abc.Iterable[int], [1], [1]),
        (abc.Iterable, [1], [1]),
        (Any, {"a": [1]}, {"a": [1]}),
        (None, None, None),
        (OldTyped, {"name": "x"}, {"name": "x"}),
        (OldTotal, {"name": "x", "again": []}, {"name": "x", "again": []}),
        (
            OldTotal,
            {"name": "x", "inner": {"n": 1}, "again": [{"name": "y", "age": "3", "again": []}]},
            {"name": "x", "inner": Inner(1), "again": [{"name": "y", "age": 3, "again": []}]},
        ),
        (NewTyped, {"name": "x", "inner": {"n": 1}}, {"name": "x", "inner": Inner(1)}),
        (Inner, {"n": "1"}, Inner(1)),
        (Chat, {"message": "x"}, Chat("x")),
        (
            Chat,
            {"message": "x", "inner": {"n": 1}, "inners": [{"n": 2}], "private": 8, "unknown": 1},
            Chat("x", Inner(1), (Inner(2),), 8),
        ),
        (Node, {"value": 1, "children": [{"value": 2}]}, Node(1, [Node(2)])),
        (Converted, {"delay": "2.5s"}, Converted("2.5s")),
        (list[Inner] | None, [{"n": 1}], [Inner(1)]),
        (Optional[Inner], {"n": 1}, Inner(1)),
        (Union[Inner, int], 3, 3),
        (dict[str, Inner], {"a": {"n": 1}}, {"a": Inner(1)}),
        (Annotated[Inner, AfterValidator(lambda inner: inner.n)], {"n": 1}, 1),
        (Box[Inner], {"content": {"n": 1}}, Box(Inner(1))),
        (Annotated[Car | Bike, Field(discriminator="kind")], {"kind": "bike", "gears": 3}, Bike("bike", 3)),
    ],
)
def test_a_body_becomes_what_the_annotation_says(annotation: Any, body: Any, value: Any) -> None:
    made = adapter_for(annotation).from_body(body)
    assert made == value
    assert type(made) is type(value)


@pytest.mark.parametrize(
    ("annotation", "body", "locations"),
    [
        (Model, {}, [(("message",), "missing")]),
        (Model, {"message": 1, "count": "x"}, [(("message",), "string_type"), (("count",), "int_parsing")]),
        (Data, {}, [(("message",), "missing")]),
        (OldTyped, {"age": "x"}, [(("name",), "missing"), (("age",), "int_parsing")]),
        (OldTotal, {"name": "x"}, [(("again",), "missing")]),
        (NewTyped, {"inner": {}}, [(("name",), "missing"), (("inner", "n"), "missing")]),
        (Strict, {"n": 1, "m": 2}, [(("m",), "extra_forbidden")]),
        (Inner, {}, [(("n",), "missing")]),
        (Chat, {"inners": [{"n": "x"}]}, [(("message",), "missing"), (("inners", 0, "n"), "int_parsing")]),
        (Node, {"value": 1, "children": [{}]}, [(("children", 0, "value"), "missing")]),
        (list[Inner], [{}], [((0, "n"), "missing")]),
        (Annotated[Car | Bike, Field(discriminator="kind")], {"kind": "x"}, [((), "union_tag_invalid")]),
        (Annotated[Car | Bike, Field(discriminator="kind")], {"kind": "car"}, [(("car", "doors"), "missing")]),
        (Picky, {"n": "x"}, [((), "value_error")]),
        (Picky, {"n": 1, "even": 3}, [((), "value_error")]),
        (Model, [], [((), "model_type")]),
        (Inner, 5, [((), "dict_type")]),
        (int, None, [((), "int_type")]),
    ],
)
def test_each_problem_of_a_body_says_where_it_is(annotation: Any, body: Any, locations: list[Any]) -> None:
    assert [(each.loc, each.type) for each in errors(adapter_for(annotation), body)] == locations


def test_a_missing_field_is_described_as_the_documents_have_it() -> None:
    (problem,) = errors(adapter_for(Model), {})
    assert problem.as_dict() == {"loc": ["message"], "type": "missing", "msg": "Field required"}


def test_what_validators_of_attrs_say_is_told() -> None:
    (problem,) = errors(adapter_for(Picky), {"n": 1, "even": 3})
    assert problem.msg == "Value error, must be even"
    (problem,) = errors(adapter_for(Picky), {"n": "x"})
    assert "'n' must be <class 'int'>" in problem.msg


def test_attrs_class_with_pydantic_schema_is_left_to_pydantic() -> None:
    """An attrs class that speaks Pydantic itself is left to it."""

    @attrs.define
    class Own:
        n: int

        @classmethod
        def __get_pydantic_core_schema__(cls, *_: object) -> Any:
            from pydantic_core import core_schema

            return core_schema.no_info_plain_validator_function(cls)

    assert adapter_for(Own).from_body(5) == Own(5)


def test_fields_of_function_local_classes_are_resolved() -> None:
    """Fields of classes that are local to a function are resolved."""

    @attrs.define
    class Leaf:
        n: int

    @attrs.define
    class Branch:
        leaf: Leaf

    class Typed(typing.TypedDict):
        leaf: Leaf

    assert adapter_for(Branch).from_body({"leaf": {"n": 1}}) == Branch(Leaf(1))
    assert adapter_for(Typed).from_body({"leaf": {"n": 1}}) == {"leaf": Leaf(1)}


def test_a_field_that_cannot_be_resolved_is_refused() -> None:
    @attrs.define
    class Lost:
        n: Nowhere  # type: ignore[name-defined]  # noqa: F821

    with pytest.raises(RegistrationError, match="name 'Nowhere' is not defined"):
        adapter_for(Lost)


def test_a_model_that_cannot_be_resolved_is_refused() -> None:
    class Lost(BaseModel):
        n: Nowhere  # type: ignore[name-defined]  # noqa: F821

    with pytest.raises(RegistrationError, match="Lost"):
        adapter_for(Lost)


def test_a_body_nested_too_deep_is_a_problem() -> None:
    body: dict[str, Any] = {"value": 1}
    for _ in range(2000):
        body = {"value": 1, "children": [body]}
    assert errors(adapter_for(Node), body)


def test_a_flood_of_problems_is_counted_and_not_listed() -> None:
    (problem,) = errors(adapter_for(list[int]), ["x"] * (MAX_ERRORS + 1))
    assert problem == ErrorDetail((), "too_many_problems", "101 problems: more than 100 are not listed")
    assert len(errors(adapter_for(list[int]), ["x"] * MAX_ERRORS)) == MAX_ERRORS


def test_key_not_encodable_in_utf_8_is_escaped_in_the_error() -> None:
    """A key that UTF-8 cannot hold is repeated in a form that it can."""
    (problem,) = errors(adapter_for(dict[str, int]), {"\ud800": "x"}) or [None]
    assert json.dumps(problem.as_dict(), ensure_ascii=False).encode()


BODY_VALIDATORS = [
    adapter_for(annotation)
    for annotation in (
        *(Model, Data, Tags, Point, OldTotal, NewTyped, Chat, Node, Picky, list[Inner], dict[str, int], int, str),
        Annotated[Car | Bike, Field(discriminator="kind")],
    )
]
KEYS = st.sampled_from(["message", "n", "inner", "inners", "value", "children", "kind", "name", "again", "x", "even"])
JSON_VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(st.characters())
    | st.sampled_from(["car", "\ud800"]),
    lambda children: st.lists(children) | st.dictionaries(KEYS | st.text(), children),
    max_leaves=10,
)


@given(JSON_VALUES)
def test_arbitrary_bodies_raise_only_parameter_error(body: Any) -> None:
    """Whatever body comes nothing but ParameterError is raised."""
    for validator in BODY_VALIDATORS:
        try:
            validator.from_body(body)
        except ParameterError as error:
            assert error.errors  # noqa: PT017 - most inputs raise nothing
            json.dumps(error.error_list, ensure_ascii=False).encode()


# --- problems ----------------------------------------------------------------------------------------------------


def test_a_problem_is_seen_from_further_outside() -> None:
    assert ErrorDetail((0,), "t", "m").with_prefix("query", "n") == ErrorDetail(("query", "n", 0), "t", "m")


def test_an_error_reads_as_the_list_of_its_problems() -> None:
    error = ParameterError([ErrorDetail(("query", "n"), "missing", "Field required"), ErrorDetail((), "t", "m")])
    assert str(error) == "query.n: Field required; : m"
    assert error.body() == {"errorList": error.error_list}
    assert error.error_list[0] == {"loc": ["query", "n"], "type": "missing", "msg": "Field required"}


def test_a_registration_error_is_a_type_error() -> None:
    assert issubclass(RegistrationError, TypeError)
