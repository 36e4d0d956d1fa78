"""The standard output of the command, whose reader may go and whose disk may be full."""

from __future__ import annotations

import contextlib
import os
import sys
from typing import TextIO

from trio_ws.cli.loading import UsageError
from trio_ws.escaping import encodable

__all__ = ["discard_unwritten", "write_output"]


def write_output(text: str, encoding: str | None = None) -> bool:
    """Write text to the standard output; return False if its reader has gone, as `head` does.

    Args:
        text: with its line ends; characters outside the encoding are escaped.
        encoding: of the text, whatever the output's is; None for the output's.

    Raises:
        UsageError: there is no standard output, or it takes nothing, as on a full disk.
    """
    if sys.stdout is None:  # closed before the interpreter began
        raise UsageError("there is no standard output")
    try:
        _write(sys.stdout, text, encoding)
    except BrokenPipeError:
        _discard(sys.stdout)
        return False
    except OSError as error:
        _discard(sys.stdout)
        raise UsageError(f"the output cannot be written: {error}") from None
    return True


def _write(stream: TextIO, text: str, encoding: str | None) -> None:
    stream.flush()
    if encoding is not None and hasattr(stream, "buffer"):
        stream.buffer.write(text.encode(encoding, "backslashreplace"))
    else:
        stream.write(encodable(text, getattr(stream, "encoding", None) or "utf-8"))
    stream.flush()


def discard_unwritten() -> None:
    """Discard what the standard streams do not take: else the interpreter's end fails, with status 120."""
    for stream in (sys.stdout, sys.stderr):
        if stream is not None and not stream.closed:
            try:
                stream.flush()
            except OSError:
                _discard(stream)


def _discard(stream: TextIO) -> None:
    """Let a stream write to nowhere from now on, also what it still has."""
    with contextlib.suppress(OSError, ValueError):  # it is no file
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())
        os.close(nowhere)
        stream.flush()
