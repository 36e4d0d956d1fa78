"""HTTP headers, received and sent, and cookies.

Particular headers are interpreted in `http` and `protocol`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Self, TypeAlias, TypeVar, overload

__all__ = ["HeaderSource", "Headers", "header_pairs", "is_token", "parse_cookies", "validate_headers"]

HeaderSource: TypeAlias = Mapping[str, str] | Mapping[bytes, bytes] | Iterable[tuple[str, str] | tuple[bytes, bytes]]
"""What every `headers=` argument takes: a mapping, or pairs where a name occurs more than once; text, or bytes as ASGI
has them."""

# RFC 9110 5.6.2: token = 1*tchar
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
# RFC 9110 5.5: visible characters, spaces, tabs, and obs-text, which latin-1 gives to every byte over 0x7f.
_VALUE = re.compile(r"[\t\x20-\x7e\x80-\xff]*")

_T = TypeVar("_T")

_SEPARATOR = "\n"

# The names that requests for an upgrade hold, as they are mostly written: one string for all connections instead of one
# for each, and no need to make it.
_COMMON = {
    spelling: name
    for name in (
        "accept",
        "accept-encoding",
        "accept-language",
        "authorization",
        "cache-control",
        "connection",
        "cookie",
        "host",
        "origin",
        "pragma",
        "sec-websocket-extensions",
        "sec-websocket-key",
        "sec-websocket-protocol",
        "sec-websocket-version",
        "upgrade",
        "user-agent",
        "x-forwarded-for",
        "x-forwarded-proto",
    )
    for spelling in (name, name.title(), name.title().replace("Websocket", "WebSocket"))
}


def is_token(text: str) -> bool:
    """Return whether `text` is a token (RFC 9110 5.6.2).

    Names of headers and of subprotocols must be.
    """
    return _TOKEN.fullmatch(text) is not None


class Headers(Mapping[str, str]):
    """Immutable headers, case-insensitive, in their order, with repeated names.

    As a mapping it holds each name once, in lower case, with its first value; `get_list` gives all values of
    a name and `pairs` everything.

    Args:
        source: a mapping, or pairs of names and values, as str or as bytes (which are decoded as latin-1).
    """

    # One flat tuple (name, value, name, value, ...), or, of a request that was accepted, one string with all of it: an
    # idle connection keeps its headers, and hardly ever looks at them again. There is no index, for the same reason:
    # heads have some ten headers and at most `max_headers`.
    __slots__ = ("_kept",)

    _kept: tuple[str, ...] | str

    def __init__(
        self,
        source: Mapping[str, str] | Mapping[bytes, bytes] | Iterable[tuple[str, str] | tuple[bytes, bytes]] = (),
    ) -> None:
        flat: list[str] = []
        for name, value in _pairs(source):
            text = name if isinstance(name, str) else name.decode("latin-1")
            flat.append(_COMMON.get(text) or text.lower())
            flat.append(value if isinstance(value, str) else value.decode("latin-1"))
        self._kept = tuple(flat)

    @classmethod
    def of_text(cls, pairs: list[tuple[str, str]]) -> Self:
        """Return headers made from pairs of text, in half the time."""
        headers = cls.__new__(cls)
        common = _COMMON.get
        headers._kept = (*[part for name, value in pairs for part in (common(name) or name.lower(), value)],)
        return headers

    @property
    def _flat(self) -> tuple[str, ...]:
        kept = self._kept
        return tuple(kept.split(_SEPARATOR)) if isinstance(kept, str) else kept

    def pack(self) -> None:
        """Reduce the memory of the headers; later look-ups take longer."""
        if isinstance(self._kept, tuple) and self._kept:
            packed = _SEPARATOR.join(self._kept)
            if packed.count(_SEPARATOR) == len(self._kept) - 1:  # received headers have none in them
                self._kept = packed

    def __getitem__(self, name: str) -> str:
        flat = self._flat
        names = flat[::2]
        lowered = name.lower()
        if lowered not in names:
            raise KeyError(name)
        return flat[2 * names.index(lowered) + 1]

    @overload
    def get(self, name: str, /) -> str | None: ...
    @overload
    def get(self, name: str, default: str, /) -> str: ...
    @overload
    def get(self, name: str, default: _T, /) -> str | _T: ...
    def get(self, name: str, default: object = None, /) -> object:
        """Return the first value of `name`, or `default`."""
        flat = self._flat
        names = flat[::2]
        lowered = name.lower()
        return flat[2 * names.index(lowered) + 1] if lowered in names else default

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and name.lower() in self._flat[::2]

    def __iter__(self) -> Iterator[str]:
        return iter(dict.fromkeys(self._flat[::2]))

    def __len__(self) -> int:
        return len(set(self._flat[::2]))

    def get_list(self, name: str) -> list[str]:
        """Return every value of `name`, in order."""
        flat = self._flat
        lowered = name.lower()
        if lowered not in flat:
            return []
        return [value for key, value in zip(flat[::2], flat[1::2], strict=True) if key == lowered]

    getlist = get_list

    def once(self) -> dict[str, str] | None:
        """Return all headers as a dictionary, None if a name is repeated."""
        flat = self._flat
        fields = dict(zip(flat[::2], flat[1::2], strict=True))
        return fields if 2 * len(fields) == len(flat) else None

    def count(self, name: str) -> int:
        """Return the number of values of `name`, given in lower case."""
        return self._flat[::2].count(name)

    @property
    def pairs(self) -> tuple[tuple[str, str], ...]:
        """Every header as a pair of lower-case name and value, in order."""
        return (*self._each(),)  # not tuple(): of an iterator Python makes one of ten, and keeps thousands in stock

    @property
    def raw(self) -> tuple[tuple[bytes, bytes], ...]:
        """The pairs as bytes, as ASGI wants them.

        Raises:
            UnicodeEncodeError: a value that was given as str is not latin-1; headers from a peer always are.
        """
        return tuple((name.encode("latin-1"), value.encode("latin-1")) for name, value in self._each())

    def _each(self) -> Iterator[tuple[str, str]]:
        flat = self._flat
        return zip(flat[::2], flat[1::2], strict=True)

    def __eq__(self, other: object) -> bool:
        if isinstance(other, Headers):
            return self._flat == other._flat
        return super().__eq__(other)

    def __hash__(self) -> int:
        return hash(self._flat)

    def __repr__(self) -> str:
        return f"Headers({list(self._each())!r})"


def _pairs(source: object) -> Iterable[tuple[str | bytes, str | bytes]]:
    if isinstance(source, (list, tuple)):
        return source
    if isinstance(source, Headers):
        return source.pairs
    return source.items() if isinstance(source, Mapping) else source  # type: ignore[return-value]


def header_pairs(source: HeaderSource) -> list[tuple[str, str]]:
    """Return headers as pairs of text, in order.

    Pairs of bytes, as ASGI has them, are decoded as latin-1.
    """
    return [_text_pair(*pair) for pair in _pairs(source)]


def _text_pair(name: str | bytes, value: str | bytes) -> tuple[str, str]:
    if isinstance(name, bytes) and isinstance(value, bytes):
        return name.decode("latin-1"), value.decode("latin-1")
    return name, value  # type: ignore[return-value]  # other types are refused by `validate_headers`


def validate_headers(source: HeaderSource) -> list[tuple[bytes, bytes]]:
    """Validate headers to send and return them as bytes.

    They are in order, without spaces around their values.

    Args:
        source: a mapping, or pairs, of text; `Headers` keep their repeated names.

    Raises:
        ValueError: a name is not a token, or a value has CR, LF, NUL or another control character in it or is
            not latin-1 (RFC 9110 5.1 and 5.5). The message names the header.
    """
    checked = []
    for name, value in _pairs(source):
        if not isinstance(name, str) or not is_token(name):
            raise ValueError(f"{name!r} is not the name of a header: it must be a token (RFC 9110 5.1)")
        if not isinstance(value, str) or not _VALUE.fullmatch(value):
            raise ValueError(
                f"header {name!r} cannot be sent: its value must be latin-1 text without control characters"
            )
        checked.append((name.encode("ascii"), value.strip(" \t").encode("latin-1")))
    return checked


def parse_cookies(values: Iterable[str]) -> dict[str, str]:
    """Parse Cookie headers (RFC 6265 4.2).

    It never fails: malformed cookies are left out.

    Args:
        values: the values of all Cookie headers, as `Headers.get_list("cookie")` gives them.

    Returns:
        The cookies; of one name that occurs twice the first, which has the more specific path (RFC 6265 5.4).
    """
    cookies: dict[str, str] = {}
    for value in values:
        for piece in value.split(";"):
            name, separator, content = piece.partition("=")
            name, content = name.strip(), content.strip()
            if separator and name:
                cookies.setdefault(name, _unquoted(content))
    return cookies


def _unquoted(content: str) -> str:
    if len(content) >= 2 and content[0] == content[-1] == '"':
        return content[1:-1]
    return content
