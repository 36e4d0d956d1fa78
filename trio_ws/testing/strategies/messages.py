"""Strategies for the content of messages, such as texts, bytes and JSON."""

from __future__ import annotations

import random
from collections.abc import Collection
from typing import Any, Final, Literal, Self

from hypothesis import strategies as st

from trio_ws.testing.strategies.remembering import remembered

__all__ = ["MAX_SIZE", "binaries", "json_values", "messages", "sizes", "texts"]

MAX_SIZE: Final = 70_000
"""Bytes of the largest messages by default: some more than fit the 16 bit form of the length."""

_FORMS: Final = (0, 125, 126, 127, 65_535, 65_536)
"""The neighbours of the sizes at which the payload length changes its form (RFC 6455 5.2)."""

# The first and last of each length in UTF-8, the neighbours of the surrogates, and non-characters.
_EDGES: Final = (
    '\x00"\\\x7f\x80\u07ff\u0800\ud7ff\ue000\ufdd0\ufdef\ufeff\ufffd\ufffe\uffff'
    "\U00010000\U0001f600\U0001fffe\U0001ffff\U0010fffe\U0010ffff"
)
_FILLERS: Final = ("x", "é", "€", "😀")
"""A character of each length in UTF-8, the shortest first."""
_SHORT: Final = 40
_SMALL: Final = 300
_SHOWN: Final = 1000
"""Bytes of a message that is shown as it is when a test fails."""


class LongText(str):
    """A long text with a short representation: the expression that makes it."""

    _shown: str

    def __new__(cls, text: str, shown: str) -> Self:
        made = super().__new__(cls, text)
        made._shown = shown
        return made

    def __repr__(self) -> str:
        return self._shown


class LongBytes(bytes):
    """Many bytes with a short representation: the expression that makes them."""

    _shown: str

    def __new__(cls, data: bytes, shown: str) -> Self:
        made = super().__new__(cls, data)
        made._shown = shown
        return made

    def __repr__(self) -> str:
        return self._shown


@remembered
def sizes(*, max_size: int = MAX_SIZE, around: Collection[int] = ()) -> st.SearchStrategy[int]:
    """Draw payload sizes in bytes, often where the payload length changes its form.

    Example:
        @given(sizes(around=[limits.max_message_size]))
        def test_the_limit_is_exact(size):
            assert (size <= limits.max_message_size) is accepts("x" * size)

    Args:
        max_size: the largest.
        around: further sizes, such as limits, which are drawn often with their neighbours.
    """
    near = {size + step for size in around for step in (-1, 0, 1)}
    edges = sorted(size for size in {*_FORMS, *near} if 0 <= size <= max_size)
    small = (0, min(_SMALL, max_size))
    # The first range holds all sizes, so that shrinking comes to it with the same size and goes on from there.
    ranges = [(0, max_size), *[small] * len(edges), *((size, size) for size in edges)]
    return st.sampled_from(ranges).flatmap(lambda ends: st.integers(*ends))


@remembered
def texts(*, max_size: int = MAX_SIZE, around: Collection[int] = ()) -> st.SearchStrategy[str]:
    """Draw text messages, often at the boundaries of UTF-8 and of payload lengths.

    Each has an encoding: there are no surrogates, but their neighbours, non-characters, and characters of one to
    four bytes. A text of more than 1,000 bytes is a `str` whose `repr` is short.

    Example:
        @given(texts())
        def test_any_text_survives(text):
            assert text.encode().decode() == text

    Args:
        max_size: the largest, in bytes of UTF-8.
        around: further sizes, such as limits, which are drawn often with their neighbours.
    """
    short = st.text(_characters(), max_size=min(_SHORT, max_size)).map(lambda text: _first_bytes(text, max_size))
    long = st.builds(_text_of, sizes(max_size=max_size, around=around), st.sampled_from(_FILLERS))
    return st.one_of(short, long)


@remembered
def _characters(*, surrogates: bool = False) -> st.SearchStrategy[str]:
    all_of_them = st.characters(exclude_categories=()) if surrogates else st.characters(exclude_categories=["Cs"])
    edges = st.sampled_from(_EDGES).map(str)  # mapped, or Hypothesis draws them from the union of both, so hardly ever
    return st.one_of(all_of_them, edges)


def _first_bytes(text: str, size: int) -> str:
    return text.encode()[:size].decode(errors="ignore")


def _text_of(size: int, filler: str) -> str:
    """Return a text of `size` bytes, in which every boundary cuts a character unless it has one byte."""
    width = len(filler.encode())
    head, count = size % width, size // width
    text = "x" * head + filler * count
    beginning = f"{'x' * head!r} + " if head else ""
    return text if size <= _SHOWN else LongText(text, f"{beginning}{filler!r} * {count}")


def _repeated(word: bytes, size: int) -> bytes:
    count = size // len(word) + 1
    data = (word * count)[:size]
    return data if size <= _SHOWN else LongBytes(data, f"({word!r} * {count})[:{size}]")


def _noise(size: int, seed: int) -> bytes:
    data = random.Random(seed).randbytes(size)
    return data if size <= _SHOWN else LongBytes(data, f"random.Random({seed}).randbytes({size})")


@remembered
def binaries(*, max_size: int = MAX_SIZE, around: Collection[int] = ()) -> st.SearchStrategy[bytes]:
    """Draw binary messages: short ones, repetitions near and far for compression, and noise.

    Example:
        @given(binaries(max_size=1000))
        def test_compression_loses_nothing(data):
            assert zlib.decompress(zlib.compress(data)) == data

    Args:
        max_size: the largest, in bytes.
        around: further sizes, such as limits, which are drawn often with their neighbours.
    """
    size = sizes(max_size=max_size, around=around)
    word = st.binary(min_size=1, max_size=_SHORT)
    return st.one_of(
        st.binary(max_size=min(_SHORT, max_size)),
        st.builds(_repeated, word, size),
        st.builds(_noise, size, st.integers(0, 3)),
    )


@remembered
def messages(
    kind: Literal["text", "binary"] | None = None, *, max_size: int = MAX_SIZE, around: Collection[int] = ()
) -> st.SearchStrategy[str | bytes]:
    """Draw messages: `str` for text, bytes for binary.

    Example:
        @given(messages())
        async def test_echo(message):
            async with app.test_client() as client, client.websocket_connect("/echo") as ws:
                await ws.send(message)
                assert await ws.receive() == message

    Args:
        kind: None for both.
        max_size: the largest, in bytes of their encoding.
        around: further sizes, such as limits, which are drawn often with their neighbours.
    """
    text, binary = texts(max_size=max_size, around=around), binaries(max_size=max_size, around=around)
    if kind is None:
        return st.one_of(text, binary)
    return text if kind == "text" else binary


@remembered
def json_values(
    *, max_leaves: int = 12, max_depth: int = 128, surrogates: bool = False
) -> st.SearchStrategy[dict[str, Any] | list[Any] | str | float | bool | None]:
    """Draw values that JSON has, with numbers at the boundaries of what programs hold.

    They are equal to what `json.loads(json.dumps(value))` returns. NaN and infinities are not in JSON.

    Example:
        @given(json_values())
        def test_round_trip(value):
            assert json.loads(json.dumps(value)) == value

    Args:
        max_leaves: about how many values are in one.
        max_depth: arrays and objects inside each other, at most; `trio_ws` takes 128.
        surrogates: True for texts with lone surrogates too, which JSON carries as escapes (RFC 8259 8.2).
    """
    text = st.text(_characters(surrogates=surrogates), max_size=8)
    leaves = st.one_of(
        st.none(),
        st.booleans(),
        st.integers(),
        st.sampled_from([0, 2**31, 2**53, 2**53 + 1, 2**63, 2**64, -(2**63) - 1, 10**30]),
        st.floats(allow_nan=False, allow_infinity=False),
        text,
    )
    if max_depth == 0:
        return leaves
    # No tree of so many leaves is deeper than its leaves; chains are as deep as is allowed.
    trees = st.recursive(
        leaves,
        lambda inner: st.lists(inner, max_size=4) | st.dictionaries(text, inner, max_size=4),
        max_leaves=min(max_leaves, max_depth),
    ).filter(lambda value: _depth(value) <= max_depth)
    chains = st.builds(_nested, st.integers(1, max_depth), st.booleans())
    return st.one_of(trees, chains)


def _nested(depth: int, objects: bool) -> dict[str, Any] | list[Any]:
    value: dict[str, Any] | list[Any] = {} if objects else []
    for _ in range(depth - 1):
        value = {"": value} if objects else [value]
    return value


def _depth(value: Any) -> int:
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else None
    return 0 if inner is None else 1 + max(map(_depth, inner), default=0)
