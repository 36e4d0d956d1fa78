"""One side of an open connection without I/O: decoder, encoder and closing handshake.

Bytes come in through `decoder.decode`, which the connection calls itself because it decides how much to take at once;
`answer` answers every item that is not a message. Bytes to send are returned, never kept.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from trio_ws.errors import LocalProtocolError
from trio_ws.protocol.closing import CloseInfo, Closer, ClosingMachine
from trio_ws.protocol.codec import CODEC
from trio_ws.protocol.decoder import Decoder
from trio_ws.protocol.encoder import Encoder
from trio_ws.protocol.events import ViolationEvent
from trio_ws.protocol.items import CloseConnection, Ping
from trio_ws.protocol.states import CloseEvent, State

if TYPE_CHECKING:
    from trio_ws.config import Limits
    from trio_ws.protocol.negotiation import DeflateSettings

__all__ = ["CloseInfo", "Closer", "Endpoint"]

PATIENCE: Final = 256
"""Control frames and fragments that are decoded in one go: some milliseconds in Python. One read of the network may
hold a hundred times as many."""

WORK_BYTES: Final = 256 * 1024
"""Bytes that are inflated in one go: about a millisecond, whatever the size of the message."""

_SHARED: Final = CODEC.encoder(client=False)
"""The encoder of all servers' connections without compression that have not sent a message in fragments."""


class Endpoint(ClosingMachine):
    """The protocol state of one side of a connection (RFC 6455 5 and 7).

    Args:
        client: True on the side that dialled: it masks what it sends.
        limits: of one received message.
        deflate: the negotiated compression, None for none.
    """

    __slots__ = ()

    def __init__(self, *, client: bool, limits: Limits, deflate: DeflateSettings | None = None) -> None:
        super().__init__()
        self.decoder: Decoder = CODEC.decoder(
            client=client,
            max_message_size=limits.max_message_size,
            max_fragments=limits.max_fragments,
            inflater=deflate.inflater() if deflate else None,
            patience=PATIENCE,
            work=WORK_BYTES,
        )
        self.encoder: Encoder = _SHARED
        """Shared where possible: all its methods but `fragment` are independent of what was sent before."""
        if client or deflate:
            self.encoder = CODEC.encoder(client=client, deflater=deflate.deflater() if deflate else None)

    def fragment(self, data: str | bytes | bytearray | memoryview, *, first: bool, final: bool) -> bytes:
        """Return one fragment of a message, as `Encoder.fragment` does."""
        if self.encoder is _SHARED:
            self.encoder = CODEC.encoder(client=False)  # it keeps the state of the unfinished message
        return self.encoder.fragment(data, first=first, final=final)

    def close(self, code: int, reason: str) -> bytes:
        """Begin the closing handshake; return our close frame.

        Raises:
            LocalProtocolError: the connection is not open any more.
        """
        if self.state is not State.OPEN:
            raise LocalProtocolError("close() on a connection that has ended; ensure_closed() never complains")
        frame = self.encoder.close(code, reason)
        self.move(CloseEvent.WE_CLOSE, CloseInfo(code, reason, "local"))
        return frame

    def fail(self, code: int, reason: str) -> bytes:
        """Fail the connection (RFC 6455 7.1.7): return a close frame, `b""` if none may be sent any more."""
        frame = self.encoder.close(code, reason) if self.close_info is None else b""
        self.move(CloseEvent.WE_FAIL, CloseInfo(code, reason, "local"))
        return frame

    def release(self) -> None:
        """Free what earlier messages left: a handler may keep its connection for long after the end."""
        self.decoder.release()
        if self.encoder is not _SHARED:
            self.encoder.release()

    def answer(self, item: Ping | CloseConnection | ViolationEvent) -> bytes:
        """Take a control frame or a violation of the protocol; return the bytes that answer it, maybe none."""
        match item:
            case Ping(payload):
                return self.encoder.pong(payload) if self.close_info is None else b""
            case CloseConnection(code, reason):
                echo = self.encoder.close(code, reason or "") if self.close_info is None else b""
                self.move(CloseEvent.PEER_CLOSES, CloseInfo(code, reason or "", "peer"))
                return echo
            case ViolationEvent():
                return self.fail(item.code, item.reason)
