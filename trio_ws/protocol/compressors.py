"""Streams of zlib that deflate messages, and those that connections share.

A whole message that refers to no other one needs a compressor for a moment only: one of each kind serves all
connections of the process. After a full flush nothing refers to what was before it (RFC 1951 has no other memory than
the window), and zlib, which has nothing left over then, begins again at the start of its window with an empty hash: the
next message comes out as it would of a new compressor, byte for byte, but nothing had to be allocated.
"""

from __future__ import annotations

import os
import zlib
from collections.abc import Callable
from functools import cache
from typing import Final, NamedTuple, Protocol, TypeAlias

__all__ = [
    "STANDARD_ZLIB",
    "TAIL",
    "Compressor",
    "Kind",
    "Library",
    "Shared",
    "choose",
    "get_library",
    "make_compressor",
]

STANDARD_ZLIB: Final = "TRIO_WS_STANDARD_ZLIB"
"""The environment variable that asks for Python's own zlib, with any value but `""` and `"0"`."""

TAIL: Final = b"\x00\x00\xff\xff"
"""The end of an empty stored block: a sender cuts it off, a receiver puts it back (RFC 7692 7.2.1, 7.2.2)."""

_SMALLEST_WINDOW: Final = 9
"""In bits. zlib's raw deflate uses 9 where it is told 8: where we agreed to 8, we have to write in another way."""
_MEMORY_LEVEL: Final = 5
"""zlib's memLevel. zlib's default, 8, makes the output some 1% smaller, but a compressor 112 KiB larger."""
_MOST_IDLE: Final = 16
"""Shared compressors that are kept: the eight windows that peers can ask for, at two levels. Together they have less
than 1 MiB with zlib and 4 MiB with zlib-ng; what is of another kind gets a compressor of its own for each message."""

Kind: TypeAlias = tuple[int, int]
"""zlib's level, and the window as a power of two: messages of the same kind are deflated to the same bytes."""


class Compressor(Protocol):
    """A compressor of any zlib."""

    def compress(self, data: bytes | bytearray | memoryview, /) -> bytes:
        """Take in data; return what comes out at once."""

    def flush(self, mode: int, /) -> bytes:
        """Return all that is left."""


class Library(NamedTuple):
    """One implementation of zlib."""

    name: str
    compressobj: Callable[..., Compressor]


STANDARD: Final = Library(f"zlib {zlib.ZLIB_RUNTIME_VERSION}", zlib.compressobj)
"""Python's own."""


def choose() -> Library:
    """Return the zlib that deflates whole messages: the fastest one that is there and wanted."""
    if os.environ.get(STANDARD_ZLIB, "0") in ("", "0"):
        try:
            from zlib_ng import zlib_ng  # noqa: PLC0415 - may not be there
        except ImportError:
            pass
        else:
            return Library(f"zlib-ng {zlib_ng.ZLIBNG_RUNTIME_VERSION}", zlib_ng.compressobj)
    return STANDARD


@cache
def get_library() -> Library:
    """Return the zlib of this process for whole messages, which is imported when the first one is deflated."""
    return choose()


def make_compressor(level: int, window_bits: int, library: Library = STANDARD, before: bytes = b"") -> Compressor:
    """Make a compressor of raw deflate.

    One that a connection keeps is always Python's own: zlib-ng's takes four times the memory.

    Args:
        level: zlib's, 0 to 9.
        window_bits: nothing that is farther away than 2 to this power bytes is referred to, 8 to 15.
        library: its maker.
        before: the end of what the peer was sent before, which may be referred to.
    """
    bits = max(window_bits, _SMALLEST_WINDOW)
    # Run-length encoding refers to nothing but the byte before, which every window holds. (With 9 bits today's
    # zlib reaches back 250 bytes, which 8 bits would hold too, but that is not documented.)
    strategy = zlib.Z_DEFAULT_STRATEGY if bits == window_bits else zlib.Z_RLE
    if before:
        return library.compressobj(level, zlib.DEFLATED, -bits, _MEMORY_LEVEL, strategy, before)
    return library.compressobj(level, zlib.DEFLATED, -bits, _MEMORY_LEVEL, strategy)


class Shared:
    """A compressor of independent messages for any number of connections, from any thread.

    Args:
        get_library: returns the maker of the compressors.
    """

    __slots__ = ("_get_library", "_idle")

    def __init__(self, get_library: Callable[[], Library]) -> None:
        self._get_library = get_library
        self._idle: dict[Kind, Compressor] = {}

    def deflate(self, kind: Kind, data: bytes | bytearray | memoryview) -> bytes:
        """Return the payload of a whole message (RFC 7692 7.2.1), the same as a new compressor's."""
        # While it works it belongs to this call alone: another thread finds none, and makes one. What is interrupted or
        # fails in the middle, with half a message inside, does not come back.
        compressor = self._idle.pop(kind, None) or make_compressor(*kind, self._get_library())
        deflated = compressor.compress(data) + compressor.flush(zlib.Z_FULL_FLUSH)
        if len(self._idle) < _MOST_IDLE:
            self._idle[kind] = compressor
        return deflated[: -len(TAIL)]
