"""The grammar of Sec-WebSocket-Extensions (RFC 6455 9.1), and the negotiation of permessage-deflate (RFC 7692).

The negotiated settings make the `Inflater` and `Deflater` of `deflate`.
"""

from __future__ import annotations

import re
from typing import TypeAlias

import attrs

from trio_ws.config import Compression
from trio_ws.errors import RemoteProtocolError
from trio_ws.protocol.deflate import Deflater, Inflater

__all__ = [
    "DeflateSettings",
    "ExtensionSyntaxError",
    "accept_offer",
    "check_response",
    "make_offer",
    "parse_extensions",
]

_Parameters: TypeAlias = list[tuple[str, str | None]]

_NAME = "permessage-deflate"
_FULL_WINDOW = 15
"""In bits: what RFC 7692 7.1.2 means where no window is named."""
_WINDOWS = {str(bits): bits for bits in range(8, 16)}
"""RFC 7692 7.1.2: a decimal integer from 8 to 15, without leading zeros."""

# RFC 2616 2.2: RFC 6455 borrows its grammar, where white space may stand between any two words (2.1, LWS).
_TOKEN = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
_SPACE = r"[ \t]*"
_IS_TOKEN = re.compile(_TOKEN)
_ELEMENT = re.compile(rf"{_SPACE}({_TOKEN})?{_SPACE}")
_PARAMETER = re.compile(rf""";{_SPACE}({_TOKEN}){_SPACE}(?:={_SPACE}(?:({_TOKEN})|"((?:[^"\\]|\\.)*)"){_SPACE})?""")
_QUOTED_PAIR = re.compile(r"\\(.)")


class ExtensionSyntaxError(ValueError):
    """The header does not follow the grammar of RFC 6455 9.1."""


def parse_extensions(value: str) -> list[tuple[str, _Parameters]]:
    """Parse the value of Sec-WebSocket-Extensions; several such headers are to be joined by a comma.

    Empty elements are skipped, as lists in HTTP are read (RFC 2616 2.1), so the list may be empty.

    Returns:
        The extensions in their order: each its name and its parameters, which are a name and a value or None.

    Raises:
        ExtensionSyntaxError: anything that the grammar does not allow (RFC 6455 9.1).
    """
    extensions: list[tuple[str, _Parameters]] = []
    position = -1
    while position < len(value):
        element = _ELEMENT.match(value, position + 1)
        assert element is not None  # all of it is optional
        position = element.end()
        if element[1] is not None:
            parameters, position = _parse_parameters(value, position)
            extensions.append((element[1], parameters))
        if position < len(value) and value[position] != ",":
            raise ExtensionSyntaxError(f"unexpected {value[position]!r} at character {position + 1}")
    return extensions


def _parse_parameters(value: str, position: int) -> tuple[_Parameters, int]:
    parameters: _Parameters = []
    while match := _PARAMETER.match(value, position):
        name, token, quoted = match.groups()
        if quoted is not None:
            token = _QUOTED_PAIR.sub(r"\1", quoted)
            if not _IS_TOKEN.fullmatch(token):
                raise ExtensionSyntaxError(f"the quoted value at character {match.start(3)} is not a token")
        parameters.append((name, token))
        position = match.end()
    return parameters, position


@attrs.frozen(kw_only=True)
class DeflateSettings:
    """The negotiated settings of permessage-deflate, seen from our side."""

    send_window_bits: int
    """Our window is at most 2 to this power bytes: 8 to 15."""
    send_context: bool
    """Whether we keep our context from message to message."""
    receive_window_bits: int
    """The peer's window is at most 2 to this power bytes: 8 to 15."""
    receive_context: bool
    """Whether the peer may keep its context from message to message."""
    level: int
    """zlib's level, 0 to 9."""
    threshold: int
    """Messages of fewer bytes are sent as they are."""

    def inflater(self) -> Inflater:
        """Make the inflater of one connection."""
        return Inflater(window_bits=self.receive_window_bits, context_takeover=self.receive_context)

    def deflater(self) -> Deflater:
        """Make the deflater of one connection."""
        return Deflater(
            level=self.level,
            window_bits=self.send_window_bits,
            context_takeover=self.send_context,
            threshold=self.threshold,
        )


class _InvalidParameters(ValueError):  # noqa: N818 - what they are
    """Parameters that RFC 7692 7 does not allow."""


@attrs.frozen(kw_only=True)
class _DeflateParameters:
    """The parameters of one permessage-deflate offer or answer (RFC 7692 7.1); None is an absent one."""

    server_no_context_takeover: bool = False
    client_no_context_takeover: bool = False
    server_max_window_bits: int | None = None
    client_max_window_bits: int | None = None

    @classmethod
    def parse(cls, parameters: _Parameters, *, offer: bool) -> _DeflateParameters:
        """Read parameters.

        Raises:
            _InvalidParameters: an unknown or repeated name, a value out of range, missing, or where none belongs.
        """
        terms: dict[str, bool | int] = {}
        for name, value in parameters:
            if name in terms:
                raise _InvalidParameters(f"{name} occurs twice")
            terms[name] = _parse_term(name, value, offer=offer)
        return cls(**terms)  # type: ignore[arg-type]

    def __str__(self) -> str:
        words = [_NAME]
        if self.server_no_context_takeover:
            words.append("server_no_context_takeover")
        if self.client_no_context_takeover:
            words.append("client_no_context_takeover")
        if self.server_max_window_bits is not None:
            words.append(f"server_max_window_bits={self.server_max_window_bits}")
        if self.client_max_window_bits == _FULL_WINDOW:
            words.append("client_max_window_bits")  # in offers only: no answer needs to name a full window
        elif self.client_max_window_bits is not None:
            words.append(f"client_max_window_bits={self.client_max_window_bits}")
        return "; ".join(words)


def _parse_term(name: str, value: str | None, *, offer: bool) -> bool | int:
    match name, value:
        case "server_no_context_takeover" | "client_no_context_takeover", None:
            return True
        case "server_max_window_bits" | "client_max_window_bits", str() if value in _WINDOWS:
            return _WINDOWS[value]
        case "client_max_window_bits", None if offer:
            return _FULL_WINDOW  # "you may name a window, I have no wish": RFC 7692 7.1.2.2
        case _:
            shown = name if value is None else f"{name}={value}"
            raise _InvalidParameters(f"{shown:.80} is not a parameter of {'an offer' if offer else 'an answer'}")


def accept_offer(header: str, compression: Compression) -> tuple[str, DeflateSettings] | None:
    """Accept the first acceptable offer of a client, as a server (RFC 7692 5.1).

    All other extensions are declined, and offers of permessage-deflate with a parameter it does not have,
    not twice, or not with that value (RFC 7692 7). A window of 8 bits can be had: see `Deflater`.

    Args:
        header: the client's Sec-WebSocket-Extensions, several joined by a comma.
        compression: our settings.

    Returns:
        Our Sec-WebSocket-Extensions and what it says, or None if there is nothing to accept.

    Raises:
        ExtensionSyntaxError: the header is malformed.
    """
    for name, parameters in parse_extensions(header):
        if name == _NAME:
            try:
                offer = _DeflateParameters.parse(parameters, offer=True)
            except _InvalidParameters:
                continue
            answer = _answer(offer, compression)
            return str(answer), DeflateSettings(
                send_window_bits=answer.server_max_window_bits or compression.send_window_bits,
                send_context=not answer.server_no_context_takeover,
                receive_window_bits=answer.client_max_window_bits or _FULL_WINDOW,
                receive_context=not answer.client_no_context_takeover,
                level=compression.level,
                threshold=compression.threshold,
            )
    return None


def _answer(offer: _DeflateParameters, compression: Compression) -> _DeflateParameters:
    """Answer a valid offer: contexts may be ruled out unasked (RFC 7692 7.1.1), windows are not (7.1.2)."""
    server_window = offer.server_max_window_bits
    if server_window is not None:
        server_window = min(server_window, compression.send_window_bits)
    client_window = offer.client_max_window_bits
    if client_window is not None:
        client_window = min(client_window, compression.receive_window_bits)
    return _DeflateParameters(
        server_no_context_takeover=offer.server_no_context_takeover or not compression.send_context,
        client_no_context_takeover=offer.client_no_context_takeover or not compression.receive_context,
        server_max_window_bits=server_window,
        client_max_window_bits=None if client_window == _FULL_WINDOW else client_window,
    )


def make_offer(compression: Compression) -> str:
    """Make the Sec-WebSocket-Extensions of a client that wants `compression`: one offer (RFC 7692 7.1).

    It always lets the server name the window that we send with, and 8 bits can be had: see `Deflater`.
    """
    return str(_offer(compression))


def _offer(compression: Compression) -> _DeflateParameters:
    wanted = compression.receive_window_bits
    return _DeflateParameters(
        server_no_context_takeover=not compression.receive_context,
        client_no_context_takeover=not compression.send_context,
        server_max_window_bits=None if wanted == _FULL_WINDOW else wanted,
        client_max_window_bits=compression.send_window_bits,
    )


def check_response(header: str, compression: Compression) -> DeflateSettings | None:
    """Check a server's answer to the offer that `make_offer(compression)` made.

    RFC 7692 7.1.1.1 and 7.1.2.1 have a server decline what it cannot keep to. Some accept it and do not say that they
    will keep to it: their messages then take a context and a full window to read, which costs only memory.

    Args:
        header: the server's Sec-WebSocket-Extensions, several joined by a comma, `""` for none.
        compression: our offer.

    Returns:
        The negotiated settings, or None if the server accepted nothing.

    Raises:
        RemoteProtocolError: the answer is malformed, or does not fit our offer (RFC 7692 5.1, 7.1).
    """
    try:
        extensions = parse_extensions(header)
        if not extensions:
            return None
        if [name for name, _ in extensions] != [_NAME]:
            raise _InvalidParameters("it names an extension that was not offered, or one twice")
        answer = _DeflateParameters.parse(extensions[0][1], offer=False)
        _check_fit(_offer(compression), answer)
    except (ExtensionSyntaxError, _InvalidParameters) as error:
        raise RemoteProtocolError(f"bad Sec-WebSocket-Extensions in the server's answer: {error}") from error
    return DeflateSettings(
        send_window_bits=answer.client_max_window_bits or compression.send_window_bits,
        send_context=compression.send_context and not answer.client_no_context_takeover,
        receive_window_bits=answer.server_max_window_bits or _FULL_WINDOW,
        receive_context=not answer.server_no_context_takeover,
        level=compression.level,
        threshold=compression.threshold,
    )


def _check_fit(offer: _DeflateParameters, answer: _DeflateParameters) -> None:
    """Compare a valid answer with our offer.

    Raises:
        _InvalidParameters: the server names more than we asked for, or than we offered.
    """
    if (answer.server_max_window_bits or 0) > (offer.server_max_window_bits or _FULL_WINDOW):
        raise _InvalidParameters("server_max_window_bits is more than we asked for (RFC 7692 7.1.2.1)")
    if (answer.client_max_window_bits or 0) > (offer.client_max_window_bits or 0):
        raise _InvalidParameters("client_max_window_bits is more than we offered (RFC 7692 7.1.2.2)")
