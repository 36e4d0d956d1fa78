"""The part of `WebSocket` that has the credentials of its peer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import attrs
import trio

from trio_ws.codes import EXPIRED, EXPIRED_CODE
from trio_ws.websocket.ending import Closable

if TYPE_CHECKING:
    from datetime import datetime

    from trio_ws.websocket.credentials import Credentials, Expiring

__all__ = ["Authenticated"]


class Authenticated(Closable):
    """A connection that may be open until its credentials expire. Handlers get it as a `WebSocket`."""

    __slots__ = ()

    @property
    def credentials(self) -> Credentials | None:
        """The credentials by which the connection is open: the guard's, or renewed ones; None without any."""
        return None if self.context.expiry is None else self.context.expiry.credentials

    def expires_at(
        self,
        time: datetime | float,
        code: int = EXPIRED_CODE,
        *,
        reason: str = EXPIRED,
        warn_before: float | None = None,
        on_expiring: Expiring | None = None,
        warning: Any = None,
    ) -> None:
        """Close the connection at a time, unless it is given another one before.

        The handler learns of it as of any end: `receive` raises `WebSocketDisconnect`. A time that is past closes at
        once, or, before the handshake is answered, refuses it with 401. The wall clock is read now, and Trio's clock
        counts the seconds from now on: an adjustment of the wall clock changes nothing. It does not wait.

        Args:
            time: an aware datetime, or seconds since 1970, as the `exp` of a JWT.
            code: the close code.
            reason: the close reason.
            warn_before: as of `Credentials`; so are the next two.
            on_expiring: as of `Credentials`.
            warning: as of `Credentials`.

        Raises:
            LocalProtocolError: this side has opened the connection.
            Reject: the handshake is not answered yet, and the time is past.
            TypeError: an argument is of another type.
            ValueError: the datetime has no time zone, the number is no time, or another argument makes no sense.
            WebSocketDisconnect: the connection has ended.
        """
        from trio_ws.websocket.credentials import Credentials  # noqa: PLC0415 - many connections have none

        warnings = {"warn_before": warn_before, "on_expiring": on_expiring, "warning": warning}
        current = self.credentials or Credentials()
        new = attrs.evolve(current, expires_at=time, code=code, reason=reason, **warnings)
        self.context.use_credentials(self, new)

    async def renew(self, credentials: Credentials | datetime | float, /) -> None:
        """Replace the credentials, or their time, and with it the time at which the connection is closed.

        `Credentials` replace all; those without a user keep the one before. A time keeps everything else. A time that
        is past ends the connection, as in `expires_at`. A connection without credentials has them from now on.

        Args:
            credentials: of the same user, or the new time: an aware datetime, or seconds since 1970.

        Raises:
            LocalProtocolError: this side has opened the connection.
            Reject: the handshake is not answered yet, and the time is past.
            TypeError: it is neither credentials nor a time.
            ValueError: they are another user's, or it is no time.
            WebSocketDisconnect: the connection has ended, by the expiry of those before, say.
            trio.Cancelled: nothing has changed.
        """
        from trio_ws.websocket.credentials import Credentials  # noqa: PLC0415 - many connections have none

        await trio.lowlevel.checkpoint_if_cancelled()
        if not isinstance(credentials, Credentials):
            credentials = attrs.evolve(self.credentials or Credentials(), expires_at=credentials)
        self.context.use_credentials(self, credentials)
        await trio.lowlevel.cancel_shielded_checkpoint()
