"""An open connection over a transport, made of reader, writer and closing handshake.

The calls that touch the network are synchronous; coroutines wait for room, for a message or for the end.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from trio_ws.connection.channel import Channel
from trio_ws.connection.closing import ClosingHandshake
from trio_ws.connection.inbox import Inbox
from trio_ws.connection.keepalive import Keepalive
from trio_ws.connection.reader import MessageReader
from trio_ws.connection.writer import MessageWriter
from trio_ws.protocol.endpoint import Endpoint
from trio_ws.protocol.states import State

if TYPE_CHECKING:
    from trio_ws.config import Limits, Timeouts
    from trio_ws.protocol.negotiation import DeflateSettings
    from trio_ws.runtime.log import ConnectionLog
    from trio_ws.runtime.timers import Timers
    from trio_ws.transport.base import Transport
    from trio_ws.transport.socket_options import AnySocket

__all__ = ["Connection"]


class Connection(Channel):
    """One open connection over a transport.

    Args:
        transport: the network connection; the reader becomes its receiver.
        client: True on the side that dialled.
        limits: bounds of inbox, outbox and messages.
        timeouts: of keepalive, closing and sending.
        timers: runs the deadlines.
        deflate: the negotiated compression.
        inbox: takes the messages, with the bounds of `limits`; None: a new one.
    """

    __slots__ = ()

    READER: ClassVar[type[MessageReader]] = MessageReader

    reader: MessageReader
    writer: MessageWriter
    closing: ClosingHandshake

    def __init__(
        self,
        transport: Transport,
        *,
        client: bool,
        limits: Limits,
        timeouts: Timeouts,
        timers: Timers,
        deflate: DeflateSettings | None = None,
        inbox: Inbox | None = None,
    ) -> None:
        super().__init__()
        endpoint = Endpoint(client=client, limits=limits, deflate=deflate)
        inbox = inbox or Inbox(limits.inbox_messages, limits.inbox_bytes)
        closing = ClosingHandshake(transport, endpoint, inbox, client=client, timeouts=timeouts, timers=timers)
        writer = MessageWriter(transport, endpoint, inbox, closing, now=self.open_time)
        reader = self.READER(transport, endpoint, inbox, writer, closing, now=self.open_time)
        self.reader = reader
        self.writer = writer
        self.closing = closing
        closing.reader = transport.receiver = reader
        reader.keepalive = Keepalive(reader, timeouts, timers)

    @property
    def endpoint(self) -> Endpoint:
        """The protocol's state."""
        return self.closing.endpoint

    @property
    def inbox(self) -> Inbox:
        """The messages that wait to be received."""
        return self.closing.inbox

    @property
    def transport(self) -> Transport:
        """The network connection."""
        return self.closing.transport

    @property
    def log(self) -> ConnectionLog | None:
        """The log that names the connection in its records."""
        return self.transport.log

    @property
    def closed_cleanly(self) -> bool:
        """Whether both sides have sent a close frame."""
        return self.endpoint.state is State.CLOSED

    @property
    def sock(self) -> AnySocket | None:
        """The socket below the connection, None without one and once it is closed."""
        return self.transport.sock

    @property
    def received(self) -> int:
        """Messages that arrived."""
        return self.reader.received

    @property
    def sent(self) -> int:
        """Messages that were committed."""
        return self.writer.sent

    @property
    def inbox_messages(self) -> int:
        """Messages that wait to be received."""
        return len(self.inbox.items)

    @property
    def outbox_bytes(self) -> int:
        """Bytes that wait for the network."""
        return self.transport.outbox.size
