"""HTTP headers: `Headers` as we received them, `validate_headers` for what we send, and cookies.

What a particular header means is not known here; `protocol.request` and `protocol.handshake` read them.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping

from trio_ws.errors import HeaderSource

__all__ = ["Headers", "is_token", "parse_cookies", "validate_headers"]

# RFC 9110 5.6.2: token = 1*tchar
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
# RFC 9110 5.5: visible characters, spaces, tabs, and obs-text, which latin-1 gives to every byte over 0x7f.
_VALUE = re.compile(r"[\t\x20-\x7e\x80-\xff]*")

# The names that requests for an upgrade hold: one string for all connections instead of one for each.
_COMMON = {
    name: name
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
}


def is_token(text: str) -> bool:
    """Say whether `text` is a token (RFC 9110 5.6.2), as names of headers and of subprotocols must be."""
    return _TOKEN.fullmatch(text) is not None


class Headers(Mapping[str, str]):
    """Immutable headers, looked up without regard to case, in their order, repeated names kept.

    As a mapping it holds each name once, in lower case, with its first value; `get_list` gives all values of
    a name and `pairs` everything.

    Args:
        source: a mapping, or pairs of names and values, as str or as bytes (which are decoded as latin-1).
    """

    # One flat tuple (name, value, name, value, ...): an idle connection keeps its headers, so they are small.
    # There is no index, for the same reason: heads have some ten headers and at most `max_headers`.
    __slots__ = ("_flat",)

    def __init__(
        self,
        source: Mapping[str, str] | Mapping[bytes, bytes] | Iterable[tuple[str, str] | tuple[bytes, bytes]] = (),
    ) -> None:
        flat: list[str] = []
        for name, value in _pairs(source):
            text = (name if isinstance(name, str) else name.decode("latin-1")).lower()
            flat.append(_COMMON.get(text, text))
            flat.append(value if isinstance(value, str) else value.decode("latin-1"))
        self._flat = tuple(flat)

    def __getitem__(self, name: str) -> str:
        lowered = name.lower()
        for key, value in self._each():
            if key == lowered:
                return value
        raise KeyError(name)

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and name.lower() in self._flat[::2]

    def __iter__(self) -> Iterator[str]:
        return iter(dict.fromkeys(self._flat[::2]))

    def __len__(self) -> int:
        return len(set(self._flat[::2]))

    def get_list(self, name: str) -> list[str]:
        """Return every value of `name` in order, an empty list if there is none."""
        lowered = name.lower()
        return [value for key, value in self._each() if key == lowered]

    @property
    def pairs(self) -> tuple[tuple[str, str], ...]:
        """Every header as a pair of lower-case name and value, in order."""
        return tuple(self._each())

    @property
    def raw(self) -> tuple[tuple[bytes, bytes], ...]:
        """The pairs as bytes, as ASGI wants them.

        Raises:
            UnicodeEncodeError: a value that was given as str is not latin-1; headers from a peer always are.
        """
        return tuple((name.encode("latin-1"), value.encode("latin-1")) for name, value in self._each())

    def _each(self) -> Iterator[tuple[str, str]]:
        return zip(self._flat[::2], self._flat[1::2], strict=True)

    def __eq__(self, other: object) -> bool:
        if isinstance(other, Headers):
            return self._flat == other._flat
        return super().__eq__(other)

    def __hash__(self) -> int:
        return hash(self._flat)

    def __repr__(self) -> str:
        return f"Headers({list(self._each())!r})"


def _pairs(source: object) -> Iterable[tuple[str | bytes, str | bytes]]:
    if isinstance(source, Headers):
        return source.pairs
    return source.items() if isinstance(source, Mapping) else source  # type: ignore[return-value]


def validate_headers(source: HeaderSource) -> list[tuple[bytes, bytes]]:
    """Return headers that we are to send as bytes, in order, their values without surrounding spaces.

    Args:
        source: a mapping, or pairs; `Headers` keep their repeated names.

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
    """Read Cookie headers (RFC 6265 4.2). It never fails: what is no cookie is left out.

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
