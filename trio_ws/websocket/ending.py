"""The state of a connection, its close, and how it ended."""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING, cast

import trio

from trio_ws.codes import CloseCode
from trio_ws.websocket.handshake import Handshake

if TYPE_CHECKING:
    from trio_ws.protocol.endpoint import CloseInfo

__all__ = ["Closable", "WebSocketState"]


class WebSocketState(Enum):
    """The states of a connection, named and numbered as Starlette's."""

    CONNECTING = 0
    """The handshake is not answered yet."""
    CONNECTED = 1
    """Messages may be sent."""
    DISCONNECTED = 2
    """The handshake was rejected, or the first close frame was sent or received, or the connection was lost."""


class Closable(Handshake):
    """A connection that can be closed, and says how it ended. Handlers get it as a `WebSocket`."""

    __slots__ = ()

    @property
    def connected(self) -> bool:
        """Whether messages may be sent."""
        channel = self.context.channel
        return channel is not None and channel.close_info is None

    @property
    def close_info(self) -> CloseInfo | None:
        """How the connection ended, with code, reason and the closing side; None while it is open."""
        return self.context.close_info

    @property
    def close_code(self) -> int | None:
        """The code of the first close frame, ours or the peer's; 1005 if it held none, 1006 if there was none."""
        return None if self.close_info is None else self.close_info.code

    @property
    def close_reason(self) -> str | None:
        """The reason in the first close frame; None while the connection is open."""
        return None if self.close_info is None else self.close_info.reason

    @property
    def closed_cleanly(self) -> bool:
        """Whether both sides have sent a close frame (RFC 6455 7.1.4).

        False while the connection is open, if it was lost, and after `close` if the peer's answer did not come.
        """
        channel = self.context.channel
        return channel is not None and channel.closed_cleanly

    @property
    def client_state(self) -> WebSocketState:
        """Connecting, connected or disconnected, as Starlette has it; the end of one side is that of both."""
        if self.context.channel is None:
            return WebSocketState.DISCONNECTED if self.context.rejected else WebSocketState.CONNECTING
        return WebSocketState.CONNECTED if self.connected else WebSocketState.DISCONNECTED

    @property
    def application_state(self) -> WebSocketState:
        """The same as `client_state`."""
        return self.client_state

    async def close(self, code: int = CloseCode.NORMAL_CLOSURE, reason: str | None = "") -> None:
        """Close the connection, and wait for the peer's answer at most `close_timeout` (RFC 6455 7.1.2).

        The wait begins anew while the peer still takes what was sent before; `delivery_timeout` bounds it in all. After
        the peer's end it does nothing, whatever the code.

        Args:
            code: 1000 to 1003, 1007 to 1014, or 3000 to 4999.
            reason: at most 123 bytes of UTF-8; None is "".

        Raises:
            LocalProtocolError: it was called before (it is a `RuntimeError`); `ensure_closed` never complains.
            ValueError: code or reason cannot be sent.
            trio.Cancelled: nothing was sent if the connection is still open; else the closing handshake goes on
                without you.
        """
        await self.context.close(code, reason or "")

    async def wait_closed(self) -> CloseInfo:
        """Wait until the connection has ended, without receiving, and return how.

        Messages that are not received hold the end back once they fill the inbox: the close frame is behind them.

        Raises:
            LocalProtocolError: the handshake is not answered yet.
            trio.Cancelled: nothing changes.
        """
        await self.context.wait_closed()
        return cast("CloseInfo", self.close_info)

    async def ensure_closed(self, code: int = CloseCode.NORMAL_CLOSURE, reason: str | None = "") -> None:
        """Close the connection if it is open; it never complains about the state.

        Raises:
            ValueError: the connection is open, and code or reason cannot be sent.
        """
        if self.connected:
            await self.close(code, reason)
        else:
            await trio.lowlevel.checkpoint()

    async def aclose(self) -> None:
        """Close the connection with 1000 if it is open, as `trio.abc.AsyncResource` has it."""
        await self.ensure_closed()
