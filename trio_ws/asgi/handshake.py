"""Gate: the answer to a handshake that an ASGI server has read, and HTTP answers as ASGI wants them."""

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
"""The extension of ASGI with which a handshake is refused with more than a 403."""
_BODILESS: Final = (204, 304)


@attrs.frozen
class ConnectionTerms:
    """What holds for a connection once it is accepted."""

    limits: Limits
    timeouts: Timeouts
    timers: Timers


def answer_headers(
    scope: Scope, status: int, headers: HeaderSource, body: bytes, *, length: int | None = None
) -> list[tuple[bytes, bytes]]:
    """Return the headers of a whole HTTP answer for ASGI.

    Args:
        scope: of the request.
        status: of the answer.
        headers: of the answer, without those that frame it.
        body: of the answer.
        length: of a body that is not in `body`.

    Raises:
        ValueError: a header cannot be sent or is not to be set, the status is none, or it allows no body.
    """
    response(status, headers, body, length=length)  # the same is refused as on a server of ours
    fields = [(name.lower(), value) for name, value in extra_headers(headers, frozenset())]
    if status not in _BODILESS:
        fields.append((b"content-length", b"%d" % (len(body) if length is None else length)))
    if scope.get("http_version", "1.1").startswith("1"):
        # RFC 9110 7.8: whoever sends Upgrade (a 426 must) names it in Connection.
        return [*fields, *((b"connection", name) for name, _ in fields if name == b"upgrade")]
    return [field for field in fields if field[0] != b"upgrade"]  # RFC 9113 8.2.2


class ASGIHandshake(PendingHandshake):
    """The answer to one handshake.

    Args:
        scope: of it.
        offered: the subprotocols that the client offers.
        pump: knows whether the client has left.
        writer: takes the answer.
        terms: of the connection that a yes makes.
    """

    def __init__(
        self, scope: Scope, offered: tuple[str, ...], pump: EventReceiver, writer: EventSender, terms: ConnectionTerms
    ) -> None:
        self._scope = scope
        self._offered = offered
        self._pump = pump
        self._writer = writer
        self._terms = terms
        self.answered: bool = False
        """Whether an answer was given, by whomever."""
        self.connection: ASGIConnection | None = None
        """What a yes has made."""
        self.status: int = 0

    async def accept(self, subprotocol: str | None, headers: HeaderSource) -> ASGIConnection:
        """Answer yes, and return the connection."""
        fields = [(name.lower(), value) for name, value in extra_headers(headers, OWNED_HEADERS)]
        offered = self._offered
        if subprotocol is not None and subprotocol not in offered:
            raise LocalProtocolError(f"subprotocol {subprotocol!r} was not offered: the client offered {list(offered)}")
        await trio.lowlevel.checkpoint_if_cancelled()
        if self._pump.left or self.answered:
            raise disconnect_of(self, CloseCode.ABNORMAL_CLOSURE, "client left before the answer")
        self.answered = True
        self._writer.put({"type": "websocket.accept", "subprotocol": subprotocol, "headers": fields})
        terms = self._terms
        self.connection = ASGIConnection(
            self._pump, self._writer, limits=terms.limits, timeouts=terms.timeouts, timers=terms.timers
        )
        self._pump.tell(self.connection)
        return self.connection

    async def reject(self, status: int, headers: HeaderSource, body: bytes) -> None:
        """Answer with an HTTP status."""
        fields = answer_headers(self._scope, status, headers, body)
        await trio.lowlevel.checkpoint_if_cancelled()
        self._pump.call_when_left(None)
        self.refuse(status, fields, body)

    def refuse(self, status: int, fields: list[tuple[bytes, bytes]], body: bytes) -> None:
        """Answer with an HTTP status, unless there was an answer; a server without the extension says 403."""
        if self.answered:
            return
        self.answered = True
        can_say = DENIAL in (self._scope.get("extensions") or {})
        self.status = status if can_say else 403
        if can_say:
            self._writer.put({"type": f"{DENIAL}.start", "status": status, "headers": fields})
            self._writer.put({"type": f"{DENIAL}.body", "body": body}, len(body))
            return
        if status != 403:
            logger.info(
                "%s is refused with 403, not %d: this ASGI server knows no other", self._scope.get("client"), status
            )
        self._writer.put({"type": "websocket.close"})
