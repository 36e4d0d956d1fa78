"""The end of a connection whose credentials expire or are revoked.

The wall clock is read once for each time that is set; from then on Trio's clock decides.
"""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING, Any, Final, Protocol

import trio

from trio_ws.codes import CloseCode
from trio_ws.errors import Reject
from trio_ws.runtime.timers import NEVER

if TYPE_CHECKING:
    from trio_ws.connection.channel import Channel
    from trio_ws.connection.encoders import ToJSON
    from trio_ws.runtime.log import ConnectionLog
    from trio_ws.runtime.timers import Timer, Timers
    from trio_ws.websocket.credentials import Credentials

__all__ = ["Expiry"]

_CHALLENGE: Final = {"WWW-Authenticate": 'Bearer error="invalid_token"'}
"""What RFC 6750 3.1 has for a token that is expired or revoked."""


class ExpiringContext(Protocol):
    """The state of the connection."""

    channel: Channel | None
    encode_json: ToJSON
    log: ConnectionLog
    nursery: trio.Nursery | None

    def is_own_disconnect(self, error: BaseException) -> bool:
        """Return True if an error is a disconnect of this connection."""


class Expiry:
    """The credentials of one connection, and the deadline that they set.

    It has one timer, which is set anew when it fires: a renewal for later costs none.

    Args:
        context: the state of the connection.
        websocket: the connection, for callbacks.
        timers: runs the deadline.
        credentials: those that it begins with.
    """

    __slots__ = (
        "_context",
        "_deadline",
        "_ended",
        "_timer",
        "_timer_at",
        "_timers",
        "_warn_at",
        "_websocket",
        "credentials",
        "log",
    )

    def __init__(self, context: ExpiringContext, websocket: Any, timers: Timers, credentials: Credentials) -> None:
        self.credentials: Credentials = credentials
        self.log: ConnectionLog = context.log
        self._context: ExpiringContext | None = context  # until the handler has ended
        self._websocket: Any = websocket
        self._timers = timers
        self._timer: Timer = NEVER
        self._timer_at = math.inf
        self._deadline = math.inf
        self._warn_at = math.inf
        self._ended: tuple[int, str] | None = None  # code and reason of an end before the handshake's answer

    def use(self, credentials: Credentials) -> None:
        """Take other credentials, and their time.

        Raises:
            Reject: the handshake is not answered yet, and they have expired, or were revoked meanwhile.
        """
        now = trio.current_time()
        left = math.inf if credentials.expires_at is None else credentials.expires_at - time.time()
        self.credentials = credentials
        self._deadline = now + left
        warn_before = credentials.warn_before
        self._warn_at = math.inf if warn_before is None else self._deadline - min(warn_before, left / 2)
        if self._is_accepted:
            self._schedule()
        else:
            self.check()

    def check(self) -> None:
        """Refuse a handshake whose credentials are not valid any more.

        Raises:
            Reject: with 401; with 503 if they have to be checked again.
        """
        if self._ended is None and trio.current_time() < self._deadline:
            return
        code, reason = self._ended or (self.credentials.code, self.credentials.reason)
        status = 503 if code == CloseCode.SERVICE_RESTART else 401
        self.log.info("%s refused with %d: %s", status, reason, status=status)
        raise Reject(status, _CHALLENGE if status == 401 else {"Retry-After": "1"}, f"{reason}\n".encode())

    def begin(self) -> None:
        """Begin with an accepted connection."""
        if self._ended is not None:
            self.end(*self._ended)
        else:
            self._schedule()

    def end(self, code: int, reason: str) -> None:
        """Close the connection if it is open; before the answer, refuse it."""
        channel = None if self._context is None else self._context.channel
        if channel is None:
            self._ended = self._ended or (code, reason)
        elif channel.close_info is None:
            channel.closing.retire(code, reason)

    def stop(self) -> None:
        """Drop the deadline, as the handler has ended."""
        self._timer.cancel()
        self._timer_at = math.inf
        self._context = self._websocket = None  # the timers keep what is cancelled until it would have been due

    # --- the deadline ----------------------------------------------------------------------------------------------

    @property
    def _is_accepted(self) -> bool:
        return self._context is not None and self._context.channel is not None

    def _schedule(self) -> None:
        """Close the connection if it is time, else wait for what is next: the warning or the end."""
        now, credentials = trio.current_time(), self.credentials
        if now >= self._deadline:
            self.end(credentials.code, credentials.reason)
            return
        if now >= self._warn_at:
            self._warn_at = math.inf
            self._warn()
        due = min(self._deadline, self._warn_at)
        if due < self._timer_at:
            self._timer.cancel()
            self._timer, self._timer_at = self._timers.call_later(due - now, self._on_timer), due

    def _on_timer(self) -> None:
        self._timer_at = math.inf
        channel = None if self._context is None else self._context.channel
        if channel is not None and channel.close_info is None:
            self._schedule()

    def _warn(self) -> None:
        context = self._context
        nursery = None if context is None else context.nursery
        if context is None or nursery is None or nursery.cancel_scope.cancel_called:
            return
        try:
            nursery.start_soon(self._call_on_expiring, context, self._websocket, self.credentials)
        except RuntimeError:
            pass  # the handler has just ended

    async def _call_on_expiring(self, context: ExpiringContext, websocket: Any, credentials: Credentials) -> None:
        """Send the warning and call back; errors end neither the connection nor its time."""
        channel, message = context.channel, credentials.warning
        try:
            if message is not None and channel is not None:
                encoded = message if isinstance(message, str | bytes) else context.encode_json(message)
                await channel.writer.send(encoded)
            if credentials.on_expiring is not None:
                await credentials.on_expiring(websocket)
        except Exception as error:
            if not context.is_own_disconnect(error):
                self.log.exception("error in on_expiring of %s")
