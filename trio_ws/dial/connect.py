"""`dial`: from a URL to the server's 101, on whatever way leads there, under one deadline.

It opens streams and closes them if anything fails; frames, keepalive and reconnecting are the client's.
"""

from __future__ import annotations

import os
import re
import ssl
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Literal

import attrs
import trio

from trio_ws.config import Limits
from trio_ws.dial.proxy import Proxy, connect_through, environment_proxy
from trio_ws.dial.redirect import REDIRECTS, redirect_target
from trio_ws.dial.stream import (
    Progress,
    closed_on_error,
    default_context,
    open_tcp,
    open_unix,
    start_tls,
    without_certificate,
)
from trio_ws.errors import ConnectError, ConnectionRejected, ConnectTimeout, HeaderSource, RemoteProtocolError
from trio_ws.headers import Headers, is_token
from trio_ws.protocol.offer import Accepted, ClientHandshake, Rejected
from trio_ws.protocol.origin import Origin, page_origin
from trio_ws.url import URL, ascii_hostname
from trio_ws.version import __version__

__all__ = ["USER_AGENT", "Dialled", "dial"]

USER_AGENT = f"trio-ws/{__version__}"
"""The User-Agent header of a client for which none is given."""

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
    subprotocols: Sequence[str]
    ssl_context: ssl.SSLContext | None
    server_hostname: str | None

    def redirected(self, url: URL, trusted: Collection[Origin]) -> _Target:
        """Return the target of a redirect to `url`.

        What the user gave goes along within the origin, and to origins that the user trusts with it. To others goes
        only what the library itself makes: any header may be a secret, and tokens are put into subprotocols, too.
        """
        if url.origin == self.url.origin:
            return attrs.evolve(self, url=url)
        if url.origin in trusted:
            headers = [(name, value) for name, value in self.headers if name.lower() != "host"]
            return attrs.evolve(self, url=url, headers=headers, server_hostname=None)
        context = None if self.ssl_context is None else without_certificate(self.ssl_context)
        return _Target(url, headers=(), subprotocols=(), ssl_context=context, server_hostname=None)


@attrs.frozen
class _Way:
    """How attempts are made; redirects do not change it."""

    extensions: str | None
    user_agent: str | None
    proxy: Proxy | Literal[True] | None
    max_redirects: int
    trusted: Collection[Origin]
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
    user_agent: str | None = USER_AGENT,
    ssl_context: ssl.SSLContext | None = None,
    server_hostname: str | None = None,
    proxy: str | bool | None = None,
    max_redirects: int = 5,
    redirect_origins: Iterable[str] = (),
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
        user_agent: the User-Agent header; None for none.
        ssl_context: for wss; None: certificates are checked against the system's authorities.
        server_hostname: for wss: the name that the certificate must hold for, if it is not the URL's. Another
            origin that a redirect leads to is checked by its own name, with the same authorities.
        proxy: a proxy's URL (http, https, socks4, socks4a, socks5, socks5h; SOCKS needs the extra `proxy`);
            True for the one that HTTPS_PROXY, HTTP_PROXY, ALL_PROXY and NO_PROXY name; None to go directly.
            The certificate of an https proxy is checked against the system's authorities.
        max_redirects: how many redirects are followed. 0: they are rejections.
        redirect_origins: origins, such as "https://example.org", that a redirect may take headers, cookies,
            subprotocols, Origin and the client certificate to. To others only what the library makes goes along.
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
        ConnectionRejected: the server answered with a status that is neither 101 nor a redirect that can be followed.
        ValueError: an argument makes no sense, or does not go together with another one.
        TypeError: url is not a str, or subprotocols is one.
        ImportError: a SOCKS proxy without python-socks.

    Cancellation closes what was opened.
    """
    if not isinstance(url, str):
        raise TypeError(f"url must be a str, not {type(url).__name__}")
    target = _Target(
        URL.parse(url),
        _request_headers(headers, cookies, origin, user_agent),
        subprotocols,
        ssl_context,
        None if server_hostname is None else _certificate_name(server_hostname),
    )
    way = _Way(
        extensions,
        user_agent,
        Proxy.parse(proxy) if isinstance(proxy, str) else (proxy or None),
        max_redirects,
        _trusted(redirect_origins),
        limits or Limits(),
        stream,
        uds,
        detachable,
    )
    _check(target, way, open_timeout)
    progress = Progress()
    with trio.move_on_after(open_timeout):
        return await _follow(target, way, progress)
    raise ConnectTimeout(progress.phase, f"no connection to {target.url} within {open_timeout:g} seconds")


def _certificate_name(server_hostname: str) -> str:
    try:
        return ascii_hostname(server_hostname)
    except ValueError as error:
        raise ValueError(f"server_hostname {server_hostname!r} cannot stand in a certificate: {error}") from None


def _trusted(origins: Iterable[str]) -> frozenset[Origin]:
    if isinstance(origins, str):
        raise TypeError(f"redirect_origins takes a list of origins: write redirect_origins=[{origins!r}]")
    return frozenset(page_origin(each, "redirect_origins") for each in origins)


def _check(target: _Target, way: _Way, open_timeout: float) -> None:
    if not open_timeout >= 0:
        raise ValueError(f"open_timeout must be a number of seconds, 0 or more, not {open_timeout!r}")
    if way.max_redirects < 0:
        raise ValueError(f"max_redirects must be 0 or more, not {way.max_redirects!r}")
    if not target.url.secure and not (target.ssl_context is None and target.server_hostname is None):
        raise ValueError("ssl_context and server_hostname are for wss, the URL is a ws one")
    if sum((way.stream is not None, way.uds is not None, way.proxy is not None)) > 1:
        raise ValueError("stream, uds and proxy are three ways to connect: give one of them")


def _request_headers(
    headers: HeaderSource, cookies: Mapping[str, str] | None, origin: str | None, user_agent: str | None
) -> list[tuple[str, str]]:
    if isinstance(headers, Headers):
        headers = headers.pairs
    pairs = list(headers.items() if isinstance(headers, Mapping) else headers)
    if origin is not None:
        _add(pairs, "Origin", origin)
    if user_agent not in (None, USER_AGENT) and any(name.lower() == "user-agent" for name, _ in pairs):
        raise ValueError("header 'User-Agent' is given twice: in headers= and as user_agent=")
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
    """Return the target of a redirect.

    Raises:
        ConnectionRejected: it cannot be followed.
    """
    try:
        url = redirect_target(target.url, answer.status, answer.headers)
        if way.uds is not None and url.origin != target.url.origin:
            raise RemoteProtocolError("a redirect from a Unix socket to another origin", answer.status)
    except RemoteProtocolError as error:
        raise ConnectionRejected(answer.status, answer.headers.pairs, answer.body, why=str(error)) from error
    return target.redirected(url, way.trusted)


async def _attempt(target: _Target, way: _Way, progress: Progress) -> Dialled | Rejected:
    handshake = ClientHandshake(
        target.url,
        headers=_with_user_agent(target.headers, way.user_agent),
        subprotocols=target.subprotocols,
        extensions=way.extensions,
        limits=way.limits,
    )
    stream = await _connect(target.url, way, progress)
    async with closed_on_error(stream):
        # TLS to a proxy does not count: it ends there.
        if target.url.secure and not isinstance(way.stream, trio.SSLStream):
            context = target.ssl_context or default_context()
            hostname = target.server_hostname or target.url.hostname
            stream = await start_tls(stream, context, hostname, progress, detachable=way.detachable)
        progress.phase = "handshake"
        request = handshake.request()
        answer = await _answer(stream, request, handshake)
    if isinstance(answer, Rejected):
        await trio.aclose_forcefully(stream)
        return answer
    return Dialled(stream, answer, handshake.leftover, target.url, request)


def _with_user_agent(headers: Sequence[tuple[str, str]], user_agent: str | None) -> list[tuple[str, str]]:
    """Return the headers with a User-Agent, unless there is one among them (RFC 9110 10.1.5)."""
    if user_agent is None or any(name.lower() == "user-agent" for name, _ in headers):
        return list(headers)
    return [("User-Agent", user_agent), *headers]


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
