"""Strategies for bytes that arrive in pieces, and for damaged bytes."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import strategies as st

__all__ = ["cuts", "damaged", "read_sizes"]

_MOST_SINGLE = 200
"""Bytes that arrive one by one at most."""


def read_sizes(*, max_size: int = 200, max_reads: int = 40) -> st.SearchStrategy[list[int]]:
    """Draw how many bytes the first reads of a stream return; later ones return all the rest.

    Example:
        @given(read_sizes(max_size=10))
        def test_each_read_has_a_byte(sizes):
            assert all(1 <= size <= 10 for size in sizes)

    Args:
        max_size: the largest read of these, in bytes.
        max_reads: the most of these reads.
    """
    return st.lists(st.integers(1, max_size), max_size=max_reads)


@st.composite
def cuts(draw: st.DrawFn, data: bytes, *, max_cuts: int = 20) -> tuple[bytes, ...]:
    """Draw pieces that `data` arrives in: whole, in a few pieces anywhere, or byte by byte.

    No piece is empty. The simplest example is one piece.

    Example:
        @given(st.data())
        def test_cuts_lose_nothing(data):
            assert b"".join(data.draw(cuts(b"\\x81\\x02hi"))) == b"\\x81\\x02hi"

    Args:
        draw: given by Hypothesis.
        data: the bytes to be cut.
        max_cuts: the most places that are cut, unless it is cut everywhere.
    """
    places: set[int] = set()
    if len(data) > 1:
        anywhere = st.sets(st.integers(1, len(data) - 1), max_size=max_cuts)
        single = st.integers(1, min(len(data) - 1, _MOST_SINGLE)).map(lambda most: set(range(1, most + 1)))
        places = draw(st.one_of(anywhere, single))
    edges = [0, *sorted(places), len(data)]
    pieces = tuple(data[start:end] for start, end in pairwise(edges))
    return tuple(piece for piece in pieces if piece)


@st.composite
def damaged(
    draw: st.DrawFn, data: bytes, *, max_changes: int = 3, pieces: st.SearchStrategy[bytes] | None = None
) -> bytes:
    """Draw `data` with some of its bytes replaced, removed or added.

    Example:
        @given(damaged(b"\\x81\\x05hello"))
        def test_nothing_makes_the_parser_raise(data):
            parse_frames(data)

    Args:
        draw: given by Hypothesis.
        data: the bytes to be changed.
        max_changes: the most places that are changed; 0 is drawn too.
        pieces: what may be put in; None for one or two bytes.
    """
    changed = bytearray(data)
    insert = st.binary(max_size=2) if pieces is None else st.one_of(st.binary(max_size=3), pieces)
    for _ in range(draw(st.integers(0, max_changes))):
        at = draw(st.integers(0, len(changed)))
        changed[at : at + draw(st.integers(0, 3))] = draw(insert)
    return bytes(changed)
