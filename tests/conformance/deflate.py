"""The fuzzing peer's own permessage-deflate (RFC 7692), straight on zlib, and what it asks for in the handshake.

A window of 8 bits is kept to with Huffman codes alone on the way out. On the way in zlib checks the window, but only
where its output of one call does not reach: so it is given little room at a time.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from typing import Final

import attrs

__all__ = ["Deflate", "Wish", "answer", "offer", "parse"]

_TAIL: Final = b"\x00\x00\xff\xff"
_STEP: Final = 16
"""Bytes that a distance may be too far back without being found: what one call of zlib's may inflate to."""
_NAME: Final = "permessage-deflate"


@attrs.frozen
class Wish:
    """What the fuzzing peer asks of the other side's compressor. 0 bits: it has no wish."""

    no_context: bool = False
    bits: int = 0


Parameters = dict[str, str | None]


def parse(header: str) -> list[Parameters]:
    """Return the parameters of each permessage-deflate in the header, in order. Any other extension is an error."""
    found = []
    for extension in filter(None, map(str.strip, header.split(","))):
        name, *rest = map(str.strip, extension.split(";"))
        assert name == _NAME, f"unknown extension {name!r}"
        pairs = [part.partition("=") for part in rest]
        parameters: Parameters = {key.strip(): value.strip().strip('"') or None for key, _, value in pairs}
        assert len(parameters) == len(pairs), f"a parameter occurs twice: {extension}"
        found.append(parameters)
    return found


def offer(wish: Wish) -> str:
    """Return an offer that states the wish, and lets the server ask for anything."""
    words = [_NAME, "client_no_context_takeover", "client_max_window_bits"]
    words += ["server_no_context_takeover"] * wish.no_context
    words += [f"server_max_window_bits={wish.bits}"] * bool(wish.bits)
    return "; ".join(words)


def answer(offered: Parameters, wish: Wish) -> str:
    """Return an answer to the client's offer that states the wish, and grants what was asked for."""
    words = [_NAME]
    if wish.no_context:
        words.append("client_no_context_takeover")
    if wish.bits:
        assert "client_max_window_bits" in offered, "the client does not let its window be limited"
        words.append(f"client_max_window_bits={wish.bits}")
    if "server_no_context_takeover" in offered:
        words.append("server_no_context_takeover")
    if "server_max_window_bits" in offered:
        words.append(f"server_max_window_bits={offered['server_max_window_bits']}")
    return "; ".join(words)


class Deflate:
    """Both directions of one connection.

    Args:
        agreed: the parameters in the server's answer.
        client: whether the fuzzing peer is the client.
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
        return zlib.compressobj(6, zlib.DEFLATED, -max(self._send_bits, 9), 8, strategy)

    def compress(self, payload: bytes) -> bytes:
        """Return a message's payload compressed (RFC 7692 7.2.1)."""
        if not self._send_context:
            self._compressor = self._new_compressor()
        data = self._compressor.compress(payload) + self._compressor.flush(zlib.Z_SYNC_FLUSH)
        return data.removesuffix(_TAIL)

    def decompress(self, payload: bytes) -> bytes:
        """Return a message's payload inflated (RFC 7692 7.2.2); raise `zlib.error` if it cannot be."""
        if not self._receive_context:
            self._decompressor = zlib.decompressobj(-self._receive_bits)
        if self._receive_bits == 15:
            return self._decompressor.decompress(payload + _TAIL)
        return b"".join(self._in_steps(payload + _TAIL))

    def _in_steps(self, data: bytes) -> Iterator[bytes]:
        for start in range(0, len(data), _STEP):
            part = data[start : start + _STEP]
            inflated = bytes(_STEP)
            while len(inflated) == _STEP:  # with less, there was room for all that had come
                inflated = self._decompressor.decompress(part, _STEP)
                part = self._decompressor.unconsumed_tail
                yield inflated
