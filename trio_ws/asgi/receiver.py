"""The task that receives events from an ASGI server, up to the disconnect.

Under hypercorn a further `receive` after the disconnect would wait forever, so the end is remembered here.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final, Protocol

import trio

from trio_ws.codes import CloseCode
from trio_ws.protocol.endpoint import CloseInfo

if TYPE_CHECKING:
    from collections.abc import Callable

    from trio_ws.asgi.scope import Event, Receive
    from trio_ws.protocol.endpoint import Closer

__all__ = ["EventReceiver", "EventTarget"]

logger: Final = logging.getLogger("trio_ws")


class EventTarget(Protocol):
    """Handles the events of an accepted connection."""

    @property
    def wants_messages(self) -> bool:
        """Whether there is room for another message."""

    def on_message(self, content: str | bytes) -> None:
        """Handle a message."""

    def on_disconnect(self, info: CloseInfo) -> None:
        """Handle the end of the connection, the last event."""

    def on_receive_cancelled(self) -> None:
        """Handle the cancellation of the call: no further events arrive, not even the end."""


class EventReceiver:
    """Receives the events of one connection.

    Args:
        receive: the ASGI server's callable.
    """

    def __init__(self, receive: Receive) -> None:
        self._receive = receive
        self._room = trio.lowlevel.ParkingLot()
        self._target: EventTarget | None = None
        self._on_early_disconnect: Callable[[], None] | None = None
        self.ended: trio.Event = trio.Event()
        """Set after the last event: the disconnect, or the cancellation of the call."""

    @property
    def disconnected(self) -> bool:
        """Whether no further events arrive."""
        return self.ended.is_set()

    def set_early_disconnect_callback(self, callback: Callable[[], None] | None) -> None:
        """Set what is called if the client disconnects before the handshake is answered."""
        self._on_early_disconnect = callback

    def set_target(self, target: EventTarget) -> None:
        """Pass all further events to `target`."""
        self._on_early_disconnect = None
        self._target = target

    def resume(self) -> None:
        """Continue receiving after the target had no room."""
        self._room.unpark_all()

    async def receive_connect(self) -> bool:
        """Receive the first event; return False if the client has disconnected."""
        event = await self._receive()
        if event["type"] != "websocket.connect":
            self._end(CloseInfo(CloseCode.ABNORMAL_CLOSURE, "", "network"))
        return not self.disconnected

    async def run(self) -> None:
        """Receive until the disconnect."""
        try:
            while not self.disconnected:
                while self._target is not None and not self._target.wants_messages:
                    await self._room.park()
                await self._receive_event()
        finally:
            if not self.disconnected:
                self.ended.set()
                if self._target is not None:
                    self._target.on_receive_cancelled()

    async def _receive_event(self) -> None:
        try:
            event = await self._receive()
        except Exception:
            logger.exception("receive() of the ASGI server failed, closing the connection")
            self._end(CloseInfo(CloseCode.ABNORMAL_CLOSURE, "", "network"))
            return
        match event["type"]:
            case "websocket.receive" if self._target is not None:
                self._target.on_message(_content(event))
            case "websocket.disconnect":
                self._end(_info(event))

    def _end(self, info: CloseInfo) -> None:
        self.ended.set()
        if self._target is not None:
            self._target.on_disconnect(info)
        elif self._on_early_disconnect is not None:
            self._on_early_disconnect()


def _content(event: Event) -> str | bytes:
    """Return the message; a missing key means None, an empty string or bytes is a message."""
    content: str | bytes | None = event.get("text")
    return event.get("bytes") or b"" if content is None else content


def _info(event: Event) -> CloseInfo:
    """Return how the connection ended; hypercorn reports 1006 for any end without a close frame."""
    code = event.get("code", CloseCode.NO_STATUS_RECEIVED)
    if code is None:
        code = CloseCode.NO_STATUS_RECEIVED
    by: Closer = "unknown" if code == CloseCode.ABNORMAL_CLOSURE else "peer"
    return CloseInfo(int(code), event.get("reason") or "", by)
