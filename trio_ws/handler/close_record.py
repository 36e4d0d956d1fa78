"""The log record of a closed connection."""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio

from trio_ws.codes import CloseCode
from trio_ws.protocol.endpoint import CloseInfo
from trio_ws.runtime.log import escaped

if TYPE_CHECKING:
    from trio_ws.connection.channel import Channel
    from trio_ws.runtime.log import ConnectionLog

__all__ = ["record_close"]


def record_close(log: ConnectionLog, channel: Channel) -> None:
    """Log how an accepted connection ended, with its duration and its messages.

    Args:
        log: the connection's.
        channel: the closed connection.
    """
    if not log.debug_enabled:
        return
    info = channel.close_info or CloseInfo(CloseCode.ABNORMAL_CLOSURE, "", "network")
    seconds = trio.current_time() - channel.open_time
    reason = escaped(info.reason)
    log.debug(
        "%s closed after %.3f s with %d, reason '%s', by %s",
        seconds,
        info.code,
        reason,
        info.by,
        code=int(info.code),
        reason=reason,
        closed_by=info.by,
        seconds=seconds,
        messages_received=channel.reader.received,
        messages_sent=channel.writer.sent,
    )
