"""WebSocket URLs, and the parameters of their queries.

Nothing here resolves names or refers to routes.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from ipaddress import AddressValueError, IPv6Address
from urllib.parse import parse_qsl, quote, unquote, urldefrag, urlencode, urljoin

import attrs
import idna

__all__ = ["URL", "QueryParameters", "ascii_host", "ascii_hostname", "split_host"]

# http and https are what users copy from a browser; for the handshake they mean the same (RFC 6455 3).
_SCHEMES = {"ws": "ws", "wss": "wss", "http": "ws", "https": "wss"}
_DEFAULT_PORTS = {"ws": 80, "wss": 443}
_MAX_HOST = 255  # RFC 1035 2.3.4; it also bounds the work of encoding it
_MAX_LABEL = 63  # RFC 1035 2.3.4
_FORBIDDEN = re.compile(r"[\x00-\x20\x7f-\x9f\s\ud800-\udfff]")
_URL = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://([^/?#]*)([^?#]*)(?:\?([^#]*))?(#.*)?")
_HOST = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+)(?::([0-9]*))?")
# RFC 3986 3.3 and 3.4: characters that need no encoding in a path and in a query. "%" is in it: it is encoded already.
_SAFE = "/?:@!$&'()*+,;=~-._%"


def split_host(text: str) -> tuple[str, int | None]:
    """Split `host` or `host:port`, as in the Host header.

    Returns:
        The host in lower case, an IPv6 address shortened and in brackets; the port, None if there is none.

    Raises:
        ValueError: it is not of that form (a name here has letters, digits, and `-._`), or the port is not
            from 1 to 65535. The message does not repeat the text.
    """
    match = _HOST.fullmatch(text) if len(text) <= _MAX_HOST + 6 else None
    if match is None:
        raise ValueError("host must be a name or an address, with an optional port")
    host, digits = match.groups()
    if host.startswith("["):
        try:
            host = f"[{IPv6Address(host[1:-1]).compressed}]"
        except AddressValueError:
            raise ValueError("host has no IPv6 address in its brackets") from None
    return host.lower(), _port(digits) if digits else None


def _port(digits: str) -> int:
    # Digits are counted first: int() is for numbers, not for attacks.
    if len(digits) > 5 or not 1 <= int(digits) <= 65535:
        raise ValueError("port must be from 1 to 65535")
    return int(digits)


@attrs.frozen(repr=False)
class URL:
    """An immutable ws or wss URL (RFC 6455 3).

    `URL.parse` and `URL.of_request` make one.

    `str(url)` leaves username and password out, so that they do not get into logs. A URL without them equals its text.
    """

    scheme: str
    """`ws` or `wss`."""
    host: str
    """Name or address in lower case and ASCII, an IPv6 address in brackets."""
    port: int
    """The port, also if it is the default one."""
    raw_path: str
    """The path as it travels: ASCII, percent-encoded, beginning with `/`."""
    query: str = ""
    """The query as it travels, without the `?`."""
    username: str | None = None
    """Decoded, None if the URL holds none."""
    password: str | None = None
    """Decoded, None if the URL holds none."""

    @classmethod
    def parse(cls, text: str) -> URL:
        """Parse the URL that a client is to connect to.

        A host outside ASCII is encoded by UTS 46, as browsers do, a path or query outside ASCII is percent-encoded as
        UTF-8; http and https are taken as ws and wss.

        Raises:
            ValueError: it is not such a URL; the message has the reason.
        """
        if _FORBIDDEN.search(text):
            raise ValueError("a URL cannot contain spaces or control characters: percent-encode them")
        match = _URL.fullmatch(text)
        if match is None:
            raise ValueError("a WebSocket URL begins with ws:// or wss://, and looks like ws://host:port/path?query")
        scheme, authority, path, query, fragment = match.groups()
        if scheme.lower() not in _SCHEMES:
            raise ValueError(f"the scheme of a WebSocket URL is ws or wss, not {scheme!r}")
        if fragment is not None:
            raise ValueError("a WebSocket URL has no fragment: write # as %23 (RFC 6455 3)")
        userinfo, _, host_port = authority.rpartition("@")
        username, password = _credentials(userinfo)
        host, port = split_host(ascii_host(host_port))
        scheme = _SCHEMES[scheme.lower()]
        return cls(
            scheme=scheme,
            host=host,
            port=port or _DEFAULT_PORTS[scheme],
            raw_path=quote(path, _SAFE) or "/",
            query=quote(query or "", _SAFE),
            username=username,
            password=password,
        )

    @classmethod
    def of_request(cls, host: str, target: str, *, secure: bool) -> URL:
        """Return the URL of a request that a server received.

        Args:
            host: the Host header.
            target: the request target, in origin form: `/path?query`.
            secure: whether it came over TLS.

        Raises:
            ValueError: the host is malformed.
        """
        name, port = split_host(host)
        scheme = "wss" if secure else "ws"
        path, _, query = target.partition("?")
        return cls(scheme=scheme, host=name, port=port or _DEFAULT_PORTS[scheme], raw_path=path, query=query)

    def join(self, reference: str) -> URL:
        """Return the URL of a redirect's Location header.

        A fragment is dropped (RFC 9110 10.2.2). Username and password are kept for their own origin only.

        Raises:
            ValueError: the result is not a WebSocket URL.
        """
        if _FORBIDDEN.search(reference):
            raise ValueError("a URL cannot contain spaces or control characters: percent-encode them")
        joined = URL.parse(urldefrag(urljoin(str(self), reference)).url)
        if joined.origin == self.origin and joined.username is None:
            return attrs.evolve(joined, username=self.username, password=self.password)
        return joined

    @property
    def secure(self) -> bool:
        """Whether this is a wss URL."""
        return self.scheme == "wss"

    @property
    def hostname(self) -> str:
        """The host to connect to, without the brackets of an IPv6 address."""
        return self.host.strip("[]")

    @property
    def netloc(self) -> str:
        """The value of a Host header: host, and port if not default."""
        return self.host if self.port == _DEFAULT_PORTS[self.scheme] else f"{self.host}:{self.port}"

    @property
    def path(self) -> str:
        """The path decoded, with U+FFFD in place of invalid UTF-8."""
        return unquote(self.raw_path)

    @property
    def target(self) -> str:
        """Path and query, as in the request line."""
        return f"{self.raw_path}?{self.query}" if self.query else self.raw_path

    @property
    def origin(self) -> tuple[str, str, int]:
        """The origin (RFC 6454): `http` or `https`, host, port."""
        return ("https" if self.secure else "http", self.host, self.port)

    def __eq__(self, other: object) -> bool:
        if isinstance(other, URL):
            return attrs.astuple(self) == attrs.astuple(other)
        if isinstance(other, str):
            return self.username is None and self.password is None and str(self) == other
        return NotImplemented

    def __hash__(self) -> int:
        return hash(str(self))

    def __str__(self) -> str:
        return f"{self.scheme}://{self.netloc}{self.target}"

    def __repr__(self) -> str:
        return f"URL({str(self)!r})"


def _credentials(userinfo: str) -> tuple[str | None, str | None]:
    if not userinfo:
        return None, None
    username, _, password = userinfo.partition(":")
    return unquote(username), unquote(password)


def ascii_host(host_port: str) -> str:
    """Return `host` or `host:port` with the host in ASCII.

    An address in brackets is left as it is.

    A percent-encoded host is decoded (RFC 3986 3.2.2). A name outside ASCII is encoded as browsers do (UTS 46,
    nontransitional), so that it leads to the host that they go to.

    Raises:
        ValueError: there is no host, or it is not a domain name.
    """
    if host_port.startswith("["):
        return host_port
    encoded, colon, port = host_port.partition(":")
    if not encoded:
        raise ValueError("there is no host")
    if len(encoded) > 3 * _MAX_HOST:
        raise ValueError(f"a host has at most {_MAX_HOST} characters")
    try:
        return _ascii_name(unquote(encoded, errors="strict")) + colon + port
    except UnicodeError as error:
        raise ValueError(f"the host is not a domain name: {error}") from None


def ascii_hostname(name: str) -> str:
    """Return a name in lower case and ASCII.

    An IPv6 address, without brackets, is unchanged.

    Raises:
        ValueError: it is neither.
    """
    if ":" not in name:
        return split_host(ascii_host(name))[0]
    try:
        IPv6Address(name)
    except AddressValueError:
        raise ValueError("it is neither a name, without a port, nor an IPv6 address, without brackets") from None
    return name


def _ascii_name(name: str) -> str:
    if len(name) > _MAX_HOST:
        raise ValueError(f"a host has at most {_MAX_HOST} characters")
    if ":" in name:
        raise ValueError("the host is not a domain name: it has a colon in it")
    if not name.isascii():
        return idna.encode(name, uts46=True).decode("ascii")
    # Letters, digits and more, such as the underscores of local names: ASCII is resolved unchanged.
    if not all(0 < len(label) <= _MAX_LABEL for label in name.removesuffix(".").split(".")):
        raise ValueError(f"the host is not a domain name: a label has 1 to {_MAX_LABEL} characters")
    return name


class QueryParameters(Mapping[str, str]):
    """The immutable parameters of a query, mapped to their last values.

    `get_list` gives all values of a name, `pairs` everything. Reading never fails: invalid UTF-8 becomes U+FFFD.

    Args:
        source: the query as it travels (`a=1&b=2`), a mapping, or pairs.
    """

    __slots__ = ("_values", "pairs")

    _values: Mapping[str, list[str]]
    pairs: tuple[tuple[str, str], ...]
    """Every parameter as a pair of name and value, in order, those without a value too."""

    def __init__(self, source: str | Mapping[str, str] | Iterable[tuple[str, str]] = "") -> None:
        if isinstance(source, str):
            source = parse_qsl(source, keep_blank_values=True)
        elif isinstance(source, QueryParameters):
            source = source.pairs
        elif isinstance(source, Mapping):
            source = source.items()
        pairs = tuple(source)
        values: dict[str, list[str]] = {}
        for name, value in pairs:
            values.setdefault(name, []).append(value)
        object.__setattr__(self, "pairs", pairs)
        object.__setattr__(self, "_values", values)

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"QueryParameters are immutable: cannot set {name!r}")

    def __getitem__(self, name: str) -> str:
        return self._values[name][-1]

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def get_list(self, name: str) -> list[str]:
        """Return every value of `name`, in order."""
        return list(self._values.get(name, ()))

    getlist = get_list

    def __eq__(self, other: object) -> bool:
        if isinstance(other, QueryParameters):
            return self.pairs == other.pairs
        return super().__eq__(other)

    def __hash__(self) -> int:
        return hash(self.pairs)

    def __str__(self) -> str:
        return urlencode(self.pairs)

    def __repr__(self) -> str:
        return f"QueryParameters({list(self.pairs)!r})"
