"""Records of what is lost when a connection's functions have ended."""

from __future__ import annotations

from typing import TYPE_CHECKING

from trio_ws.app.sessions import Session
from trio_ws.errors import LocalProtocolError, WebSocketDisconnect

if TYPE_CHECKING:
    from trio_ws.websocket.context import ConnectionContext

__all__ = ["record_losses"]


def record_losses(context: ConnectionContext, error: BaseException | None, *, handled: bool) -> None:
    """Report errors swallowed by a dependency, and late changes of the session.

    Args:
        context: of the connection.
        error: of its handler.
        handled: whether a dependency has swallowed it.

    Raises:
        LocalProtocolError: the session was changed after the answer, and there is no other error.
    """
    connection_log, session = context.log, context.session
    if handled and isinstance(error, Exception) and not isinstance(error, WebSocketDisconnect):
        connection_log.error("%s: a dependency swallowed an error of the handler's", error=error)
    if isinstance(session, Session):
        try:
            session.check_unchanged()
        except LocalProtocolError as lost:
            if error is None or handled:
                raise
            connection_log.error("%s: session changed after the answer", error=lost)
