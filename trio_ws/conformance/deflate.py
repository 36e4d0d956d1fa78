"""The suite's own permessage-deflate (RFC 7692), straight on zlib, with its negotiation.

A window of 8 bits is kept to with Huffman codes alone on the way out. On the way in zlib checks the window, but only
where its output of one call does not reach: so it is given little room at a time.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterator
from typing import Final, TypeAlias

import attrs

from trio_ws.conformance.finding import Finding

__all__ = [
    "NAME",
    "MessageDeflate",
    "Parameters",
    "Wish",
    "answer",
    "check_answer",
    "deflated_zeros",
    "offer",
    "parse_extensions",
]

NAME: Final = "permessage-deflate"
TAIL: Final = b"\x00\x00\xff\xff"
MAX_MESSAGE: Final = 64 << 20
"""Bytes that a message of the implementation under test may inflate to; no case brings one so large back."""
_STEP: Final = 16
"""Bytes that a distance may be too far back without being found: what one call of zlib's may inflate to."""
_WINDOWS: Final = frozenset(map(str, range(8, 16)))
_TOKEN: Final = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
_PARAMETER: Final = rf'\s*;\s*({_TOKEN})(?:\s*=\s*(?:({_TOKEN})|"((?:[^"\\]|\\.)*)"))?'
_EXTENSION: Final = re.compile(rf"\s*({_TOKEN})((?:{_PARAMETER})*)\s*(?:,|$)")

Parameters: TypeAlias = dict[str, str | None]


@attrs.frozen
class Wish:
    """The terms that the suite asks for.

    Args:
        no_context: that the other side compresses each message for itself.
        bits: the other side's window; 0 for any.
        own_context: that the suite may keep its context from message to message.
    """

    no_context: bool = False
    bits: int = 0
    own_context: bool = False


def parse_extensions(header: str) -> list[tuple[str, Parameters]]:
    """Return the extensions in a header, in order, each with its parameters.

    Raises:
        Finding: the grammar of RFC 6455 9.1 is broken, or a parameter occurs twice.
    """
    found: list[tuple[str, Parameters]] = []
    position = 0
    while position < len(header):
        match = _EXTENSION.match(header, position)
        if match is None:
            raise Finding("RFC 6455 9.1", f"Sec-WebSocket-Extensions is malformed: {header[:120]!r}")
        position = match.end()
        parameters: Parameters = {}
        for name, token, quoted in re.findall(_PARAMETER, match[2]):
            if name in parameters:
                raise Finding("RFC 7692 7", f"the parameter {name} occurs twice: {header[:120]!r}")
            parameters[name] = token or quoted or None
        found.append((match[1], parameters))
    return found


def offer(wish: Wish) -> str:
    """Return an offer that states the wish, and lets the server ask for anything."""
    words = [NAME] if wish.own_context else [NAME, "client_no_context_takeover"]
    words.append("client_max_window_bits")
    words += ["server_no_context_takeover"] * wish.no_context
    words += [f"server_max_window_bits={wish.bits}"] * bool(wish.bits)
    return "; ".join(words)


def answer(offered: Parameters, wish: Wish) -> str | None:
    """Return an answer to the client's offer that states the wish, and grants what was asked for.

    None if the client does not let its window be limited, but the wish is to do so.
    """
    words = [NAME]
    if wish.no_context:
        words.append("client_no_context_takeover")
    if wish.bits:
        if "client_max_window_bits" not in offered:
            return None
        words.append(f"client_max_window_bits={min(wish.bits, int(offered['client_max_window_bits'] or 15))}")
    if "server_no_context_takeover" in offered:
        words.append("server_no_context_takeover")
    if "server_max_window_bits" in offered:
        words.append(f"server_max_window_bits={offered['server_max_window_bits']}")
    return "; ".join(words)


FULL_WINDOW: Final = "the answer does not repeat server_max_window_bits=15, which changes nothing (RFC 7692 7.1.2.1)"


def check_answer(offered: Parameters, agreed: Parameters) -> list[str]:
    """Check a server's answer against an offer; return remarks.

    Raises:
        Finding: with the section of RFC 7692 7.1 that the answer breaks.
    """
    for name, value in agreed.items():
        _check_parameter(name, value)
    if "server_no_context_takeover" in offered and "server_no_context_takeover" not in agreed:
        raise Finding("RFC 7692 7.1.1.1", "the answer does not accept server_no_context_takeover")
    remarks = []
    if "server_max_window_bits" in offered:
        limit = int(offered["server_max_window_bits"] or 15)
        if limit == 15 and "server_max_window_bits" not in agreed:
            remarks.append(FULL_WINDOW)
        elif int(agreed.get("server_max_window_bits") or 16) > limit:
            raise Finding("RFC 7692 7.1.2.1", f"the answer does not accept server_max_window_bits={limit}")
    if "client_max_window_bits" in agreed:
        if "client_max_window_bits" not in offered:
            raise Finding("RFC 7692 7.1.2.2", "the answer has client_max_window_bits, which the offer has not")
        if int(agreed["client_max_window_bits"] or 0) > int(offered["client_max_window_bits"] or 15):
            raise Finding("RFC 7692 7.1.2.2", "client_max_window_bits of the answer is more than was offered")
    return remarks


def check_offer(offered: Parameters) -> None:
    """Check a client's offer.

    Raises:
        Finding: a parameter is unknown, or has a value that it may not have (RFC 7692 7.1).
    """
    for name, value in offered.items():
        if (name, value) != ("client_max_window_bits", None):
            _check_parameter(name, value)


def _check_parameter(name: str, value: str | None) -> None:
    shown = name if value is None else f"{name}={value}"
    if name in ("server_no_context_takeover", "client_no_context_takeover"):
        if value is not None:
            raise Finding("RFC 7692 7.1.1", f"{shown} must not have a value")
    elif name in ("server_max_window_bits", "client_max_window_bits"):
        if value not in _WINDOWS:
            raise Finding("RFC 7692 7.1.2", f"{shown} must be 8 to 15")
    else:
        raise Finding("RFC 7692 7", f"{shown} is no parameter of {NAME}")


def deflated_zeros(mebibytes: int) -> bytes:
    """Return a compressed message of so many MiB of zeros, made in no time: the same block again and again."""
    compressor = zlib.compressobj(9, zlib.DEFLATED, -15)
    first = compressor.compress(bytes(1 << 20)) + compressor.flush(zlib.Z_SYNC_FLUSH)
    again = compressor.compress(bytes(1 << 20)) + compressor.flush(zlib.Z_SYNC_FLUSH)
    return (first + again * (mebibytes - 1)).removesuffix(TAIL)


class MessageDeflate:
    """Both directions of one connection.

    Args:
        agreed: the parameters in the server's answer.
        client: whether the suite is the client.
    """

    def __init__(self, agreed: Parameters, *, client: bool) -> None:
        mine, theirs = ("client", "server") if client else ("server", "client")
        self._send_bits = int(agreed.get(f"{mine}_max_window_bits") or 15)
        self._receive_bits = int(agreed.get(f"{theirs}_max_window_bits") or 15)
        self._send_context = f"{mine}_no_context_takeover" not in agreed
        self._receive_context = f"{theirs}_no_context_takeover" not in agreed
        self._compressor = self._new_compressor()
        self._decompressor = zlib.decompressobj(-self._receive_bits)

    def _new_compressor(self) -> zlib._Compress:
        strategy = zlib.Z_HUFFMAN_ONLY if self._send_bits == 8 else zlib.Z_DEFAULT_STRATEGY
        return zlib.compressobj(1, zlib.DEFLATED, -max(self._send_bits, 9), 8, strategy)

    def compress(self, payload: bytes) -> bytes:
        """Return a message's payload compressed (RFC 7692 7.2.1)."""
        if not self._send_context:
            self._compressor = self._new_compressor()
        data = self._compressor.compress(payload) + self._compressor.flush(zlib.Z_SYNC_FLUSH)
        return data.removesuffix(TAIL)

    def decompress(self, payload: bytes) -> bytes:
        """Return a message's payload inflated (RFC 7692 7.2.2).

        Raises:
            Finding: it cannot be inflated, or not with the window and the context that were agreed on.
        """
        if not self._receive_context:
            self._decompressor = zlib.decompressobj(-self._receive_bits)
        try:
            if self._receive_bits == 15:
                return self._decompressor.decompress(payload + TAIL, MAX_MESSAGE)
            return b"".join(self._in_steps(payload + TAIL))
        except zlib.error as error:
            context = "" if self._receive_context else ", without the context of earlier messages"
            raise Finding(
                "RFC 7692 7.2",
                f"a message cannot be inflated with a window of {self._receive_bits} bits{context}: {error}",
            ) from None

    def _in_steps(self, data: bytes) -> Iterator[bytes]:
        for start in range(0, len(data), _STEP):
            part = data[start : start + _STEP]
            inflated = bytes(_STEP)
            while len(inflated) == _STEP:  # with less, there was room for all that had come
                inflated = self._decompressor.decompress(part, _STEP)
                part = self._decompressor.unconsumed_tail
                yield inflated
