"""The target of one attempt of `reconnect`, and the options of all."""

from __future__ import annotations

import inspect
import os
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias, TypedDict
from urllib.parse import urlencode

import attrs

from trio_ws.options import of_kind

if TYPE_CHECKING:
    import ssl

    from trio_ws.config import Compression, Limits, Timeouts
    from trio_ws.connection.serialization import ValueType
    from trio_ws.errors import HeaderSource
    from trio_ws.handler.disconnect import WhenPeerLeaves
    from trio_ws.websocket.close_code import CaughtCodes

__all__ = ["Attempt", "ReconnectOptions", "TargetFunction", "call_target"]


class ReconnectOptions(TypedDict, total=False):
    """The arguments of `open_websocket` that `reconnect` takes too: all but the URL and `stream`."""

    headers: HeaderSource
    cookies: Mapping[str, str] | None
    subprotocols: Sequence[str]
    origin: str | None
    user_agent: str | None
    ssl_context: ssl.SSLContext | None
    server_hostname: str | None
    proxy: str | bool | None
    max_redirects: int
    redirect_origins: Iterable[str]
    uds: str | os.PathLike[str] | None
    limits: Limits | None
    timeouts: Timeouts | None
    compression: Compression | bool | None
    receive_type: ValueType | None
    send_type: ValueType | None
    caught_close_codes: CaughtCodes
    when_peer_leaves: WhenPeerLeaves
    poller: bool | None


@attrs.frozen
class Attempt:
    """The URL of one attempt of `reconnect`, and what its request has besides.

    Args:
        url: a ws or wss URL.
        query: parameters to add to the URL's query, each converted by `str`; those that are None are left out.
        headers: headers of the request, in place of those given to `reconnect`; None for those.
        cookies: likewise.
        subprotocols: likewise.

    Raises:
        TypeError: the URL is no text, or the query no mapping.
    """

    url: str = attrs.field(validator=of_kind(str))
    query: Mapping[str, object] = attrs.field(factory=dict, kw_only=True, validator=of_kind(Mapping))
    headers: HeaderSource | None = attrs.field(default=None, kw_only=True)
    cookies: Mapping[str, str] | None = attrs.field(default=None, kw_only=True)
    subprotocols: Sequence[str] | None = attrs.field(default=None, kw_only=True)

    @property
    def full_url(self) -> str:
        """The URL with the parameters of `query`."""
        query = urlencode({name: value for name, value in self.query.items() if value is not None})
        if not query:
            return self.url
        return f"{self.url}{'&' if '?' in self.url else '?'}{query}"

    @property
    def options(self) -> dict[str, Any]:
        """The arguments of `open_websocket` that the attempt has itself."""
        own = {"headers": self.headers, "cookies": self.cookies, "subprotocols": self.subprotocols}
        return {name: value for name, value in own.items() if value is not None}


TargetFunction: TypeAlias = "Callable[[], str | Attempt | Awaitable[str | Attempt]]"
"""Called before each attempt; returns its URL, or an `Attempt`. It may be async."""


async def call_target(function: TargetFunction) -> Attempt:
    """Call a function for the target of one attempt.

    Raises:
        TypeError: its result is neither a URL nor an `Attempt`.
        Exception: raised by the function.
    """
    result = function()
    if inspect.isawaitable(result):
        result = await result
    if isinstance(result, str):
        return Attempt(result)
    if not isinstance(result, Attempt):
        raise TypeError(f"the function that reconnect() calls returns a URL or an Attempt, not {result!r}")
    return result
