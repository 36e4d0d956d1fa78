"""One message offered to many connections, with one call of the compiled core where that runs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from trio_ws.native.choice import core

if TYPE_CHECKING:
    from collections.abc import Iterable

    from trio_ws.connection.channel import ChannelWriter
    from trio_ws.connection.prepared import PreparedMessage

__all__ = ["offer_to_each"]


def offer_to_each(writers: list[ChannelWriter], message: PreparedMessage, *, hold: bool = False) -> list[int]:
    """Offer one message to many connections, in one step.

    It neither waits nor raises.

    Args:
        writers: of the connections.
        message: encoded once for all of them where it can be.
        hold: more will follow within this scheduler turn.

    Returns:
        The positions of those that have no room for it.
    """
    left: Iterable[int] = range(len(writers))
    if core is not None:
        left = core.commit_frame(writers, message.plain_frame(), hold)
    return [position for position in left if not writers[position].offer(message, hold=hold)]
