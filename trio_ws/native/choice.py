"""The choice between the compiled core, the compiled frame codec alone, and Python for everything."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, Final

__all__ = [
    "PURE_PYTHON",
    "ChannelState",
    "ContextState",
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
    "wants_codec",
]

PURE_PYTHON: Final = "TRIO_WS_PURE_PYTHON"
"""The environment variable that asks for Python: "core" for all but the frame codec, any other value but "" and "0" for
everything."""


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
    return _core


core: Final[Any] = _load()
"""The compiled core, or None."""

if TYPE_CHECKING or core is None:
    from trio_ws.native.state import (
        ChannelState,
        ContextState,
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
    ContextState = core.ContextState
    DecoderState = core.DecoderState
    EncoderState = core.EncoderState
    EndpointState = core.EndpointState
    FaceState = core.FaceState
    InboxState = core.InboxState
    OutboxState = core.OutboxState
    ReaderState = core.ReaderState
    SocketState = core.SocketState
    WriterState = core.WriterState
