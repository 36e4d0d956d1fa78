"""Answers to handshakes that a handler's error refuses."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from trio_ws.codes import CloseCode

if TYPE_CHECKING:
    from trio_ws.connection.channel import PendingHandshake
    from trio_ws.runtime.log import ConnectionLog
    from trio_ws.websocket.close_code import CloseDecision

__all__ = ["refuse_with"]

_STATUSES: Final[dict[int, int]] = {
    CloseCode.INTERNAL_ERROR: 500,
    CloseCode.SERVICE_RESTART: 503,
    CloseCode.TRY_AGAIN_LATER: 503,
}
_PLAIN_TEXT: Final = (("Content-Type", "text/plain; charset=utf-8"),)


async def refuse_with(
    decision: CloseDecision, error: Exception, handshake: PendingHandshake, connection_log: ConnectionLog
) -> None:
    """Answer a handshake for an error that an open connection would be closed for.

    Before the answer there is no connection to close: the answer is 403, or 500 or 503 for the codes that mean these.
    """
    status = _STATUSES.get(decision.code, 403)
    connection_log.info(
        "%s refused with %d: %s before the answer, which closes with %d after it",
        status,
        type(error).__name__,
        decision.code,
        status=status,
    )
    await handshake.reject(status, _PLAIN_TEXT, f"close code {decision.code}\n".encode())
