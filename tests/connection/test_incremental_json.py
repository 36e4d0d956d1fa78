"""JSON read in pieces is what `json` reads, refused where `json` refuses, at a cost that grows with its length."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
import trio
from hypothesis import example, given
from hypothesis import strategies as st
from support.internals import internal

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
    max_leaves=20,
)
COMMON = ["[", "]", "{", "}", ",", ":", '"a"', '"b"', '"', "\\", "0", "-", "true", " ", "[0,1]", '{"a":0}']
TOKENS = st.lists(st.sampled_from([*COMMON, "1.5", "null", "\n"]), max_size=30).map("".join)


@pytest.fixture(params=[1, 3, 20])
def _small_pieces(request, monkeypatch):
    """Whatever the size of the pieces, also where none holds an element."""
    monkeypatch.setattr(incremental_json, "PIECE", request.param)


@pytest.fixture
def _usual_pieces(monkeypatch):
    """Pieces of which a counted text has many."""
    monkeypatch.setattr(incremental_json, "PIECE", 4096)


small_pieces = pytest.mark.usefixtures("_small_pieces")
usual_pieces = pytest.mark.usefixtures("_usual_pieces")


@small_pieces
@given(VALUES, st.sampled_from([None, 1]), st.booleans())
def test_what_json_writes_is_read(value: Any, indent: int | None, ascii_only: bool) -> None:
    text = json.dumps(value, indent=indent, ensure_ascii=ascii_only)
    assert read(text)[0] == json.loads(text)
    assert repr(read(text)[0]) == repr(json.loads(text)), "the order of keys too"


@small_pieces
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


class Anyone:
    """The channel of a message, and its reader."""

    def __init__(self) -> None:
        self.reader = self

    def count_work(self, size: int) -> None:
        """Count nothing."""


def outcome(read_message: Any, message: str | bytes) -> str:
    """Return the value, or that there is none."""
    try:
        return repr(read_message(message))
    except InvalidMessage:
        return "InvalidMessage"


CUTS = st.lists(
    st.sampled_from(
        [
            *COMMON,
            *('"b":', "\ufeff"),
            *("NaN", "1e999", '"\\ud83d', '\\ude00"', '"\\ud83d\\ude00"', "\\u00", '"\\udc00\\udc00"', '"\\x"'),
            *('"\x01"', "\x00", '"😀"', "9" * 30, "9" * 4301, f'"{"x" * 30}"', " " * 30, "[" * 60, "]" * 60),
            *('{"a":{"a":{"a":', "}" * 20, "[[[[[[[0]]]]]]]"),
        ]
    ),
    max_size=30,
).map("".join)
DEEP = st.tuples(
    st.integers(120, 132), st.sampled_from(["[", "[0,", '{"a":']), st.sampled_from(["0", "0,0,0", "[0]"])
).map(lambda shape: shape[1] * shape[0] + shape[2] + ("}" if ":" in shape[1] else "]") * shape[0])
ENCODINGS = st.sampled_from(["", "utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-32"])


@small_pieces
@given(CUTS | DEEP | VALUES.map(lambda value: json.dumps(value, indent=1)), ENCODINGS)
@example("[0," * 128 + "0" + "]" * 128, "")
@example("[0," * 129 + "0" + "]" * 129, "")
@example('{"a":' * 128 + "0" + "}" * 128, "")
@example("[[0," + "9" * 5000 + "e-4999]]", "")
@example('["' + r"\ud83d\ude00" * 9 + '"]', "")
@example('"' + r"\u0041" * 9 + '"', "utf-16")
@example("[" + " " * 99 + "]", "")
def test_read_json_agrees_with_from_json(text: str, encoding: str) -> None:
    """Value, order of keys, error, the bound of the depth, encodings of binary messages, byte order marks."""
    message = text.encode(encoding, "surrogatepass") if encoding else text
    assert outcome(lambda sent: trio.run(incremental_json.read_json, sent, Anyone()), message) == outcome(
        from_json, message
    )


@small_pieces
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


@usual_pieces
@pytest.mark.slow
@pytest.mark.parametrize("shape", SHAPES)
def test_the_work_grows_with_the_length_and_pauses_are_regular(monkeypatch: pytest.MonkeyPatch, shape: str) -> None:
    """Counted: characters given to the parser, and rounds of the loop."""
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
    assert pauses >= length // 4096 - 1


class Looks:
    """Counts the characters that regular expressions match, and the parser parses, between two pauses."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.most = self._now = 0
        for name, pattern in vars(incremental_json).items():
            if isinstance(pattern, re.Pattern):
                patch.setattr(incremental_json, name, self._counted(pattern))
        raw_decode = json.JSONDecoder.raw_decode

        def counted(decoder: json.JSONDecoder, s: str, idx: int = 0) -> tuple[Any, int]:
            self._add(len(s) - idx)
            return raw_decode(decoder, s, idx)

        patch.setattr(json.JSONDecoder, "raw_decode", counted)

    def _counted(self, pattern: re.Pattern[str]) -> Any:
        looks = self

        class Counted:
            def match(self, text: str, begin: int = 0, end: int = 1 << 40) -> Any:
                found = pattern.match(text, begin, end)
                looks._add(found.end() - begin if found else 0)
                return found

            def fullmatch(self, text: str, begin: int, end: int) -> Any:
                looks._add(end - begin)
                return pattern.fullmatch(text, begin, end)

        return Counted()

    def _add(self, size: int) -> None:
        self._now += size
        self.most = max(self.most, self._now)

    def read(self, text: str) -> None:
        """Read a text to its end, or to what is wrong with it."""
        try:
            for _ in incremental_json.in_pieces(text):
                self._now = 0
        except ValueError:
            pass


ENDLESS = {
    "a string of escapes": lambda n: '["' + r"\u0041" * (n // 6) + '"]',
    "a string of surrogates": lambda n: '["' + r"\udc00" * (n // 6) + '"]',
    "a string without end": lambda n: '["' + "x" * n,
    "a text that is one string": lambda n: '"' + "x" * n + '"',
    "a key": lambda n: '{"' + "k" * n + '":0}',
    "a key of an array": lambda n: '{"' + "k" * n + '":[0]}',
    "quotes": lambda n: "[" + '"' * n,
    "brackets of two kinds": lambda n: "[" + "[}" * (n // 2),
    "colons": lambda n: "{" + ":" * n,
    "blanks in an array": lambda n: "[" + " " * n + "]",
    "blanks at the begin": lambda n: " " * n + "[0]",
    "blanks at the end": lambda n: "[0]" + " " * n,
    "blanks behind an array": lambda n: "[[" + "0," * 5000 + "0]" + " " * n + "]",
}


@usual_pieces
@pytest.mark.parametrize("shape", ENDLESS)
def test_a_step_looks_at_some_pieces_whatever_is_long(monkeypatch: pytest.MonkeyPatch, shape: str) -> None:
    """A token may be as long as the message, and so may what is not JSON."""
    looks = Looks(monkeypatch)
    looks.read(ENDLESS[shape](400_000))
    assert 0 < looks.most <= 6 * 4096


@usual_pieces
@pytest.mark.parametrize("before", ["", "[" + "0," * 5000 + "0],"])
def test_groups_that_are_deep_are_parsed_as_a_whole(monkeypatch: pytest.MonkeyPatch, before: str) -> None:
    """Also after something that was tried in vain: going in level by level takes fifty times as long."""
    rounds = 0
    advance = internal(incremental_json._Reader, "_advance")

    def counted(reader: Any) -> Any:
        nonlocal rounds
        rounds += 1
        return advance(reader)

    monkeypatch.setattr(incremental_json._Reader, "_advance", counted)
    groups = 1000
    value, _ = read("[" + before + ",".join(["[" * 100 + "]" * 100] * groups) + "]")
    assert len(value) == groups + bool(before)
    assert rounds <= 3 * groups
