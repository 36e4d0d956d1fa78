"""The end of all connections of a user, in all processes.

Revocations are carried as a room's messages are, in a stream that every process reads to its end. So a process that was
without its backplane for a while carries them out afterwards, and learns if some are lost.
"""

from __future__ import annotations

import logging
import math
from typing import TYPE_CHECKING, Any, Final, Literal

import trio

from trio_ws.codes import CloseCode
from trio_ws.rooms.revocation import Revocation
from trio_ws.websocket.credentials import user_key

if TYPE_CHECKING:
    from trio_ws.rooms.backplane import Entry
    from trio_ws.websocket.context import ConnectionContext
    from trio_ws.websocket.credentials import Credentials, UserKey

__all__ = ["Revocations"]

logger: Final = logging.getLogger("trio_ws")

_LOST: Final = "credentials have to be checked again"
_REMEMBERED: Final = 60.0
"""Seconds for which a revocation concerns credentials whose check may have begun before it arrived."""

_EVERYONE: Final[Literal[""]] = ""
"""No user has this key."""

_LOSS: Final = Revocation(_EVERYONE, CloseCode.SERVICE_RESTART, _LOST, math.inf)
"""Concerns all users, as any of them may be revoked."""


class Revocations:
    """The users' connections in this process, and the revocations that have arrived."""

    def __init__(self) -> None:
        self.count: int = 0
        """Revocations that have arrived."""
        self._forgotten = 0  # the latest number of those that are not in `_recent` any more
        self._connections: dict[UserKey, set[ConnectionContext]] = {}
        self._recent: dict[UserKey, tuple[int, float, Revocation]] = {}  # number and arrival, oldest first

    def __len__(self) -> int:
        return len(self._connections)

    def forget(self) -> None:
        """Forget the revocations that have arrived, as the application runs anew, by another clock."""
        self._recent.clear()
        self._forgotten = self.count

    @property
    def forgotten(self) -> int:
        """The number of revocations that are too old to concern a check that is short."""
        self._prune()
        return self._forgotten

    # --- connections -----------------------------------------------------------------------------------------------

    def add(self, context: ConnectionContext, credentials: Credentials, since: int) -> Revocation | None:
        """Add a user's connection; return the revocation that has come while its credentials were checked.

        If one is forgotten that came after `since`, all users have to be checked again.

        Args:
            context: of the connection.
            credentials: those of the connection from now on.
            since: `count` before the check began.
        """
        if credentials.user is None:
            return None
        user = user_key(credentials.user)
        self._connections.setdefault(user, set()).add(context)
        for key in (user, _EVERYONE):
            number, _, revocation = self._recent.get(key, (0, 0.0, None))
            if revocation is not None and number > since and revocation.concerns(credentials):
                return revocation
        return _LOSS if since < self._forgotten else None

    def discard(self, context: ConnectionContext) -> None:
        """Remove a connection, if it is one of a user."""
        user = None if context.expiry is None else context.expiry.credentials.user
        if user is None:
            return
        key = user_key(user)
        connections = self._connections.get(key, set())
        connections.discard(context)
        if not connections:
            self._connections.pop(key, None)

    # --- revocations -----------------------------------------------------------------------------------------------

    def deliver(self, entry: Entry) -> None:
        """Carry out a revocation from any process.

        Raises:
            Exception: the entry is none.
        """
        revocation = Revocation.from_entry(entry)
        self._remember(revocation)
        self._carry_out(revocation, self._connections.get(revocation.user, ()))

    def on_gap(self, missed: int | None) -> None:
        """Close the connections of all users, as any of them may be revoked."""
        self._remember(_LOSS)
        logger.warning(
            "revocations may be lost (%s): connections of %d users are closed with %d, to be checked again",
            "how many is unknown" if missed is None else missed,
            len(self._connections),
            _LOSS.code,
        )
        for connections in tuple(self._connections.values()):
            self._carry_out(_LOSS, connections)

    def _remember(self, revocation: Revocation) -> None:
        self.count += 1
        self._recent.pop(revocation.user, None)
        self._recent[revocation.user] = self.count, trio.current_time(), revocation
        self._prune()

    def _prune(self) -> None:
        """Forget what arrived more than a minute ago."""
        now = trio.current_time()
        while self._recent:
            user, (number, arrival, _) = next(iter(self._recent.items()))
            if now - arrival <= _REMEMBERED:
                return
            del self._recent[user]
            self._forgotten = number

    def _carry_out(self, revocation: Revocation, connections: Any) -> None:
        for context in tuple(connections):
            expiry = context.expiry
            if expiry is not None and revocation.concerns(expiry.credentials):
                expiry.end(revocation.code, revocation.reason)
