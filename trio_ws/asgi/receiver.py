"""Pump: the one task that asks the ASGI server what happens, from the first event to the disconnect and never after it.

A second `receive` after the disconnect would wait for ever (hypercorn), so the end is remembered here.
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
    """Who is told what happens on an accepted connection."""

    @property
    def wants_messages(self) -> bool:
        """Whether there is room for another message."""

    def message(self, content: str | bytes) -> None:
        """A message has arrived."""

    def disconnected(self, info: CloseInfo) -> None:
        """Nothing more will arrive."""

    def deaf(self) -> None:
        """Nothing more will be heard, because the server has cancelled the call: also no end."""


class EventReceiver:
    """Receives for one connection.

    Args:
        receive: the server's.
    """

    def __init__(self, receive: Receive) -> None:
        self._receive = receive
        self._room = trio.lowlevel.ParkingLot()
        self._receiver: EventTarget | None = None
        self._on_left: Callable[[], None] | None = None
        self.over: trio.Event = trio.Event()
        """Set when the disconnect has come, or nothing more will be heard."""

    @property
    def left(self) -> bool:
        """Whether the client has gone."""
        return self.over.is_set()

    def call_when_left(self, callback: Callable[[], None] | None) -> None:
        """Call `callback` when the client leaves before the answer."""
        self._on_left = callback

    def tell(self, receiver: EventTarget) -> None:
        """Tell `receiver` from now on."""
        self._on_left = None
        self._receiver = receiver

    def resume(self) -> None:
        """There is room again."""
        self._room.unpark_all()

    async def connected(self) -> bool:
        """Take the first event; return whether there is a client."""
        event = await self._receive()
        if event["type"] != "websocket.connect":
            self._end(CloseInfo(CloseCode.ABNORMAL_CLOSURE, "", "network"))
        return not self.left

    async def run(self) -> None:
        """Receive until the disconnect."""
        try:
            while not self.left:
                while self._receiver is not None and not self._receiver.wants_messages:
                    await self._room.park()
                await self._take()
        finally:
            if not self.left:
                self.over.set()
                if self._receiver is not None:
                    self._receiver.deaf()

    async def _take(self) -> None:
        try:
            event = await self._receive()
        except Exception:
            logger.exception("the ASGI server failed at receiving: the connection is given up")
            self._end(CloseInfo(CloseCode.ABNORMAL_CLOSURE, "", "network"))
            return
        match event["type"]:
            case "websocket.receive" if self._receiver is not None:
                self._receiver.message(_content(event))
            case "websocket.disconnect":
                self._end(_info(event))

    def _end(self, info: CloseInfo) -> None:
        self.over.set()
        if self._receiver is not None:
            self._receiver.disconnected(info)
        elif self._on_left is not None:
            self._on_left()


def _content(event: Event) -> str | bytes:
    """Return the message: an empty one is a message, a key that is missing is one that is None."""
    content: str | bytes | None = event.get("text")
    return event.get("bytes") or b"" if content is None else content


def _info(event: Event) -> CloseInfo:
    """Return how it ended. 1006 says nothing: hypercorn says so however the client has left."""
    code = event.get("code", CloseCode.NO_STATUS_RECEIVED)
    if code is None:
        code = CloseCode.NO_STATUS_RECEIVED
    by: Closer = "unknown" if code == CloseCode.ABNORMAL_CLOSURE else "peer"
    return CloseInfo(int(code), event.get("reason") or "", by)
