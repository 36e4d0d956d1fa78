"""The part of a registry that its rooms need."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    import trio

    from trio_ws.connection.encoders import ToJSON
    from trio_ws.rooms.backplane import Backplane

__all__ = ["RoomRegistry"]


class RoomRegistry(Protocol):
    """The part of a registry that its rooms need."""

    backplane: Backplane
    encode_json: ToJSON
    callback_timeout: float
    callback_nursery: trio.Nursery | None

    @property
    def nursery(self) -> trio.Nursery:
        """Runs sessions."""

    def hold(self, room: Any) -> None:
        """Keep a reference to a room that has or will have members."""

    def release(self, room: Any) -> None:
        """Drop the reference to an empty room."""

    def forget(self, room: Any) -> None:
        """Drop a room that belongs to another registry."""

    def next_member_id(self) -> str:
        """Return a new id for a member."""
