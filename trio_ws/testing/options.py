"""The options of test clients and of their connections, as keywords with types."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypedDict

if TYPE_CHECKING:
    from trio_ws.config import Compression, Limits, Timeouts
    from trio_ws.connection.serialization import ValueType
    from trio_ws.connection.settings import Settings
    from trio_ws.errors import HeaderSource
    from trio_ws.testing.network import Network
    from trio_ws.websocket.close_code import CaughtCodes

__all__ = ["ClientKeywords", "ConnectKeywords"]


class ClientKeywords(TypedDict, total=False):
    """The options of `TestClient`."""

    settings: Settings | None
    timeout: float
    raise_server_errors: bool
    base_url: str | None
    network: Network | None
    overrides: Mapping[Any, Any] | None
    virtual_time: bool
    log_level: int | None


class ConnectKeywords(TypedDict, total=False):
    """The options of `TestClient.websocket_connect`."""

    headers: HeaderSource
    cookies: Mapping[str, str] | None
    subprotocols: Sequence[str]
    origin: str | None
    limits: Limits | None
    timeouts: Timeouts | None
    compression: Compression | bool | None
    receive_type: ValueType | None
    send_type: ValueType | None
    caught_close_codes: CaughtCodes
    timeout: float | None
