"""Instruments of a server's connections, for tracing and for further metrics.

Only overridden methods are called. Without instruments nothing stands between a handler and its messages; with one
that takes messages, `Instruments.channel_for` does.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Final

from trio_ws.options import list_of

if TYPE_CHECKING:
    from trio_ws.protocol.endpoint import CloseInfo
    from trio_ws.websocket.websocket import WebSocket

__all__ = ["Instrument", "Instruments", "instruments_of"]


class Instrument:
    """A base class for instruments: override the methods of interest, as plain functions that do not block.

    All events of a connection come in this order: `connection_opened`, `handshake_answered`, messages,
    `handler_failed`, `connection_closed`. The first and the last come once for each request that a route or handler was
    found for; requests that are answered before that are only in `Server.statistics`.

    An instrument that raises is logged and disabled; the connection goes on.
    """

    def connection_opened(self, websocket: WebSocket) -> None:
        """Handle a request that is about to be answered; guards and handler come next.

        It is called in the connection's own task: a context variable that is set here holds in the handler, and in all
        that it starts.
        """

    def handshake_answered(self, websocket: WebSocket, status: int) -> None:
        """Handle the answer to a request: 101 made it a WebSocket, any other HTTP status refused it.

        It is not called if the client left before the answer.
        """

    def message_received(self, websocket: WebSocket, message: str | bytes | None) -> None:
        """Handle a message that the handler has received; None at the end of one received as a stream."""

    def message_sent(self, websocket: WebSocket, message: str | bytes | bytearray | memoryview | None) -> None:
        """Handle a message in the outbox, a room's too; None at the end of one sent as a stream."""

    def handler_failed(self, websocket: WebSocket, error: BaseException) -> None:
        """Handle an unhandled error of the handler, or of a function around it."""

    def connection_closed(self, websocket: WebSocket, close_info: CloseInfo | None) -> None:
        """Handle the end of a connection, of its handler and of `on_disconnect`; None if it was not accepted."""


HOOKS: Final = tuple(name for name in vars(Instrument) if not name.startswith("_"))
_MESSAGES: Final = ("message_received", "message_sent")


class Instruments:
    """The instruments of a server or an application, by overridden method.

    Args:
        instruments: in the order of their calls.

    Raises:
        TypeError: one of them is no `Instrument`, or one of its methods is `async`.
    """

    __slots__ = ("_by_hook",)

    def __init__(self, instruments: Iterable[Instrument]) -> None:
        given = tuple(instruments)
        for instrument in given:
            _check(instrument)
        self._by_hook = {
            hook: tuple(each for each in given if getattr(type(each), hook) is not getattr(Instrument, hook))
            for hook in HOOKS
        }

    def __bool__(self) -> bool:
        return any(self._by_hook.values())

    def notify(self, hook: str, websocket: WebSocket, *arguments: Any) -> None:
        """Call one method of the instruments that override it."""
        for instrument in self._by_hook[hook]:
            try:
                getattr(instrument, hook)(websocket, *arguments)
            except Exception:
                self._disable(instrument, hook, websocket)

    def observe_messages(self, websocket: WebSocket) -> None:
        """Report a connection's messages, if an instrument takes them."""
        if any(self._by_hook[hook] for hook in _MESSAGES):
            from trio_ws.connection.instrumented import instrument_channel  # noqa: PLC0415 - imported by `runner`

            channel = websocket.context.open_channel()
            instrument_channel(channel, lambda hook, message: self.notify(hook, websocket, message))

    def _disable(self, instrument: Instrument, hook: str, websocket: WebSocket) -> None:
        """Log the current exception, and call its instrument no more, on any connection."""
        self._by_hook = {
            name: tuple(each for each in instruments if each is not instrument)
            for name, instruments in self._by_hook.items()
        }
        connection_log = websocket.context.log
        connection_log.exception("%s: %s of instrument %r failed, instrument disabled", hook, instrument)


def _check(instrument: object) -> None:
    if not isinstance(instrument, Instrument):
        raise TypeError(f"instruments takes a list of Instrument objects, not {instrument!r}")
    for hook in HOOKS:
        if inspect.iscoroutinefunction(getattr(instrument, hook)):
            raise TypeError(f"{type(instrument).__name__}.{hook} is async: instrument methods must not be async")


def instruments_of(value: Iterable[Instrument] | Instruments | None) -> Instruments | None:
    """Return the instruments of an `instruments=` argument; None if there are none.

    Raises:
        TypeError: as `Instruments` does, and if it is a single one.
    """
    if value is None or isinstance(value, Instruments):
        return value
    if isinstance(value, Instrument):
        raise TypeError(f"instruments takes a list of Instrument objects: write instruments=[{value!r}]")
    made = Instruments(list_of("instruments", value, "Instrument objects"))
    return made if made else None
