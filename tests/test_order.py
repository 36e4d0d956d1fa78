"""The order of tests among processes."""

from __future__ import annotations

import pytest
from support.order import spread


@pytest.mark.parametrize(
    ("groups", "rest", "ordered"),
    [
        (["AB", "C", ""], "abcdef", "ABaCbcdef"),
        (["ABCDE", "F"], "ab", "ABCDEFab"),
        (["", ""], "abcde", "abcde"),
        (["A"], "bc", "Abc"),
    ],
)
def test_each_run_of_equal_length_begins_with_its_group(groups: list[str], rest: str, ordered: str) -> None:
    assert "".join(spread([list(group) for group in groups], list(rest))) == ordered
