"""Writing to standard output, also into a closed pipe or onto a full disk."""

from __future__ import annotations

import sys
from typing import TextIO

from trio_ws.cli.loading import UsageError
from trio_ws.escaping import encodable
from trio_ws.runtime.standard_streams import discard

__all__ = ["write_output"]


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
        discard(sys.stdout)
        return False
    except OSError as error:
        discard(sys.stdout)
        raise UsageError(f"the output cannot be written: {error}") from None
    return True


def _write(stream: TextIO, text: str, encoding: str | None) -> None:
    stream.flush()
    if encoding is not None and hasattr(stream, "buffer"):
        stream.buffer.write(text.encode(encoding, "backslashreplace"))
    else:
        stream.write(encodable(text, getattr(stream, "encoding", None) or "utf-8"))
    stream.flush()
