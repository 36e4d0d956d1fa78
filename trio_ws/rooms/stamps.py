"""Messages that members are sent for entries, after the application's `stamp`."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final
from weakref import WeakKeyDictionary

from trio_ws.connection.prepared import PreparedMessage

if TYPE_CHECKING:
    from trio_ws.connection.encoders import ToJSON
    from trio_ws.rooms.backplane import Entry
    from trio_ws.rooms.options import Stamp

__all__ = ["Stamper"]

logger: Final = logging.getLogger("trio_ws")


class Stamper:
    """Makes the message for each entry, once for all members.

    Args:
        where: the room, for the log.
        stamp: the application's function; None to send messages as they are.
        encode_json: encodes what it returns.
    """

    __slots__ = ("_messages", "_stamp", "_where", "encode_json")

    def __init__(self, where: str, stamp: Stamp | None, encode_json: ToJSON) -> None:
        self._where = where
        self._stamp = stamp
        self.encode_json: ToJSON = encode_json
        self._messages: WeakKeyDictionary[Entry, PreparedMessage] = WeakKeyDictionary()

    def message_for(self, entry: Entry) -> PreparedMessage | None:
        """Return the message for an entry; None for an order, and if `stamp` fails."""
        if entry.order:
            return None
        stamp = self._stamp
        if stamp is None:
            return entry.message
        message = self._messages.get(entry)
        if message is None:
            try:
                message = self._messages[entry] = PreparedMessage(stamp(entry.id, entry.message.data), self.encode_json)
            except Exception:
                logger.exception("error in the stamp of %s, message %s is dropped", self._where, entry.id)
        return message
