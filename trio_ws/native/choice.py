"""The choice between the compiled core, the compiled frame codec alone, and Python for everything."""

from __future__ import annotations

import os
import warnings
from typing import TYPE_CHECKING, Any, Final

__all__ = [
    "INTERFACE",
    "PURE_PYTHON",
    "ChannelState",
    "ClosingState",
    "ContextState",
    "DeadlineState",
    "DecoderState",
    "EncoderState",
    "EndpointState",
    "FaceState",
    "InboxState",
    "OutboxState",
    "ReaderState",
    "SocketState",
    "WriterState",
    "core",
    "is_current",
    "wants_codec",
]

PURE_PYTHON: Final = "TRIO_WS_PURE_PYTHON"
"""The environment variable that asks for Python: "core" for all but the frame codec, any other value but "" and "0" for
everything."""

INTERFACE: Final = 4
"""What the Python files and the compiled modules expect of each other, as a number; `interface.h` has the same."""


def is_current(compiled: Any) -> bool:
    """Return True if a compiled module was built for these Python files; else warn that it is not used.

    A checkout keeps its compiled modules when newer source is pulled, and an installation can be mixed.

    Args:
        compiled: the module `_core` or `_speedups`.
    """
    built_for = getattr(compiled, "INTERFACE", 0)
    if built_for == INTERFACE:
        return True
    warnings.warn(
        f"{compiled.__name__} was built from other source: it has interface {built_for}, these Python files need "
        f"{INTERFACE}. Python code runs in its place, more slowly. Build it again: `make venv` in a checkout, else "
        "`pip install --force-reinstall trio-ws`",
        RuntimeWarning,
        stacklevel=2,
    )
    return False


def _wanted() -> str:
    return os.environ.get(PURE_PYTHON, "0")


def wants_codec() -> bool:
    """Return True if the environment asks for the compiled frame codec."""
    return _wanted() in ("", "0", "core")


def _load() -> Any:
    """Return the compiled core, None if it was not built or is not wanted."""
    if _wanted() not in ("", "0"):
        return None
    try:
        from trio_ws.native import _core  # noqa: PLC0415 - may not be there
    except ImportError:
        return None
    return _core if is_current(_core) else None


core: Final[Any] = _load()
"""The compiled core, or None."""

if TYPE_CHECKING or core is None:
    from trio_ws.native.state import (
        ChannelState,
        ClosingState,
        ContextState,
        DeadlineState,
        DecoderState,
        EncoderState,
        EndpointState,
        FaceState,
        InboxState,
        OutboxState,
        ReaderState,
        SocketState,
        WriterState,
    )
else:
    ChannelState = core.ChannelState
    ClosingState = core.ClosingState
    ContextState = core.ContextState
    DeadlineState = core.DeadlineState
    DecoderState = core.DecoderState
    EncoderState = core.EncoderState
    EndpointState = core.EndpointState
    FaceState = core.FaceState
    InboxState = core.InboxState
    OutboxState = core.OutboxState
    ReaderState = core.ReaderState
    SocketState = core.SocketState
    WriterState = core.WriterState
