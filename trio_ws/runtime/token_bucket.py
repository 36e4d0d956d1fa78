"""A bucket of tokens that refills with time, without a timer."""

from __future__ import annotations

import math
from typing import Final

import attrs

__all__ = ["Allowance", "TokenBucket"]

_ROUNDING: Final = 1e-9


@attrs.frozen
class Allowance:
    """How much may be spent in a time: so much at once, and as much again in each further time.

    Args:
        messages: number of messages; infinite for any number.
        size: their bytes; infinite for any number.
        per: the time, in seconds.
    """

    messages: float
    size: float
    per: float


class TokenBucket:
    """The tokens of one allowance, as the times at which they are all back.

    It is the generic cell rate algorithm: a time in place of a number of tokens, which nothing has to refill.

    Args:
        allowance: of the bucket.
    """

    __slots__ = ("_allowance", "_messages_back", "_size_back")

    def __init__(self, allowance: Allowance) -> None:
        self._allowance = allowance
        self._messages_back = -math.inf
        self._size_back = -math.inf

    def spend(self, now: float, size: int, *, in_debt: bool) -> float:
        """Spend the tokens of one message.

        Args:
            now: the time, in seconds.
            size: of the message, in bytes.
            in_debt: spend them also if there are too few.

        Returns:
            0.0 if there are enough. Else the seconds until there will be: with `in_debt` until the debt is paid, else
            until the message would pass; nothing is spent then.
        """
        allowance = self._allowance
        messages = max(self._messages_back, now) + allowance.per / allowance.messages
        back = max(self._size_back, now) + size * allowance.per / allowance.size
        wait = max(messages, back) - now - allowance.per
        if wait <= _ROUNDING or in_debt:
            self._messages_back, self._size_back = messages, back
        return max(wait, 0.0) if wait > _ROUNDING else 0.0

    def is_full(self, now: float) -> bool:
        """Return True if all tokens are back: a new bucket is as good."""
        return max(self._messages_back, self._size_back) <= now
