"""JSON read in pieces is what `json` reads, refused where `json` refuses, at a cost that grows with its length."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from trio_ws.connection import incremental_json
from trio_ws.connection.serialization import from_json
from trio_ws.errors import InvalidMessage


def read(text: str) -> tuple[Any, int]:
    """Return the value, and how many pauses there were."""
    steps, pauses = incremental_json.in_pieces(text), 0
    while True:
        try:
            next(steps)
        except StopIteration as end:
            return end.value, pauses
        pauses += 1


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-10, 10) | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=60,
)
TOKENS = st.lists(
    st.sampled_from(
        [
            "[",
            "]",
            "{",
            "}",
            ",",
            ":",
            '"a"',
            '"b"',
            '"',
            "\\",
            "0",
            "1.5",
            "-",
            "true",
            "null",
            " ",
            "\n",
            "[0,1]",
            '{"a":0}',
        ]
    ),
    max_size=30,
).map("".join)


@pytest.fixture(params=[1, 3, 20], autouse=True)
def _small_pieces(request, monkeypatch):
    """Whatever the size of the pieces, also where none holds an element."""
    monkeypatch.setattr(incremental_json, "PIECE", request.param)


@given(VALUES, st.sampled_from([None, 1]), st.booleans())
def test_what_json_writes_is_read(value: Any, indent: int | None, ascii_only: bool) -> None:
    text = json.dumps(value, indent=indent, ensure_ascii=ascii_only)
    assert read(text)[0] == json.loads(text)
    assert repr(read(text)[0]) == repr(json.loads(text)), "the order of keys too"


@given(TOKENS)
@example("[1,]")
@example("[,1]")
@example("[[1]2]")
@example("[1][2]")
@example('{"a":1,}')
@example('{"a":1,"a":[2],"a":3}')
@example('{"a":[1] "b":2}')
@example('{"a"[1]}')
@example("[1}")
@example('{"a":{}]')
@example("[1],[2]")
@example('["a')
@example("[[")
@example("[ ]")
@example("[NaN]")
def test_what_json_refuses_is_refused_and_nothing_else(text: str) -> None:
    try:
        wanted = from_json(text)
    except InvalidMessage:
        with pytest.raises(ValueError, match=r"."):
            read(text)
    else:
        assert repr(read(text)[0]) == repr(wanted)


@pytest.mark.parametrize("text", ["[" * 100_000, '{"a":' * 100_000, "[" * 100_000 + "]" * 100_000, "[0," * 100_000])
def test_what_is_nested_too_deeply_is_refused(text: str) -> None:
    with pytest.raises((ValueError, RecursionError)):
        read(text)


SHAPES = {
    "numbers": lambda n: "[" + "0," * n + "0]",
    "empty arrays": lambda n: "[" + "[]," * n + "0]",
    "objects": lambda n: "[" + '{"a":0},' * n + "0]",
    "keys": lambda n: "{" + ",".join(f'"{number}":0' for number in range(n)) + "}",
    "deep groups": lambda n: "[" + ",".join(["[" * 100 + "]" * 100] * (n // 100)) + "]",
    "chains": lambda n: "[" + ",".join(["[0," * 100 + "0" + "]" * 100] * (n // 100)) + "]",
    "long chains": lambda n: "[" + ",".join([("[" + "0," * 100) * 100 + "0" + "]" * 100] * (n // 5000)) + "]",
    "one string": lambda n: '["' + "x" * n + '"]',
    "blanks": lambda n: "[" + " " * n + "]",
    "quotes": lambda n: "[" + r'"\"",' * n + "0]",
}


@pytest.mark.slow
@pytest.mark.parametrize("shape", SHAPES)
def test_the_work_grows_with_the_length_and_pauses_are_regular(monkeypatch: pytest.MonkeyPatch, shape: str) -> None:
    """Counted: characters given to the parser, and rounds of the loop."""
    monkeypatch.setattr(incremental_json, "PIECE", 4096)
    parsed = 0
    raw_decode = json.JSONDecoder.raw_decode

    def counted(self: json.JSONDecoder, s: str, idx: int = 0) -> tuple[Any, int]:
        nonlocal parsed
        try:
            value, end = raw_decode(self, s, idx)
        except ValueError:
            parsed += len(s) - idx
            raise
        parsed += end - idx
        return value, end

    monkeypatch.setattr(json.JSONDecoder, "raw_decode", counted)
    costs = []
    for times in (1, 4):
        parsed = 0
        text = SHAPES[shape](20_000 * times)
        value, pauses = read(text)
        assert value is not None
        costs.append((parsed, pauses, len(text)))
    (few, _, _), (many, pauses, length) = costs
    assert many <= 4.5 * few + 10_000
    assert many <= 4 * length
    if shape not in ("one string", "blanks"):  # which are one value
        assert pauses >= length // 4096 - 1
