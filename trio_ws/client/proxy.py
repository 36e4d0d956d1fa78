"""Connections through HTTP and SOCKS proxies.

HTTP CONNECT is spoken with h11, SOCKS by python-socks (an extra).

A proxy gets the target's host and port and its own credentials, nothing else: no header or cookie of the
handshake.
"""

from __future__ import annotations

import base64
import math
import re
from ipaddress import IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import TYPE_CHECKING, Literal, TypeAlias, cast, get_args
from urllib.parse import unquote, urlsplit

import attrs
import trio

from trio_ws.client.streams import ConnectProgress, closed_on_error, open_tcp
from trio_ws.client.tls import default_context, start_tls
from trio_ws.config import Limits
from trio_ws.errors import ConnectError, ConnectionRejected
from trio_ws.headers import Headers
from trio_ws.http.head import excerpt
from trio_ws.http.url import URL, ascii_hostname

if TYPE_CHECKING:
    import h11
    from python_socks.async_.trio.v2 import Proxy as SocksClient

__all__ = ["Proxy", "connect_through", "environment_proxy"]

Scheme: TypeAlias = Literal["http", "https", "socks4", "socks4a", "socks5", "socks5h"]

_DEFAULT_PORTS = {"http": 80, "https": 443}
_SOCKS_PORT = 1080  # IANA
_MAX_SOCKS_CREDENTIAL = 255  # bytes: RFC 1929 2 has one byte for the length
_READ_SIZE = 4096
# An entry of NO_PROXY: perhaps "*." or ".", a name or an address in brackets, perhaps a port.
_EXCEPTION = re.compile(r"(\*)?\.?(\[[0-9a-f:.]+\]|[^:/]+)(?::([0-9]{1,5}))?")


@attrs.frozen
class Proxy:
    """A proxy's address and protocol.

    `Proxy.parse` makes one.
    """

    scheme: Scheme
    """`socks4` and `socks5` resolve the target's name here, `socks4a` and `socks5h` let the proxy do it."""
    host: str
    """A name, or an address without brackets."""
    port: int
    """Its TCP port."""
    username: str = attrs.field(default="", repr=False)
    """Decoded, `""` for none."""
    password: str = attrs.field(default="", repr=False)
    """Decoded, `""` for none."""

    @classmethod
    def parse(cls, text: str) -> Proxy:
        """Parse a proxy's URL: `scheme://username:password@host:port`.

        Without a port it is 80 for http, 443 for https, 1080 for SOCKS.

        Raises:
            ValueError: it is not such a URL, or the credentials cannot be sent. They are not in the message.
        """
        try:
            parts = urlsplit(text)
            port = parts.port
        except ValueError:
            raise ValueError("a proxy's URL needs a valid host, and a port from 0 to 65535") from None
        if parts.scheme not in get_args(Scheme):
            raise ValueError(f"a proxy's URL begins with {'://, '.join(get_args(Scheme))}://")
        if not parts.hostname:
            raise ValueError("a proxy's URL needs a host, as in http://proxy.example:3128")
        if parts.path not in ("", "/") or parts.query or parts.fragment:
            raise ValueError("a proxy's URL ends after host and port")
        username, password = unquote(parts.username or ""), unquote(parts.password or "")
        _check_credentials(parts.scheme, username, password)
        return cls(
            cast("Scheme", parts.scheme),
            ascii_hostname(parts.hostname),
            port or _DEFAULT_PORTS.get(parts.scheme, _SOCKS_PORT),
            username,
            password,
        )


def _check_credentials(scheme: str, username: str, password: str) -> None:
    if not scheme.startswith("socks"):
        if ":" in username:
            raise ValueError("a username for an HTTP proxy cannot contain a colon (RFC 7617 2)")
    elif not (username + password).isascii() or max(len(username), len(password)) > _MAX_SOCKS_CREDENTIAL:
        raise ValueError("username and password for a SOCKS proxy are at most 255 ASCII characters each")


def environment_proxy(url: URL) -> Proxy | None:
    """Return the environment's proxy for `url`, None to connect directly.

    On some systems their settings count, too.

    The order is the one of RFC 6455 4.1: SOCKS first, then the proxy for https, for ws then the one for http;
    `WS_PROXY` or `WSS_PROXY` come before all, `ALL_PROXY` after. `NO_PROXY` names hosts to reach directly: names,
    domains, addresses, networks (`10.0.0.0/8`), or `*`.

    Raises:
        ValueError: the proxy's address makes no sense; the message names the variable.
    """
    from urllib.request import getproxies, proxy_bypass  # noqa: PLC0415 - its import takes long

    known = getproxies()
    host = url.hostname.removesuffix(".")
    if proxy_bypass(f"{host}:{url.port}") or _is_exempt(host, url.port, known.get("no", "")):
        return None
    for kind in (url.scheme, "socks", "https", *(() if url.secure else ("http",)), "all"):
        if kind in known:
            try:
                return Proxy.parse(_with_scheme(kind, known[kind]))
            except ValueError as error:
                raise ValueError(f"{kind.upper()}_PROXY: {error}") from None
    return None


def _is_exempt(host: str, port: int, exceptions: str) -> bool:
    """Return whether NO_PROXY has the host in an unusual form.

    `proxy_bypass` reads the usual forms. These are networks, addresses in another spelling, names outside ASCII or with
    a final dot, and `*.domain`.
    """
    return any(_exempts(entry, host, port) for entry in re.split(r"[,\s]+", exceptions.lower()))


def _exempts(entry: str, host: str, port: int) -> bool:
    if entry == "*":
        return True
    network = _network(entry)
    match = None if network is not None else _EXCEPTION.fullmatch(entry)
    if match is not None:
        star, name, digits = match.groups()
        if digits and int(digits) != port:
            return False
        network = _network(name)
        if network is None:
            return _is_below(host, name, itself=not star)
    return network is not None and _is_in(host, network)


def _is_below(host: str, name: str, *, itself: bool) -> bool:
    """Return whether a host is below a name, or the name itself."""
    try:
        name = ascii_hostname(name).removesuffix(".")
    except ValueError:
        return False
    return host.endswith(f".{name}") or (itself and host == name)


def _is_in(host: str, network: IPv4Network | IPv6Network) -> bool:
    try:
        address = ip_address(host)
    except ValueError:
        return False
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return address in network or (mapped is not None and mapped in network)


def _network(entry: str) -> IPv4Network | IPv6Network | None:
    address, bracket, behind = entry.removeprefix("[").partition("]")
    if bracket and behind and not behind.startswith("/"):  # a port
        return None
    try:
        return ip_network(address + behind, strict=False)
    except ValueError:
        return None


def _with_scheme(kind: str, value: str) -> str:
    """Complete a proxy of the environment to a URL.

    `host:port` alone is an HTTP proxy, a "socks" entry a SOCKS one.
    """
    scheme, separator, address = value.partition("://")
    if kind == "socks" and not scheme.startswith(("socks4", "socks5")):
        # Windows' settings are given as socks://, those of macOS as http://.
        return f"socks5h://{address if separator else value}"
    return value if separator else f"http://{value}"


async def connect_through(proxy: Proxy, url: URL, progress: ConnectProgress, limits: Limits) -> trio.abc.Stream:
    """Connect to the host of `url` through `proxy`.

    Args:
        proxy: the proxy.
        url: only its host and port are used.
        progress: its phase is set to "proxy".
        limits: `max_head_size` bounds an HTTP proxy's answer.

    Raises:
        ConnectError: "proxy", whatever went wrong; caused by a `ConnectionRejected` if an HTTP proxy refused.
        ImportError: a SOCKS proxy without python-socks.
    """
    progress.phase = "proxy"
    if proxy.scheme.startswith("socks"):
        return await _through_socks(proxy, url)
    below = ConnectProgress()  # Seen from outside all of it is one phase: "proxy".
    try:
        stream: trio.abc.Stream = await open_tcp(proxy.host, proxy.port, below)
        async with closed_on_error(stream):
            if proxy.scheme == "https":
                stream = await start_tls(stream, default_context(), proxy.host, below)
            await _request_tunnel(stream, proxy, url, limits)
    except ConnectError as error:
        if error.phase == "proxy":
            raise
        raise ConnectError("proxy", f"cannot connect to the proxy: {error}") from error.__cause__
    return stream


async def _request_tunnel(stream: trio.abc.Stream, proxy: Proxy, url: URL, limits: Limits) -> None:
    """Send CONNECT and read the head of the answer (RFC 9110 9.3.6)."""
    import h11  # noqa: PLC0415 - its import takes long

    target = f"{url.host}:{url.port}"
    headers = [("Host", target)]
    if proxy.username or proxy.password:
        token = base64.b64encode(f"{proxy.username}:{proxy.password}".encode()).decode("ascii")
        headers.append(("Proxy-Authorization", f"Basic {token}"))  # RFC 7617
    http = h11.Connection(h11.CLIENT, max_incomplete_event_size=limits.max_head_size)
    request = http.send(h11.Request(method="CONNECT", target=target, headers=headers))
    http.send(h11.EndOfMessage())
    try:
        await stream.send_all(request)
        response = await _read_response(stream, http)
    except trio.BrokenResourceError as error:
        raise ConnectError("proxy", "the proxy dropped the connection") from error
    except h11.RemoteProtocolError as error:
        raise ConnectError("proxy", f"the proxy's answer is not HTTP: {excerpt(str(error))}") from error
    status = response.status_code
    if not 200 <= status <= 299:
        raise ConnectError("proxy", f"the proxy answered with HTTP status {status}") from ConnectionRejected(
            status, Headers(response.headers)
        )
    if http.trailing_data[0]:
        # The client speaks first, in TLS and in HTTP: these bytes answer nothing.
        raise ConnectError("proxy", "the proxy sent data before the connection was used")


async def _read_response(stream: trio.abc.Stream, http: h11.Connection) -> h11.Response:
    import h11  # noqa: PLC0415

    while not isinstance(event := http.next_event(), h11.Response):
        if event is h11.NEED_DATA:
            http.receive_data(bytes(await stream.receive_some(_READ_SIZE)))
    return event


async def _through_socks(proxy: Proxy, url: URL) -> trio.abc.Stream:
    client = _socks_client(proxy)
    try:
        # It must not time out by itself: one deadline, the caller's, is over everything.
        tunnel = await client.connect(url.hostname, url.port, timeout=math.inf)
    except Exception as error:
        # Any exception: python-socks lets some of its parser's own (IndexError, UnicodeError, ...) through.
        raise ConnectError("proxy", f"the SOCKS proxy did not connect: {error}") from error
    return tunnel.trio_stream


def _socks_client(proxy: Proxy) -> SocksClient:
    try:
        from python_socks import ProxyType  # noqa: PLC0415 - an extra
        from python_socks.async_.trio.v2 import Proxy as SocksClient  # noqa: PLC0415
    except ImportError as error:
        raise ImportError("SOCKS proxies need python-socks: pip install 'trio-ws[proxy]'") from error
    return SocksClient(
        ProxyType.SOCKS5 if proxy.scheme.startswith("socks5") else ProxyType.SOCKS4,
        proxy.host,
        proxy.port,
        proxy.username or None,
        proxy.password or None,
        rdns=proxy.scheme in ("socks4a", "socks5h"),
    )
