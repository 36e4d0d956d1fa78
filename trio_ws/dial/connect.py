"""`dial`: from a URL to the server's 101, on whatever way leads there, under one deadline.

It opens streams and closes them if anything fails; frames, keepalive and reconnecting are the client's.
"""

from __future__ import annotations

import os
import re
import ssl
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Literal

import attrs
import trio

from trio_ws.config import Limits
from trio_ws.dial.deadline import within
from trio_ws.dial.proxy import Proxy, connect_through, environment_proxy
from trio_ws.dial.redirect import REDIRECTS, redirect_target, without_credentials
from trio_ws.dial.stream import Progress, closed_on_error, default_context, open_tcp, open_unix, start_tls
from trio_ws.errors import ConnectError, ConnectionRejected, ConnectTimeout, HeaderSource, RemoteProtocolError
from trio_ws.headers import Headers, is_token
from trio_ws.protocol.offer import Accepted, ClientHandshake, Rejected
from trio_ws.url import URL

__all__ = ["Dialled", "dial"]

_READ_SIZE = 16 * 1024
# RFC 6265 4.1.1, quotes included
_COOKIE_VALUE = re.compile(r"[\x21-\x2b\x2d-\x3a\x3c-\x5b\x5d-\x7e]*")


@attrs.frozen
class Dialled:
    """A connection whose opening handshake the server accepted."""

    stream: trio.abc.Stream
    """A `trio.SocketStream` for TCP and Unix sockets, through a proxy too; a `trio.SSLStream` for wss, or a
    `SecuredStream` if TLS was to be `detachable`, and is spoken over a socket."""
    accepted: Accepted
    """The server's answer."""
    leftover: bytes
    """What came behind the answer: the first bytes of the first frames."""
    url: URL
    """Where the connection leads, after redirects."""
    request: bytes
    """The request that was accepted, as it was sent."""


@attrs.frozen
class _Target:
    """What an attempt is about; a redirect changes it."""

    url: URL
    headers: Sequence[tuple[str, str]]
    server_hostname: str | None

    def redirected(self, url: URL) -> _Target:
        """Return the target of a redirect to `url`, without what another origin must not see."""
        if url.origin == self.url.origin:
            return attrs.evolve(self, url=url)
        return _Target(url, without_credentials(self.headers), None)


@attrs.frozen
class _Way:
    """How attempts are made; redirects do not change it."""

    subprotocols: Sequence[str]
    extensions: str | None
    ssl_context: ssl.SSLContext | None
    proxy: Proxy | Literal[True] | None
    max_redirects: int
    limits: Limits
    stream: trio.abc.Stream | None
    uds: str | os.PathLike[str] | None
    detachable: bool


async def dial(
    url: str,
    *,
    headers: HeaderSource = (),
    cookies: Mapping[str, str] | None = None,
    subprotocols: Sequence[str] = (),
    extensions: str | None = None,
    origin: str | None = None,
    ssl_context: ssl.SSLContext | None = None,
    server_hostname: str | None = None,
    proxy: str | bool | None = None,
    max_redirects: int = 5,
    limits: Limits | None = None,
    open_timeout: float = 10.0,
    stream: trio.abc.Stream | None = None,
    uds: str | os.PathLike[str] | None = None,
    detachable: bool = False,
) -> Dialled:
    """Connect to a WebSocket server and do the opening handshake (RFC 6455 4.1).

    Args:
        url: a ws or wss URL; http and https mean the same. Username and password become an Authorization
            header.
        headers: further headers of the request.
        cookies: names and values for the Cookie header.
        subprotocols: what to offer, the favourite first.
        extensions: what to offer in Sec-WebSocket-Extensions.
        origin: the Origin header.
        ssl_context: for wss; None: certificates are checked against the system's authorities.
        server_hostname: for wss: the name that the certificate must hold for, if it is not the URL's. Another
            origin that a redirect leads to is checked by its own name.
        proxy: a proxy's URL (http, https, socks4, socks4a, socks5, socks5h; SOCKS needs the extra `proxy`);
            True for the one that HTTPS_PROXY, HTTP_PROXY, ALL_PROXY and NO_PROXY name; None to go directly.
            The certificate of an https proxy is checked against the system's authorities.
        max_redirects: how many redirects are followed. 0: they are rejections.
        limits: the bounds of what servers and proxies may answer.
        open_timeout: seconds for everything together, redirects included.
        stream: use this connected stream. wss starts TLS on it, unless it is an `SSLStream`. Redirects are
            rejections. It is closed if the handshake fails.
        uds: connect to this Unix socket. Redirects to other origins are not followed.
        detachable: let a transport take over later what is below TLS.

    Returns:
        The stream with what the server answered. It is the caller's to close.

    Raises:
        ConnectError: with the phase that failed; nothing stays open.
        ConnectTimeout: it took longer than `open_timeout`.
        ConnectionRejected: the server answered with a status that is neither 101 nor a redirect to follow.
        ValueError: an argument makes no sense, or does not go together with another one.
        TypeError: url is not a str, or subprotocols is one.
        ImportError: a SOCKS proxy without python-socks.

    Cancellation closes what was opened.
    """
    if not isinstance(url, str):
        raise TypeError(f"url must be a str, not {type(url).__name__}")
    target = _Target(URL.parse(url), _request_headers(headers, cookies, origin), server_hostname)
    chosen = Proxy.parse(proxy) if isinstance(proxy, str) else (proxy or None)
    way = _Way(
        subprotocols, extensions, ssl_context, chosen, max_redirects, limits or Limits(), stream, uds, detachable
    )
    _check(target, way, open_timeout)
    progress = Progress()
    dialled = await within(open_timeout, progress, partial(_follow, target, way, progress))
    if dialled is not None:
        return dialled
    raise ConnectTimeout(progress.phase, f"no connection to {target.url} within {open_timeout:g} seconds")


def _check(target: _Target, way: _Way, open_timeout: float) -> None:
    if not open_timeout >= 0:
        raise ValueError(f"open_timeout must be a number of seconds, 0 or more, not {open_timeout!r}")
    if way.max_redirects < 0:
        raise ValueError(f"max_redirects must be 0 or more, not {way.max_redirects!r}")
    if not target.url.secure and not (way.ssl_context is None and target.server_hostname is None):
        raise ValueError("ssl_context and server_hostname are for wss, the URL is a ws one")
    if sum((way.stream is not None, way.uds is not None, way.proxy is not None)) > 1:
        raise ValueError("stream, uds and proxy are three ways to connect: give one of them")


def _request_headers(
    headers: HeaderSource, cookies: Mapping[str, str] | None, origin: str | None
) -> list[tuple[str, str]]:
    if isinstance(headers, Headers):
        headers = headers.pairs
    pairs = list(headers.items() if isinstance(headers, Mapping) else headers)
    if origin is not None:
        _add(pairs, "Origin", origin)
    if cookies:
        _add(pairs, "Cookie", "; ".join(_cookie(name, value) for name, value in cookies.items()))
    return pairs


def _add(pairs: list[tuple[str, str]], name: str, value: str) -> None:
    # RFC 6265 5.4 and RFC 6454 7.3: each of them occurs once.
    if any(given.lower() == name.lower() for given, _ in pairs):
        raise ValueError(f"header {name!r} is given twice: in headers= and as an argument of its own")
    pairs.append((name, value))


def _cookie(name: str, value: str) -> str:
    if not is_token(name):
        raise ValueError(f"{name!r} is not the name of a cookie: it must be a token (RFC 6265 4.1.1)")
    if not _COOKIE_VALUE.fullmatch(value):
        raise ValueError(
            f"cookie {name!r} cannot be sent: encode spaces, commas, semicolons, backslashes and characters "
            "outside ASCII in its value (RFC 6265 4.1.1)"
        )
    return f"{name}={value}"


async def _follow(target: _Target, way: _Way, progress: Progress) -> Dialled:
    for _ in range(way.max_redirects + 1):
        answer = await _attempt(target, way, progress)
        if isinstance(answer, Dialled):
            return answer
        refusal = ConnectionRejected(answer.status, answer.headers.pairs, answer.body)
        if answer.status not in REDIRECTS or way.max_redirects == 0 or way.stream is not None:
            raise refusal
        target = _redirected(target, way, answer)
    raise ConnectError(
        "handshake", f"more than {way.max_redirects} redirects, the last one to {target.url}"
    ) from refusal


def _redirected(target: _Target, way: _Way, answer: Rejected) -> _Target:
    with _breaches_translated():
        url = redirect_target(target.url, answer.status, answer.headers)
        if way.uds is not None and url.origin != target.url.origin:
            raise RemoteProtocolError("a redirect from a Unix socket to another origin", answer.status)
    return target.redirected(url)


async def _attempt(target: _Target, way: _Way, progress: Progress) -> Dialled | Rejected:
    handshake = ClientHandshake(
        target.url,
        headers=target.headers,
        subprotocols=way.subprotocols,
        extensions=way.extensions,
        limits=way.limits,
    )
    stream = await _connect(target.url, way, progress)
    async with closed_on_error(stream):
        # TLS to a proxy does not count: it ends there.
        if target.url.secure and not isinstance(way.stream, trio.SSLStream):
            context = way.ssl_context or default_context()
            hostname = target.server_hostname or target.url.hostname
            stream = await start_tls(stream, context, hostname, progress, detachable=way.detachable)
        progress.phase = "handshake"
        request = handshake.request()
        answer = await _answer(stream, request, handshake)
    if isinstance(answer, Rejected):
        await trio.aclose_forcefully(stream)
        return answer
    return Dialled(stream, answer, handshake.leftover, target.url, request)


async def _connect(url: URL, way: _Way, progress: Progress) -> trio.abc.Stream:
    if way.stream is not None:
        return way.stream
    if way.uds is not None:
        return await open_unix(way.uds, progress)
    proxy = way.proxy
    if proxy is True:
        progress.phase = "proxy"
        # In a thread, because on Windows looking for exceptions from the proxy may resolve names.
        proxy = await trio.to_thread.run_sync(environment_proxy, url, abandon_on_cancel=True)
    if isinstance(proxy, Proxy):
        return await connect_through(proxy, url, progress, way.limits)
    return await open_tcp(url.hostname, url.port, progress)


async def _answer(stream: trio.abc.Stream, request: bytes, handshake: ClientHandshake) -> Accepted | Rejected:
    try:
        await stream.send_all(request)
        answer = None
        while answer is None:
            data = await stream.receive_some(_READ_SIZE)
            with _breaches_translated(ended=not data):
                answer = handshake.feed(data)
    except (trio.BrokenResourceError, trio.ClosedResourceError) as error:
        reason = error.__cause__ or error
        raise ConnectError("handshake", f"the connection was lost: {reason}") from reason
    return answer


@contextmanager
def _breaches_translated(*, ended: bool = False) -> Iterator[None]:
    """Turn the server's breaches of the protocol into `ConnectError`s; to be cut off is not a breach."""
    try:
        yield
    except RemoteProtocolError as error:
        raise ConnectError("handshake", str(error)) from (None if ended else error)
