"""The decision to connect again, and the delays between attempts.

Both halves are pure: `should_reconnect` decides, `Backoff` picks delays. Neither sleeps nor connects; the loop is in
`reconnect`.
"""

from __future__ import annotations

import random
import re
import time
from collections.abc import Callable
from ssl import SSLCertVerificationError

import attrs

from trio_ws.codes import CloseCode
from trio_ws.errors import ConnectError, ConnectionRejected, RemoteProtocolError, WebSocketDisconnect
from trio_ws.headers import Headers

__all__ = ["Backoff", "BackoffSettings", "should_reconnect"]

MAX_RETRY_AFTER = 3600.0
"""Seconds. The most that a server can ask for: no answer stops a client for ever."""
RESTART_SPREADS = 10
"""Times `initial`, by default 5 s: RFC 6455 7.2.3 names 0 to 5 seconds."""
TRY_LATERS = 30
"""Times `initial`, by default 15 s."""

_TEMPORARY_CLOSES = frozenset(
    {
        CloseCode.GOING_AWAY,
        CloseCode.ABNORMAL_CLOSURE,
        CloseCode.INTERNAL_ERROR,
        CloseCode.BAD_GATEWAY,
    }
)
_TEMPORARY_REFUSALS = frozenset({408, 429})  # RFC 9110 15.5.9, RFC 6585 4; so is every 5xx
_PERMANENT_CAUSES = (RemoteProtocolError, SSLCertVerificationError)
_SECONDS = re.compile(r"0*([0-9]+)")
_MOST_DIGITS = 9
"""Of seconds: these are 30 years. A longer number is not read."""
_LONGEST_DATE = 64
"""Characters; those of RFC 9110 5.6.7 have 29 to 33. A longer text is not read."""


def should_reconnect(
    why: Exception | int,
    settings: BackoffSettings | None = None,
    *,
    source: Callable[[], float] = random.random,
    now: Callable[[], float] = time.time,
) -> bool | float:
    """Return whether it makes sense to connect again.

    | what happened | answer |
    |---|---|
    | closed with 1001, 1006, 1011 or 1014 | `True` |
    | closed with 1012 (service restart) | a random delay of up to `restart_spread`, so that not all come back at once |
    | closed with 1013 (try again later) | `try_later` |
    | closed with another code: normally (1000, 1005), after a breach of rules, by the application | `False` |
    | rejected with HTTP 429 or 503 and `Retry-After` | the seconds it asks for, at most an hour |
    | rejected with HTTP 408, 429 or 5xx | `True` |
    | rejected with another HTTP status | `False` |
    | a proxy refused with an HTTP status | as if the server had |
    | a name that does not resolve; refused, lost, too slow; a proxy or TLS that failed | `True` |
    | not an address; a certificate that does not hold; a server that breaks the protocol | `False` |
    | any other exception | `False` |

    Args:
        why: the exception that ended the connection or the attempt, or the connection's close code.
        settings: has the two delays; None for the defaults, 5 s and 15 s.
        source: random numbers from 0 up to, not including, 1.
        now: the wall clock, in seconds since 1970, against which a `Retry-After` date is read.

    Returns:
        `False`: give up (after 1000 and 1005: end normally). `True`: again, after `Backoff`'s own delay. A
        number, never 0: again, after at least so many seconds. `Backoff.next` takes both.
    """
    settings = BackoffSettings() if settings is None else settings
    match why:
        case int():
            return _after_close(why, settings, source)
        case WebSocketDisconnect():
            return _after_close(why.code, settings, source)
        case ConnectionRejected():
            return _after_refusal(why, now)
        case ConnectError(__cause__=ConnectionRejected() as refusal):
            return _after_refusal(refusal, now)
        case ConnectError():
            return why.phase != "url" and not isinstance(why.__cause__, _PERMANENT_CAUSES)
        case _:
            return False


def _after_close(code: int, settings: BackoffSettings, source: Callable[[], float]) -> bool | float:
    match code:
        case CloseCode.SERVICE_RESTART:
            return (1.0 - source()) * settings.restart_spread
        case CloseCode.TRY_AGAIN_LATER:
            return settings.try_later
        case _:
            return code in _TEMPORARY_CLOSES


def _after_refusal(rejected: ConnectionRejected, now: Callable[[], float]) -> bool | float:
    if rejected.status in (429, 503):
        return _retry_after(rejected.headers, now) or True
    return rejected.status in _TEMPORARY_REFUSALS or rejected.status >= 500


def _retry_after(headers: Headers, now: Callable[[], float]) -> float:
    """Return the seconds of `Retry-After` (RFC 9110 10.2.3).

    It is a number or a date; 0 if there is none, or one that is past.
    """
    value = headers.get("retry-after", "").strip()
    digits = _SECONDS.fullmatch(value)
    if digits is not None:
        seconds = float(digits[1]) if len(digits[1]) <= _MOST_DIGITS else MAX_RETRY_AFTER
    else:
        seconds = _seconds_until(value, now()) if len(value) <= _LONGEST_DATE else 0.0
    return min(max(seconds, 0.0), MAX_RETRY_AFTER)


def _seconds_until(date: str, now: float) -> float:
    from datetime import UTC  # noqa: PLC0415 - its import takes long
    from email.utils import parsedate_to_datetime  # noqa: PLC0415

    try:
        moment = parsedate_to_datetime(date)
        if moment.tzinfo is None:  # RFC 9110 5.6.7: a date without a zone (the asctime form) is in GMT
            moment = moment.replace(tzinfo=UTC)
        return moment.timestamp() - now
    except (ValueError, TypeError, IndexError, OverflowError):
        return 0.0


def _positive(_: object, attribute: attrs.Attribute[float], value: float) -> None:
    if not value > 0:
        raise ValueError(f"{attribute.name} must be more than 0 seconds, not {value!r}")


def _not_shrinking(_: object, attribute: attrs.Attribute[float], value: float) -> None:
    if not value >= 1:
        raise ValueError(f"{attribute.name} must be at least 1, not {value!r}")


@attrs.frozen(kw_only=True)
class BackoffSettings:
    """The growth of the delays between attempts.

    Args:
        initial: seconds; the first delay is a random one from 0 to this. Default: 0.5 s.
        maximum: seconds; no delay is picked from a wider range than 0 to this. Default: 60 s.
        factor: how much the range grows with each attempt. Default: 2.
        stable_after: seconds; a connection that lived this long was a good one, after it the delays start small
            again. Default: 10 s.
        restart_spread: seconds; after 1012 (service restart) a random delay of up to this comes first. 10 times
            `initial` by default.
        try_later: seconds; after 1013 (try again later) this delay comes first. 30 times `initial` by default.

    Raises:
        ValueError: a time is not positive, the factor is less than 1, or `initial` exceeds `maximum`.
    """

    initial: float = attrs.field(default=0.5, validator=_positive)
    maximum: float = attrs.field(default=60.0, validator=_positive)
    factor: float = attrs.field(default=2.0, validator=_not_shrinking)
    stable_after: float = attrs.field(default=10.0, validator=_positive)
    restart_spread: float = attrs.field(
        default=attrs.Factory(lambda self: RESTART_SPREADS * self.initial, takes_self=True), validator=_positive
    )
    try_later: float = attrs.field(
        default=attrs.Factory(lambda self: TRY_LATERS * self.initial, takes_self=True), validator=_positive
    )

    def __attrs_post_init__(self) -> None:
        if self.initial > self.maximum:
            raise ValueError(f"initial ({self.initial!r} s) must not exceed maximum ({self.maximum!r} s)")


class Backoff:
    """Exponentially growing delays, picked at random from 0 up ("full jitter").

    With full jitter the clients of a server that went away come back spread out evenly, not in waves.

    Args:
        settings: how the delays grow.
        source: random numbers from 0 up to, not including, 1.
    """

    __slots__ = ("_range", "_settings", "_source")

    def __init__(self, settings: BackoffSettings | None = None, *, source: Callable[[], float] = random.random) -> None:
        self._settings = BackoffSettings() if settings is None else settings
        self._source = source
        self._range = self._settings.initial

    def next(self, verdict: bool | float = True) -> float:
        """Return the seconds before the next attempt, and widen the range.

        Args:
            verdict: the result of `should_reconnect`, `True`, or the seconds to add the random delay to.

        Raises:
            ValueError: the verdict is `False`, not to connect again.
        """
        if verdict is False:
            raise ValueError("should_reconnect returned False: there is no next attempt to wait for")
        jitter = self._source() * self._range
        self._range = min(self._range * self._settings.factor, self._settings.maximum)
        return jitter if verdict is True else verdict + jitter

    def lived(self, seconds: float) -> None:
        """Note the lifetime of a connection, in seconds.

        After a long one the delays start small again.
        """
        if seconds >= self._settings.stable_after:
            self.reset()

    def reset(self) -> None:
        """Start again with the smallest delay."""
        self._range = self._settings.initial
