"""Instruments: are told what happens on a server's connections, for tracing and for counting what nobody counts here.

An instrument hears only what it overrides. Where there is none, nothing of this is in the way; `tap` is what stands
between a handler and its messages where one wants to hear of these.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Final

from trio_ws.connection.instrumented import instrument_channel
from trio_ws.options import list_of

if TYPE_CHECKING:
    from trio_ws.protocol.endpoint import CloseInfo
    from trio_ws.websocket.websocket import WebSocket

__all__ = ["Instrument", "Instruments", "instruments_of"]


class Instrument:
    """Override the methods whose events you want to hear of; they are plain functions and must not block.

    All events of a connection come in this order: `connection_opened`, `handshake_answered`, messages,
    `handler_failed`, `connection_closed`. The first and the last come once for each request that a route or handler was
    found for; requests that are answered before that are only in `Server.statistics`.

    An instrument that raises is logged and told nothing more; the connection is none the worse for it.
    """

    def connection_opened(self, websocket: WebSocket) -> None:
        """A request was read, and is about to be answered; guards and handler come next.

        It is called in the connection's own task: a context variable that is set here holds in the handler, and in all
        that it starts.
        """

    def handshake_answered(self, websocket: WebSocket, status: int) -> None:
        """The request was answered: 101 made it a WebSocket, any other HTTP status refused it.

        It does not come if the client left before the answer.
        """

    def message_received(self, websocket: WebSocket, message: str | bytes | None) -> None:
        """The handler was given a message; None for one that it has received as a stream, at its end."""

    def message_sent(self, websocket: WebSocket, message: str | bytes | bytearray | memoryview | None) -> None:
        """A message was committed to the outbox, a room's too; None for one that was sent as a stream, at its end."""

    def handler_failed(self, websocket: WebSocket, error: BaseException) -> None:
        """The handler, or a function around it, ended with an error that nobody foresaw."""

    def connection_closed(self, websocket: WebSocket, close_info: CloseInfo | None) -> None:
        """The connection is over, and so are its handler and `on_disconnect`; None if it was not accepted."""


HOOKS: Final = tuple(name for name in vars(Instrument) if not name.startswith("_"))
_MESSAGES: Final = ("message_received", "message_sent")


class Instruments:
    """The instruments of a server or an application, by what they listen to.

    Args:
        instruments: in the order in which they are told.

    Raises:
        TypeError: one of them is no `Instrument`, or one of its methods is `async`.
    """

    __slots__ = ("_listening",)

    def __init__(self, instruments: Iterable[Instrument]) -> None:
        given = tuple(instruments)
        for instrument in given:
            _check(instrument)
        self._listening = {
            hook: tuple(each for each in given if getattr(type(each), hook) is not getattr(Instrument, hook))
            for hook in HOOKS
        }

    def tell(self, hook: str, websocket: WebSocket, *arguments: Any) -> None:
        """Call one method of those who have it."""
        for instrument in self._listening[hook]:
            try:
                getattr(instrument, hook)(websocket, *arguments)
            except Exception:
                self._silence(instrument, hook, websocket)

    def observe_messages(self, websocket: WebSocket) -> None:
        """Report the messages of a connection, if an instrument observes them."""
        if any(self._listening[hook] for hook in _MESSAGES):
            channel = websocket._open_channel()
            instrument_channel(channel, lambda hook, message: self.tell(hook, websocket, message))

    def _silence(self, instrument: Instrument, hook: str, websocket: WebSocket) -> None:
        """Log the error that is being handled, and tell its instrument nothing more, on whatever connection."""
        self._listening = {
            name: tuple(each for each in listening if each is not instrument)
            for name, listening in self._listening.items()
        }
        websocket._log.exception("%s: error in %s of %r: it is told nothing more", hook, instrument)


def _check(instrument: object) -> None:
    if not isinstance(instrument, Instrument):
        raise TypeError(f"instruments takes a list of Instrument objects, and {instrument!r} is none")
    for hook in HOOKS:
        if inspect.iscoroutinefunction(getattr(instrument, hook)):
            raise TypeError(
                f"{type(instrument).__name__}.{hook} is async: an instrument is told, and nobody waits for it"
            )


def instruments_of(value: Iterable[Instrument] | Instruments | None) -> Instruments | None:
    """Return what `instruments=` means; None if there are none.

    Raises:
        TypeError: as `Instruments` does, and if it is a single one.
    """
    if value is None or isinstance(value, Instruments):
        return value
    if isinstance(value, Instrument):
        raise TypeError(f"instruments takes a list of Instrument objects: write instruments=[{value!r}]")
    made = Instruments(list_of("instruments", value, "Instrument objects"))
    return made if any(made._listening.values()) else None
