"""Endpoint: one side of an open connection, sans I/O. It joins decoder, encoder and the closing handshake.

Bytes come in through `decoder.decode`, which the connection calls itself because it decides how much to take at once;
every other item than a message is answered by `answer`. Bytes to send are returned, never kept.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal, TypeAlias

import attrs
from wsproto.events import CloseConnection, Ping

from trio_ws.codes import CloseCode
from trio_ws.errors import LocalProtocolError
from trio_ws.escaping import printable
from trio_ws.protocol.codec import CODEC
from trio_ws.protocol.decoder import Decoder
from trio_ws.protocol.encoder import Encoder
from trio_ws.protocol.events import ViolationEvent
from trio_ws.protocol.states import TRANSITIONS, CloseEvent, State

if TYPE_CHECKING:
    from trio_ws.config import Limits
    from trio_ws.protocol.negotiation import DeflateSettings

__all__ = ["CloseInfo", "Closer", "Endpoint"]

PATIENCE: Final = 256
"""Control frames and fragments that are decoded in one go: some milliseconds in Python. One read of the network may
hold a hundred times as many."""

WORK_BYTES: Final = 256 * 1024
"""Bytes that are inflated in one go: about a millisecond, whatever the size of the message."""

Closer: TypeAlias = Literal["local", "peer", "network", "unknown"]

_WHO: Final = {
    "local": "closed by us",
    "peer": "peer closed",
    "network": "connection lost",
    "unknown": "client gone",
}


_SHARED: Final = CODEC.encoder(client=False)
"""The encoder of all servers' connections without compression that have not sent a message in fragments."""


@attrs.frozen
class CloseInfo:
    """How a connection ended: the first close frame, either way."""

    code: int
    """The code in it; 1005 if it held none, 1006 if there was no close frame."""
    reason: str
    """The reason in it, `""` if none."""
    by: Closer
    """Who sent it: "local" is this side, "network" nobody; "unknown" is what an ASGI server does not say."""

    def __str__(self) -> str:
        return f"{_WHO[self.by]}: {self.code}{f' {printable(self.reason)}' if self.reason else ''}"


class Endpoint:
    """The protocol state of one side of one connection (RFC 6455 5 and 7).

    Args:
        client: True on the side that dialled: it masks what it sends.
        limits: of one received message.
        deflate: what the handshake agreed about permessage-deflate, None for no compression.
    """

    __slots__ = ("close_info", "decoder", "encoder", "state")

    def __init__(self, *, client: bool, limits: Limits, deflate: DeflateSettings | None = None) -> None:
        self.state: State = State.OPEN
        self.close_info: CloseInfo | None = None
        self.decoder: Decoder = CODEC.decoder(
            client=client,
            max_message_size=limits.max_message_size,
            max_fragments=limits.max_fragments,
            inflater=deflate.inflater() if deflate else None,
            patience=PATIENCE,
            work=WORK_BYTES,
        )
        self.encoder: Encoder = _SHARED
        """Whatever it does but `fragment`, which is the endpoint's, depends on nothing that was sent before."""
        if client or deflate:
            self.encoder = CODEC.encoder(client=client, deflater=deflate.deflater() if deflate else None)

    def fragment(self, data: str | bytes | bytearray | memoryview, *, first: bool, final: bool) -> bytes:
        """Return one fragment of a message, as `Encoder.fragment` does."""
        if self.encoder is _SHARED:
            self.encoder = CODEC.encoder(client=False)  # which knows that a message is unfinished
        return self.encoder.fragment(data, first=first, final=final)

    def close(self, code: int, reason: str) -> bytes:
        """Begin the closing handshake: return our close frame.

        Raises:
            LocalProtocolError: the connection is not open any more.
        """
        if self.state is not State.OPEN:
            raise LocalProtocolError("close() on a connection that has ended; ensure_closed() never complains")
        frame = self.encoder.close(code, reason)
        self._move(CloseEvent.WE_CLOSE, CloseInfo(code, reason, "local"))
        return frame

    def fail(self, code: int, reason: str) -> bytes:
        """Give the peer up: return the close frame that tells it why, `b""` if no close frame may be sent any more."""
        may_send = self.state is State.OPEN
        frame = self.encoder.close(code, reason) if may_send else b""
        self._move(CloseEvent.WE_FAIL, CloseInfo(code, reason, "local"))
        return frame

    def lose(self) -> None:
        """The network connection has ended."""
        self._move(CloseEvent.NETWORK_ENDS, CloseInfo(CloseCode.ABNORMAL_CLOSURE, "", "network"))

    def release(self) -> None:
        """Free what earlier messages left: a handler may keep its connection for long after the end."""
        self.decoder.release()
        if self.encoder is not _SHARED:
            self.encoder.release()

    def answer(self, item: Ping | CloseConnection | ViolationEvent) -> bytes:
        """Take note of a control frame or a breach of the protocol; return the bytes that answer it, maybe none."""
        match item:
            case Ping(payload):
                return self.encoder.pong(payload) if self.state is State.OPEN else b""
            case CloseConnection(code, reason):
                echo = self.encoder.close(code, reason or "") if self.state is State.OPEN else b""
                self._move(CloseEvent.PEER_CLOSES, CloseInfo(code, reason or "", "peer"))
                return echo
            case ViolationEvent():
                return self.fail(item.code, item.reason)

    def _move(self, happening: CloseEvent, info: CloseInfo) -> None:
        self.state = TRANSITIONS[self.state][happening]
        if self.close_info is None:
            self.close_info = info
