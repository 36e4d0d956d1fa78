"""The checked arguments of a connection.

Nothing here connects; `connector` executes a plan, and `reconnect` executes one again and again.
"""

from __future__ import annotations

import os
import re
import ssl
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Literal, cast

import attrs
import trio

from trio_ws.client.proxy import Proxy
from trio_ws.client.tls import without_certificate
from trio_ws.config import Limits
from trio_ws.errors import HeaderSource
from trio_ws.headers import Headers, header_pairs, is_token
from trio_ws.http.origin import Origin, page_origin
from trio_ws.http.url import URL, ascii_hostname
from trio_ws.options import check_number, list_of
from trio_ws.version import __version__
from trio_ws.websocket.handshake import parse_subprotocols

if TYPE_CHECKING:
    from trio_ws.protocol.client_handshake import ClientHandshake

__all__ = ["USER_AGENT", "ConnectOptions", "ConnectTarget", "Plan", "handshake_for", "make_plan"]

USER_AGENT = f"trio-ws/{__version__}"
"""The User-Agent header of a client for which none is given."""
# RFC 6265 4.1.1, quotes included
_COOKIE_VALUE = re.compile(r"[\x21-\x2b\x2d-\x3a\x3c-\x5b\x5d-\x7e]*")


@attrs.frozen
class ConnectTarget:
    """The parts of a request that a redirect changes."""

    url: URL
    headers: Sequence[tuple[str, str]]
    subprotocols: Sequence[str]
    ssl_context: ssl.SSLContext | None
    server_hostname: str | None

    def redirected(self, url: URL, trusted: Collection[Origin]) -> ConnectTarget:
        """Return the target of a redirect to `url`.

        Within the origin, and to origins that the user trusts with it, everything that the user gave is sent. To others
        goes only what the library itself makes: any header may be a secret, and tokens are put into subprotocols, too.
        """
        if url.origin == self.url.origin:
            return attrs.evolve(self, url=url)
        if url.origin in trusted:
            headers = [(name, value) for name, value in self.headers if name.lower() != "host"]
            return attrs.evolve(self, url=url, headers=headers, server_hostname=None)
        context = None if self.ssl_context is None else without_certificate(self.ssl_context)
        return ConnectTarget(url, headers=(), subprotocols=(), ssl_context=context, server_hostname=None)


@attrs.frozen
class ConnectOptions:
    """The options of attempts that redirects do not change."""

    extensions: str | None
    user_agent: str | None
    proxy: Proxy | Literal[True] | None
    max_redirects: int
    trusted: Collection[Origin]
    limits: Limits
    stream: trio.abc.Stream | None
    uds: str | os.PathLike[str] | None
    detachable: bool


@attrs.frozen
class Plan:
    """All arguments of a connection; `make_plan` makes one."""

    target: ConnectTarget
    options: ConnectOptions
    open_timeout: float

    def check(self) -> None:
        """Make the first request once, to refuse it before connecting.

        Raises:
            ValueError: a header or subprotocol cannot be sent.
        """
        handshake_for(self.target, self.options)


def handshake_for(target: ConnectTarget, options: ConnectOptions) -> ClientHandshake:
    """Return the opening handshake of one attempt."""
    from trio_ws.protocol.client_handshake import ClientHandshake  # noqa: PLC0415 - wsproto's import takes long

    return ClientHandshake(
        target.url,
        headers=_with_user_agent(target.headers, options.user_agent),
        subprotocols=target.subprotocols,
        extensions=options.extensions,
        limits=options.limits,
    )


def _with_user_agent(headers: Sequence[tuple[str, str]], user_agent: str | None) -> list[tuple[str, str]]:
    """Add a User-Agent header if there is none (RFC 9110 10.1.5)."""
    if user_agent is None or any(name.lower() == "user-agent" for name, _ in headers):
        return list(headers)
    return [("User-Agent", user_agent), *headers]


def make_plan(
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
) -> Plan:
    """Check the arguments for a connection.

    Args:
        url: a ws or wss URL; http and https mean the same. Username and password become an Authorization
            header.
        headers: further headers of the request.
        cookies: names and values for the Cookie header.
        subprotocols: those to offer, the favourite first.
        extensions: the value of Sec-WebSocket-Extensions.
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

    Raises:
        ValueError: an argument makes no sense, or does not go together with another one.
        TypeError: an argument is of another kind.
    """
    if not isinstance(url, str):
        raise TypeError(f"url must be a str, not {type(url).__name__}")
    target = ConnectTarget(
        URL.parse(url),
        _request_headers(headers, cookies, origin, user_agent),
        parse_subprotocols(subprotocols),
        _client_context(ssl_context),
        None if server_hostname is None else _certificate_name(server_hostname),
    )
    options = ConnectOptions(
        extensions,
        user_agent,
        _proxy(proxy),
        max_redirects,
        _trusted(redirect_origins),
        Limits() if limits is None else limits,
        stream,
        uds,
        detachable,
    )
    _check(target, options, open_timeout)
    return Plan(target, options, open_timeout)


def _client_context(context: ssl.SSLContext | None) -> ssl.SSLContext | None:
    if context is None:
        return None
    if not isinstance(context, ssl.SSLContext):
        raise TypeError(f"ssl_context takes a context, such as ssl.create_default_context(), not {context!r}")
    if context.protocol is ssl.PROTOCOL_TLS_SERVER:
        raise ValueError("ssl_context is a server's: give ssl.create_default_context(), without CLIENT_AUTH")
    return context


def _proxy(proxy: str | bool | None) -> Proxy | Literal[True] | None:
    if isinstance(proxy, str):
        return Proxy.parse(proxy)
    if not isinstance(proxy, bool | None):
        raise TypeError(f'proxy takes a URL, such as "http://proxy.example:3128", True or None, not {proxy!r}')
    return proxy or None


def _certificate_name(server_hostname: str) -> str:
    if not isinstance(server_hostname, str):
        raise TypeError(f"server_hostname must be a str, not {server_hostname!r}")
    try:
        return ascii_hostname(server_hostname)
    except ValueError as error:
        raise ValueError(f"server_hostname {server_hostname!r} cannot stand in a certificate: {error}") from None


def _trusted(origins: Iterable[str]) -> frozenset[Origin]:
    listed = list_of("redirect_origins", origins, "origins")
    trusted = frozenset(page_origin(each, "redirect_origins") for each in listed)
    for scheme, host, _ in trusted:
        if scheme not in ("http", "https"):
            raise ValueError(f"redirect_origins: no redirect leads to {scheme}://{host}: write https://{host}")
    return trusted


def _check(target: ConnectTarget, options: ConnectOptions, open_timeout: float) -> None:
    if not open_timeout >= 0:
        raise ValueError(f"open_timeout must be a number of seconds, 0 or more, not {open_timeout!r}")
    check_number("max_redirects", options.max_redirects, 0)
    if not target.url.secure and not (target.ssl_context is None and target.server_hostname is None):
        raise ValueError("ssl_context and server_hostname are for wss, the URL is a ws one")
    if options.stream is not None and not isinstance(options.stream, trio.abc.Stream):
        raise TypeError(f"stream takes a stream of Trio's, such as trio.SocketStream(...), not {options.stream!r}")
    if sum((options.stream is not None, options.uds is not None, options.proxy is not None)) > 1:
        raise ValueError("stream, uds and proxy are three ways to connect: give one of them")


def _request_headers(
    headers: HeaderSource, cookies: Mapping[str, str] | None, origin: str | None, user_agent: str | None
) -> list[tuple[str, str]]:
    pairs = _pairs(headers)
    if origin is not None:
        _add(pairs, "Origin", origin)
    if user_agent not in (None, USER_AGENT) and any(name.lower() == "user-agent" for name, _ in pairs):
        raise ValueError("header 'User-Agent' is given twice: in headers= and as user_agent=")
    if cookies is not None and not isinstance(cookies, Mapping):
        raise TypeError(f"cookies takes a mapping of names and values, not {type(cookies).__name__}")
    if cookies:
        _add(pairs, "Cookie", "; ".join(_cookie(name, value) for name, value in cookies.items()))
    return pairs


def _pairs(headers: HeaderSource) -> list[tuple[str, str]]:
    pairs: list[object] | None = None
    if isinstance(headers, Mapping):
        pairs = list(headers.pairs if isinstance(headers, Headers) else headers.items())
    elif isinstance(headers, Iterable) and not isinstance(headers, (str, bytes)):
        pairs = list(headers)
    if pairs is None or not all(map(_is_pair, pairs)):
        raise TypeError(f"headers takes a mapping, or pairs of names and values, not {headers!r}")
    return header_pairs(cast("list[tuple[str, str]]", pairs))


def _is_pair(pair: object) -> bool:
    if not isinstance(pair, (tuple, list)) or len(pair) != 2:
        return False
    return isinstance(pair[0], str) or all(isinstance(part, bytes) for part in pair)


def _add(pairs: list[tuple[str, str]], name: str, value: str) -> None:
    # RFC 6265 5.4 and RFC 6454 7.3: each of them occurs once.
    if any(given.lower() == name.lower() for given, _ in pairs):
        raise ValueError(f"header {name!r} is given twice: in headers= and as an argument of its own")
    pairs.append((name, value))


def _cookie(name: str, value: str) -> str:
    if not isinstance(name, str) or not is_token(name):
        raise ValueError(f"{name!r} is not the name of a cookie: it must be a token (RFC 6265 4.1.1)")
    if not isinstance(value, str) or not _COOKIE_VALUE.fullmatch(value):
        raise ValueError(
            f"cookie {name!r} cannot be sent: encode spaces, commas, semicolons, backslashes and characters "
            "outside ASCII in its value (RFC 6265 4.1.1)"
        )
    return f"{name}={value}"
