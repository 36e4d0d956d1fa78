"""The handler of a connection with its callbacks and options, and HTTP answers."""

from __future__ import annotations

import inspect
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from typing import TYPE_CHECKING, Any, TypeAlias

import attrs

from trio_ws.config import Limits, Timeouts
from trio_ws.connection.serialization import resolve_types
from trio_ws.connection.settings import compression_of
from trio_ws.handler.disconnect import WhenPeerLeaves, check_policy
from trio_ws.handler.instruments import Instruments, instruments_of
from trio_ws.options import flag, of_kind
from trio_ws.websocket.close_code import NORMAL_CLOSE_CODES, CaughtCodes, caught_codes
from trio_ws.websocket.handshake import parse_subprotocols
from trio_ws.websocket.websocket import WebSocket

if TYPE_CHECKING:
    from trio_ws.config import Compression
    from trio_ws.connection.serialization import ValueType
    from trio_ws.errors import HeaderSource

__all__ = ["Handler", "Response", "Service", "Streamed"]

Handler: TypeAlias = Callable[[WebSocket], Awaitable[object]]


def _check_handler(_: object, attribute: attrs.Attribute[Any], value: Any) -> None:
    if inspect.iscoroutine(value):
        value.close()
        raise TypeError(f"{attribute.name} takes a function: give it without calling it")
    if not callable(value):
        raise TypeError(f"{attribute.name} takes an async function, not {value!r}")
    if inspect.isasyncgenfunction(value):
        raise TypeError(f"{attribute.name} takes an async function, and {value!r} is a generator: send what it yields")


@attrs.frozen(kw_only=True)
class Service:
    """A handler with its callbacks and options.

    Raises:
        TypeError: an option is of another kind.
        ValueError: an option makes no sense.
    """

    handler: Handler = attrs.field(validator=_check_handler)
    """Runs in the connection's nursery; the connection is closed when it has ended."""
    around: Callable[[WebSocket], AbstractAsyncContextManager[object]] | None = None
    """Entered in the nursery before the handshake is answered, which it may refuse; left when the handler has ended."""
    on_connect: Handler | None = None
    """Runs in the nursery after the handshake was answered, before the handler."""
    on_disconnect: Callable[[WebSocket, int], Awaitable[object]] | None = None
    """Runs exactly once for each accepted connection, shielded from cancellation, at most `cleanup_timeout`."""
    on_error: Callable[[WebSocket, BaseException], Awaitable[object]] | None = None
    """Runs after an error of the handler was logged."""
    on_result: Callable[[WebSocket, Any], object] | None = None
    """Called with a result of the handler that is not None."""
    close_code_of: Callable[[BaseException], int | None] | None = None
    """Maps an error of the handler to the close code to send, None for the default."""
    auto_accept: bool = attrs.field(default=True, validator=flag)
    """Accept before the handler is called; else it calls `accept`, `reject`, or enters `async with ws`."""
    subprotocols: tuple[str, ...] = attrs.field(default=(), converter=parse_subprotocols)
    """Supported subprotocols, the favourite first."""
    caught_close_codes: CaughtCodes = attrs.field(default=NORMAL_CLOSE_CODES, converter=caught_codes)
    """Codes of a `WebSocketDisconnect` that is no error when it leaves the handler."""
    when_peer_leaves: WhenPeerLeaves = attrs.field(default="drain", validator=check_policy)
    """The treatment of a handler whose peer is gone."""
    receive_type: ValueType | None = None
    """What `receive` returns: "json", "text", "bytes", or None for messages as they arrive."""
    send_type: ValueType | None = None
    """What `send` takes, likewise."""
    limits: Limits | None = attrs.field(default=None, validator=of_kind(Limits, optional=True))
    """None: the server's."""
    timeouts: Timeouts | None = attrs.field(default=None, validator=of_kind(Timeouts, optional=True))
    """None: the server's."""
    compression: Compression | bool | None = None
    """None: the server's; True for the defaults, False for none."""
    instruments: Instruments | None = attrs.field(default=None, converter=instruments_of)
    """Instruments of the connection, given as a list of `Instrument`."""

    def __attrs_post_init__(self) -> None:
        resolve_types(self.receive_type, self.send_type, None)
        compression_of(self.compression)


@attrs.frozen(kw_only=True)
class Response:
    """An HTTP answer to a plain request, or a refusal of an upgrade."""

    status: int = 200
    """The HTTP status."""
    headers: HeaderSource = ()
    """All headers but Connection, Content-Length and Transfer-Encoding, which the server sets."""
    body: bytes = b""
    """The bytes of the body."""


@attrs.frozen(kw_only=True)
class Streamed(Response):
    """An HTTP answer whose body is produced while it is sent, at the client's pace."""

    length: int
    """Bytes of the body."""
    pieces: Callable[[], AsyncGenerator[bytes, None]]
    """Called for the body; yields each piece when there is room for it, and is closed at the end."""
