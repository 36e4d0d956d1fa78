"""The credentials of a connection, with their time."""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Any, Final, TypeAlias
from uuid import UUID

import attrs

from trio_ws.codes import EXPIRED, EXPIRED_CODE, check_close
from trio_ws.runtime.threads import is_plain

__all__ = [
    "AnotherUser",
    "Credentials",
    "Expiring",
    "UserKey",
    "epoch_seconds",
    "of_same_user",
    "user_key",
]

_YEAR_9999: Final = datetime(9999, 12, 31, tzinfo=UTC).timestamp()

UserKey: TypeAlias = str | int
"""A user, as it is compared and carried to other processes."""

Expiring: TypeAlias = Callable[[Any], Awaitable[object]]
"""An async function of the connection, called before its credentials expire."""


def epoch_seconds(name: str, time: object) -> float:
    """Return a time as seconds since 1970 in UTC.

    Args:
        name: of the argument, for errors.
        time: an aware datetime, or seconds.

    Raises:
        TypeError: it is neither.
        ValueError: the datetime has no time zone, or it is no time until the year 9999.
    """
    if isinstance(time, datetime):
        if time.utcoffset() is None:
            raise ValueError(f"{name} takes a datetime with a time zone, such as datetime.now(UTC), not {time!r}")
        return time.timestamp()
    if isinstance(time, bool) or not isinstance(time, int | float):
        raise TypeError(f"{name} takes an aware datetime, or seconds since 1970 as time.time() has them, not {time!r}")
    if not -math.inf < time <= _YEAR_9999:
        hint = ": are they milliseconds?" if _YEAR_9999 < time <= 1000 * _YEAR_9999 else ""
        raise ValueError(f"{name} must be seconds since 1970, until the year 9999, not {time!r}{hint}")
    return float(time)


def user_key(user: object) -> UserKey:
    """Return the key by which a user is compared.

    Raises:
        TypeError: it is no text, whole number or UUID.
        ValueError: it is an empty text, or has lone surrogates.
    """
    if isinstance(user, UUID):
        return str(user)
    if isinstance(user, bool) or not isinstance(user, str | int):
        raise TypeError(f"a user is a text, a whole number or a UUID, not {user!r:.80}")
    if user == "":
        raise ValueError("a user is not an empty text: leave it out for none")
    try:
        return int(user) if isinstance(user, int) else user.encode().decode()
    except UnicodeEncodeError as error:
        raise ValueError(f"a user has a lone surrogate at character {error.start}, which UTF-8 cannot carry") from None


def _expires_at(time: datetime | float | None) -> float | None:
    return None if time is None else epoch_seconds("expires_at", time)


def _issued_at(time: datetime | float | None) -> float | None:
    return None if time is None else epoch_seconds("issued_at", time)


def _is_user(_: object, __: attrs.Attribute[Any], user: object) -> None:
    if user is not None:
        user_key(user)


def _is_async(_: object, attribute: attrs.Attribute[Any], function: object) -> None:
    if function is not None and (not callable(function) or is_plain(function)):
        raise TypeError(f"{attribute.name} takes an async function of the connection, not {function!r}")


@attrs.frozen
class Credentials:
    """The user of a connection, and how long it may be open.

    A guard returns them, or `WebSocket.renew` takes them; `WebSocket.credentials` has the current ones. A subclass may
    have more fields.

    Example:
        async def signed_in(token: str) -> Credentials:
            claims = decode(token)
            return Credentials(claims["sub"], expires_at=claims["exp"], issued_at=claims["iat"])

    Args:
        user: a text, a whole number or a UUID, as `App.revoke` names it; None for no one in particular.
        expires_at: an aware datetime, or seconds since 1970 as the `exp` of a JWT; None for never.
        issued_at: likewise, as `iat`: a revocation before it does not concern these credentials. None: they are as old
            as the connection's handshake.
        code: the close code at expiry.
        reason: the close reason at expiry, at most 123 bytes of UTF-8.
        warn_before: seconds before expiry at which `on_expiring` is called and `warning` sent; after half of the time,
            if less than twice as many are left. None for no warning.
        on_expiring: an async function of the connection. It is a task of the connection; its errors are logged.
        warning: a message: `str` is sent as text, bytes as binary, everything else as compact JSON.

    Raises:
        TypeError: an argument is of another type.
        ValueError: a datetime has no time zone, a number is no time, the code may not be sent, or a warning is
            incomplete.
    """

    user: str | int | UUID | None = attrs.field(default=None, validator=_is_user)
    expires_at: float | None = attrs.field(default=None, kw_only=True, converter=_expires_at)
    issued_at: float | None = attrs.field(default=None, kw_only=True, converter=_issued_at)
    code: int = attrs.field(default=EXPIRED_CODE, kw_only=True)
    reason: str = attrs.field(default=EXPIRED, kw_only=True)
    warn_before: float | None = attrs.field(default=None, kw_only=True)
    on_expiring: Expiring | None = attrs.field(default=None, kw_only=True, validator=_is_async)
    warning: Any = attrs.field(default=None, kw_only=True)

    def __attrs_post_init__(self) -> None:
        check_close(self.code, self.reason)
        self._check_warning()

    def _check_warning(self) -> None:
        seconds = self.warn_before
        if seconds is None:
            if self.on_expiring is not None or self.warning is not None:
                raise ValueError("warn_before is missing: seconds before expiry, for on_expiring and warning")
            return
        if isinstance(seconds, bool) or not isinstance(seconds, int | float):
            raise TypeError(f"warn_before takes a number of seconds, not {seconds!r}")
        if not 0 < seconds < math.inf:
            raise ValueError(f"warn_before must be a number of seconds, more than 0, not {seconds!r}")
        if self.on_expiring is None and self.warning is None:
            raise ValueError("warn_before needs on_expiring, a function to call, or warning, a message to send")


class AnotherUser(ValueError):  # noqa: N818 - a state of affairs
    """Credentials of one user were given to a connection of another one."""


def of_same_user(credentials: Credentials, before: Credentials | None) -> Credentials:
    """Return credentials for a connection that may have others; without a user, they are of the one before.

    Raises:
        AnotherUser: they are another user's.
    """
    if before is None or before.user is None:
        return credentials
    if credentials.user is None:
        return attrs.evolve(credentials, user=before.user)
    if user_key(credentials.user) != user_key(before.user):
        raise AnotherUser(
            f"the connection is that of {before.user!r}, and the credentials are those of {credentials.user!r}: close "
            "it, so that what was allowed to the one is not the other's"
        )
    return credentials
