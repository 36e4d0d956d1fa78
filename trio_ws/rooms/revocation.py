"""The order to close all connections of a user, as processes exchange it."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Self

import attrs

from trio_ws.codes import check_close
from trio_ws.connection.prepared import PreparedMessage
from trio_ws.connection.serialization import from_json
from trio_ws.websocket.credentials import user_key

if TYPE_CHECKING:
    from trio_ws.rooms.backplane import Entry
    from trio_ws.websocket.credentials import Credentials, UserKey

__all__ = ["Revocation"]


@attrs.frozen
class Revocation:
    """An order to close the connections of a user.

    Raises:
        TypeError: an argument is of another type.
        ValueError: the code may not be sent, or there can be no such user.
    """

    user: UserKey
    """The key of the user."""
    code: int
    reason: str
    time: float
    """When it was given, in seconds since 1970; credentials that are issued from then on are not concerned."""

    @classmethod
    def of(cls, user: object, code: int, reason: str) -> Self:
        """Return the revocation of all that a user has now."""
        check_close(code, reason)
        return cls(user_key(user), int(code), reason, time.time())

    @classmethod
    def from_entry(cls, entry: Entry) -> Self:
        """Return the revocation that a process has published.

        Raises:
            Exception: it is none.
        """
        fields = from_json(entry.message.data)
        check_close(fields["code"], fields["reason"])
        return cls(user_key(fields["user"]), fields["code"], fields["reason"], float(fields["time"]))

    @property
    def message(self) -> PreparedMessage:
        """The message that carries it."""
        return PreparedMessage(attrs.asdict(self))

    def concerns(self, credentials: Credentials) -> bool:
        """Return True if the user's credentials are not newer."""
        return credentials.issued_at is None or credentials.issued_at < self.time
