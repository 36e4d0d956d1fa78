"""The answer to a handshake that an ASGI server has read."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final

import attrs
import trio

from trio_ws.asgi.connection import ASGIConnection
from trio_ws.codes import CloseCode
from trio_ws.connection.channel import PendingHandshake, disconnect_of
from trio_ws.errors import LocalProtocolError
from trio_ws.http.response import extra_headers, response
from trio_ws.protocol.server_handshake import OWNED_HEADERS

if TYPE_CHECKING:
    from trio_ws.asgi.receiver import EventReceiver
    from trio_ws.asgi.scope import Scope
    from trio_ws.asgi.sender import EventSender
    from trio_ws.config import Limits, Timeouts
    from trio_ws.errors import HeaderSource
    from trio_ws.runtime.timers import Timers

__all__ = ["DENIAL", "ASGIHandshake", "ConnectionTerms", "answer_headers"]

logger: Final = logging.getLogger("trio_ws")

DENIAL: Final = "websocket.http.response"
"""The ASGI extension for answers to a handshake other than 101 and 403."""
_BODILESS: Final = (204, 304)


@attrs.frozen
class ConnectionTerms:
    """Limits, timeouts and timers of the connection after the handshake."""

    limits: Limits
    timeouts: Timeouts
    timers: Timers


def answer_headers(
    scope: Scope, status: int, headers: HeaderSource, body: bytes, *, length: int | None = None
) -> list[tuple[bytes, bytes]]:
    """Return the headers of a complete HTTP response for ASGI.

    Args:
        scope: the request's scope.
        status: HTTP status.
        headers: response headers, without Content-Length and Transfer-Encoding.
        body: the whole body.
        length: bytes of a body that is streamed, in place of `body`.

    Raises:
        ValueError: a header or the status is invalid, or the status allows no body.
    """
    response(status, headers, body, length=length)  # the same checks as on our own server
    fields = [(name.lower(), value) for name, value in extra_headers(headers, frozenset())]
    if status not in _BODILESS:
        fields.append((b"content-length", b"%d" % (len(body) if length is None else length)))
    if scope.get("http_version", "1.1").startswith("1"):
        # RFC 9110 7.8: Upgrade, which a 426 must have, is also named in Connection.
        return [*fields, *((b"connection", name) for name, _ in fields if name == b"upgrade")]
    return [field for field in fields if field[0] != b"upgrade"]  # RFC 9113 8.2.2


class ASGIHandshake(PendingHandshake):
    """The answer to one handshake.

    Args:
        scope: the request's scope.
        offered: subprotocols that the client offers.
        receiver: source of events; it has seen whether the client disconnected.
        sender: queue for the answer.
        terms: settings of the connection if the handshake is accepted.
    """

    def __init__(
        self,
        scope: Scope,
        offered: tuple[str, ...],
        receiver: EventReceiver,
        sender: EventSender,
        terms: ConnectionTerms,
    ) -> None:
        self._scope = scope
        self._offered = offered
        self.receiver: EventReceiver = receiver
        """Source of events of the connection."""
        self._sender = sender
        self._terms = terms
        self.answered: bool = False
        """Whether the handshake is answered."""
        self.connection: ASGIConnection | None = None
        """The open connection; None before the handshake is accepted."""
        self.status: int = 0

    async def accept(self, subprotocol: str | None, headers: HeaderSource) -> ASGIConnection:
        """Answer with 101 and return the connection."""
        fields = [(name.lower(), value) for name, value in extra_headers(headers, OWNED_HEADERS)]
        offered = self._offered
        if subprotocol is not None and subprotocol not in offered:
            raise LocalProtocolError(f"subprotocol {subprotocol!r} was not offered: the client offered {list(offered)}")
        await trio.lowlevel.checkpoint_if_cancelled()
        if self.receiver.disconnected or self.answered:
            raise disconnect_of(self, CloseCode.ABNORMAL_CLOSURE, "client left before the answer")
        self.answered = True
        self._sender.put({"type": "websocket.accept", "subprotocol": subprotocol, "headers": fields})
        terms = self._terms
        self.connection = ASGIConnection(
            self.receiver, self._sender, limits=terms.limits, timeouts=terms.timeouts, timers=terms.timers
        )
        self.receiver.set_target(self.connection)
        return self.connection

    async def reject(self, status: int, headers: HeaderSource, body: bytes) -> None:
        """Answer with an HTTP status."""
        fields = answer_headers(self._scope, status, headers, body)
        await trio.lowlevel.checkpoint_if_cancelled()
        self.receiver.set_early_disconnect_callback(None)
        self.refuse(status, fields, body)

    def refuse(self, status: int, fields: list[tuple[bytes, bytes]], body: bytes) -> None:
        """Answer with an HTTP status if not yet answered.

        An ASGI server without the extension `DENIAL` always answers with 403.
        """
        if self.answered:
            return
        self.answered = True
        has_denial = DENIAL in (self._scope.get("extensions") or {})
        self.status = status if has_denial else 403
        if has_denial:
            self._sender.put({"type": f"{DENIAL}.start", "status": status, "headers": fields})
            self._sender.put({"type": f"{DENIAL}.body", "body": body}, len(body))
            return
        if status != 403:
            logger.info(
                "%s refused with 403, not %d: the ASGI server supports no other status",
                self._scope.get("client"),
                status,
            )
        self._sender.put({"type": "websocket.close"})
