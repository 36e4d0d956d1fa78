"""JSON in both directions: what is taken in can be sent, and what JSON does not have is refused."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trio_ws import InvalidMessage
from trio_ws.connection.serialization import MAX_DEPTH, from_json, to_json

ANY_TEXT = st.text(st.characters(exclude_categories=()), max_size=8)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | ANY_TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(ANY_TEXT, inner, max_size=4),
)


def nested(depth: int, opening: str = "[", closing: str = "]", core: str = "") -> str:
    return opening * depth + core + closing * depth


@given(VALUES)
def test_what_is_taken_in_comes_back_the_same(value: Any) -> None:
    taken = from_json(json.dumps(value))
    sent = to_json(taken)
    sent.encode()
    assert from_json(sent) == taken
    assert from_json(sent.encode()) == taken


@pytest.mark.parametrize(
    ("text", "sent"),
    [
        (r'"\ud83d"', r'"\ud83d"'),
        (r'"a\udc00ü"', r'"a\udc00ü"'),
        (r'{"\ud83d":1}', r'{"\ud83d":1}'),
        (r'"\\\ud83d"', r'"\\\ud83d"'),
        (r'"\ud83d\ude00"', '"\N{GRINNING FACE}"'),
    ],
)
def test_a_lone_surrogate_is_sent_as_its_escape(text: str, sent: str) -> None:
    assert to_json(from_json(text)) == sent
    assert sent.encode()


@pytest.mark.parametrize("text", ["1e999", "-1e999", "[1e309]", '{"a": 1E+400}', "9" * 400 + ".0", "NaN", "Infinity"])
def test_a_number_that_no_float_holds_is_refused(text: str) -> None:
    with pytest.raises(InvalidMessage, match=r"not JSON: .*(beyond the range|not in JSON)") as caught:
        from_json(text)
    assert len(str(caught.value)) < 80
    assert caught.value.message == text


@pytest.mark.parametrize("text", ["1e308", "-1.7976931348623157e308", "1e-999", "1" * 400, "0.1", "[]", '""'])
def test_a_number_that_python_holds_is_taken(text: str) -> None:
    assert json.loads(to_json(from_json(text))) == json.loads(text)


def test_more_digits_than_python_reads_are_refused() -> None:
    with pytest.raises(InvalidMessage, match="not JSON"):
        from_json("9" * 5000)


@pytest.mark.parametrize(("opening", "closing", "core"), [("[", "]", ""), ('{"a":', "}", "1"), ('[{"[":[', "]}]", "1")])
def test_one_depth_bounds_both_directions(opening: str, closing: str, core: str) -> None:
    levels = opening.replace('"["', "").count("[") + opening.count("{")
    most = MAX_DEPTH // levels
    good, bad = (nested(most + more, opening, closing, core) for more in (0, 1))
    assert to_json(from_json(good)) == good
    for text in (bad, nested(100_000, opening, closing, core)):
        with pytest.raises(InvalidMessage, match=f"nested deeper than {MAX_DEPTH} levels"):
            from_json(text)
    with pytest.raises(ValueError, match=f"nested deeper than {MAX_DEPTH} levels"):
        to_json(json.loads(bad))


def test_depth_is_told_from_breadth_and_from_text() -> None:
    for value in ([[]] * 500, [{"a": []}] * 500, "[" * 500, {"[[{": "]" * 500, "b": "[" * 500}):
        assert from_json(to_json(value)) == value


def test_a_tuple_counts_as_the_array_that_it_becomes() -> None:
    value: Any = ()
    for _ in range(MAX_DEPTH):
        value = (value,)
    with pytest.raises(ValueError, match="nested deeper"):
        to_json(value)


def test_a_value_too_deep_for_the_encoder_is_a_value_error() -> None:
    value: Any = []
    for _ in range(50_000):
        value = [value]
    with pytest.raises(ValueError, match="nested deeper"):
        to_json(value)
    while value:  # or its deallocation recurses
        value = value[0]


def test_bytes_that_are_no_unicode_are_refused() -> None:
    with pytest.raises(InvalidMessage, match="not JSON"):
        from_json(b'"\xed\xa0\xbd"')  # a surrogate as UTF-8 must not have it
    assert from_json("\ufeff[1]".encode()) == from_json("[1]".encode("utf-16")) == [1]
