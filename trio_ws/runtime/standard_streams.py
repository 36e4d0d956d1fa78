"""Standard streams whose reader has gone, or whose disk is full."""

from __future__ import annotations

import contextlib
import os
import sys
from typing import TextIO

__all__ = ["discard", "discard_unwritten", "discard_unwritten_errors"]


def discard_unwritten() -> None:
    """Discard what the standard streams do not take: else the interpreter's end fails, with status 120."""
    for stream in (sys.stdout, sys.stderr):
        _discard_unwritten_of(stream)


def discard_unwritten_errors() -> None:
    """Discard what standard error does not take, at the end of the process."""
    _discard_unwritten_of(sys.stderr)


def _discard_unwritten_of(stream: TextIO | None) -> None:
    if stream is not None and not stream.closed:
        try:
            stream.flush()
        except OSError:
            discard(stream)


def discard(stream: TextIO) -> None:
    """Let a stream write to nowhere from now on, also what it still has."""
    with contextlib.suppress(OSError, ValueError):  # it is no file
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())
        os.close(nowhere)
        stream.flush()
