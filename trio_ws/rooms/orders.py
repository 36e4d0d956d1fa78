"""Orders to the processes with members of a room, which are entries of its stream.

An order has its place among the room's messages: a member has received what was published before it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import attrs

from trio_ws.codes import check_close
from trio_ws.connection.prepared import PreparedMessage
from trio_ws.connection.serialization import from_json, to_json
from trio_ws.errors import InvalidMessage
from trio_ws.rooms.topics import check_member

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["Disconnect", "parse_order"]

_DISCONNECT: Final = "disconnect"


@attrs.frozen
class Disconnect:
    """An order to close the connections of members.

    Raises:
        TypeError: an argument has another type.
        ValueError: no member has that id, or the code or the reason may not be sent.
    """

    member: str | None
    """The id of one member; None for all."""
    code: int
    reason: str

    def __attrs_post_init__(self) -> None:
        if self.member is not None:
            check_member(self.member)
        check_close(self.code, self.reason)

    def encode(self) -> PreparedMessage:
        """Return the order as an entry's message."""
        members = {} if self.member is None else {"member": self.member}
        return PreparedMessage(to_json({"order": _DISCONNECT, **members, "code": self.code, "reason": self.reason}))

    def concerns(self, member: str) -> bool:
        """Return True if the connection of the member with an id is to be closed."""
        return self.member in (None, member)


def parse_order(data: str | bytes) -> Disconnect:
    """Return the order in an entry.

    Raises:
        ValueError: it is none that this version has.
    """
    try:
        found = from_json(data)
    except InvalidMessage as error:
        raise ValueError(f"no JSON: {error}") from None
    if not isinstance(found, dict) or found.get("order") != _DISCONNECT:
        raise ValueError("an order of another version")
    return _disconnect(found)


def _disconnect(found: Mapping[str, object]) -> Disconnect:
    if "member" in found and found["member"] is None:
        raise ValueError("an order for a member without an id")
    try:
        return Disconnect(found.get("member"), found.get("code"), found.get("reason"))  # type: ignore[arg-type]
    except TypeError as error:
        raise ValueError(str(error)) from None
