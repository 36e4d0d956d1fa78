"""RouteKeywords: the keyword arguments that every way of registering a route has in common, for type checkers."""

from __future__ import annotations

from collections.abc import Iterable

from typing_extensions import TypedDict

from trio_ws.app.guards import Guard
from trio_ws.config import Compression, Limits, Timeouts
from trio_ws.connection.serialization import ValueType
from trio_ws.handler.disconnect import WhenPeerLeaves
from trio_ws.websocket.websocket import CaughtCodes

__all__ = ["RouteKeywords"]


class RouteKeywords(TypedDict, total=False):
    """The options of a route; `RouteOptions` holds them with their defaults."""

    receive_type: ValueType | None
    send_type: ValueType | None
    value_type: ValueType | None
    auto_accept: bool
    caught_close_codes: CaughtCodes
    guards: Iterable[Guard]
    when_peer_leaves: WhenPeerLeaves
    subprotocols: Iterable[str]
    limits: Limits | None
    timeouts: Timeouts | None
    compression: Compression | bool | None
    name: str | None
