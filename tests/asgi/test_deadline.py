"""The turns between the expiry of a deadline and its effect."""

from __future__ import annotations

import pytest

from trio_ws.asgi.deadline import CHECKS, ExpiryCheck


@pytest.mark.parametrize("before", [0, 1, CHECKS, CHECKS + 3])
@pytest.mark.parametrize("restart", ["a deadline to come", "reset"])
def test_each_expiry_has_all_turns(before: int, restart: str) -> None:
    """However many turns an earlier one has taken."""
    check = ExpiryCheck()
    for left in [0.0, -1.0] * before:
        check.is_early(left)
    if restart == "reset":
        check.reset()
    else:
        assert not check.is_early(0.001)
    assert [check.is_early(0) for _ in range(CHECKS + 2)] == [True] * CHECKS + [False] * 2
