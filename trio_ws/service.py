"""Service: what a server does with one connection: the handler, its callbacks and its options. It runs nothing."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from typing import TYPE_CHECKING, TypeAlias

import attrs

from trio_ws.checks import flag
from trio_ws.codec import resolve_types
from trio_ws.config import Compression, Limits, Timeouts
from trio_ws.disconnect import WhenPeerLeaves, check_policy
from trio_ws.instruments import Instruments, instruments_of
from trio_ws.settings import close_codes_of, of_kind, subprotocols_of
from trio_ws.websocket import GOOD_CODES, CaughtCodes, WebSocket

if TYPE_CHECKING:
    from trio_ws.codec import ValueType
    from trio_ws.errors import HeaderSource

__all__ = ["Handler", "Response", "Service"]

Handler: TypeAlias = Callable[[WebSocket], Awaitable[object]]


@attrs.frozen(kw_only=True)
class Service:
    """What to do with a connection."""

    handler: Handler
    """Runs in the connection's nursery; the connection is closed when it has ended."""
    around: Callable[[WebSocket], AbstractAsyncContextManager[object]] | None = None
    """Entered in the nursery before the handshake is answered, which it may refuse; left when the handler has ended."""
    on_connect: Handler | None = None
    """Runs in the nursery after the handshake was answered, before the handler."""
    on_disconnect: Callable[[WebSocket, int], Awaitable[object]] | None = None
    """Runs exactly once for each accepted connection, shielded from cancellation, at most `cleanup_timeout`."""
    on_error: Callable[[WebSocket, BaseException], Awaitable[object]] | None = None
    """Runs after an error of the handler's was logged."""
    close_code_of: Callable[[BaseException], int | None] | None = None
    """Maps an error of the handler's to the close code to send, None for the default."""
    auto_accept: bool = attrs.field(default=True, validator=flag)
    """Accept before the handler is called; else it calls `accept`, `reject`, or enters `async with ws`."""
    subprotocols: tuple[str, ...] = attrs.field(default=(), converter=subprotocols_of)
    """What is spoken here, the favourite first."""
    caught_close_codes: CaughtCodes = attrs.field(default=GOOD_CODES, converter=close_codes_of)
    """Codes of a `WebSocketDisconnect` that is no error when it leaves the handler."""
    when_peer_leaves: WhenPeerLeaves = attrs.field(default="drain", validator=check_policy)
    """What becomes of the handler when its peer is gone."""
    receive_type: ValueType | None = None
    send_type: ValueType | None = None
    limits: Limits | None = attrs.field(default=None, validator=of_kind(Limits, optional=True))
    """None: the server's."""
    timeouts: Timeouts | None = attrs.field(default=None, validator=of_kind(Timeouts, optional=True))
    """None: the server's."""
    compression: Compression | bool | None = None
    """None: the server's; True for the defaults, False for none."""
    instruments: Instruments | None = attrs.field(default=None, converter=instruments_of)
    """Are told what happens; give them as a list of `Instrument`."""

    def __attrs_post_init__(self) -> None:
        resolve_types(self.receive_type, self.send_type, None)


@attrs.frozen(kw_only=True)
class Response:
    """An HTTP answer to a request that is, or shall become, no WebSocket."""

    status: int = 200
    headers: HeaderSource = ()
    body: bytes = b""
