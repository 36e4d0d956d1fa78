"""Hypothesis strategies for messages, frames, conversations and handshakes (extra `testing`).

Examples shrink to the shortest message, frame or conversation that still fails.
"""

try:
    import hypothesis as _hypothesis  # noqa: F401
except ImportError:
    raise ImportError("strategies need Hypothesis: pip install 'trio-ws[testing]'") from None

from trio_ws.testing.strategies.compression import compressions, deflate_parameters
from trio_ws.testing.strategies.conversations import Conversation, conversations, fragmented
from trio_ws.testing.strategies.cutting import cuts, damaged, read_sizes
from trio_ws.testing.strategies.frames import close_codes, close_frames, control_frames, frames
from trio_ws.testing.strategies.handshakes import handshakes
from trio_ws.testing.strategies.messages import binaries, json_values, messages, sizes, texts

__all__ = [
    "Conversation",
    "binaries",
    "close_codes",
    "close_frames",
    "compressions",
    "control_frames",
    "conversations",
    "cuts",
    "damaged",
    "deflate_parameters",
    "fragmented",
    "frames",
    "handshakes",
    "json_values",
    "messages",
    "read_sizes",
    "sizes",
    "texts",
]
