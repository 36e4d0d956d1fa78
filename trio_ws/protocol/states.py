"""The states of the closing handshake and the events that change them (RFC 6455 7).

There is no state between the peer's close frame and ours: the echo is sent in the same step (RFC 6455 5.5.1).
The transitions are in `closing`.
"""

from __future__ import annotations

from enum import Enum, auto

__all__ = ["CloseEvent", "State"]


class State(Enum):
    """What a connection may still send and receive."""

    OPEN = auto()
    """Both sides may send messages."""
    DISCARDING = auto()
    """Closed by us after the peer's end of stream: the rest of its data is read for a close frame only."""
    CLOSING = auto()
    """Our close frame is sent: we send nothing more, drop messages, and wait for the peer's close frame."""
    CLOSED = auto()
    """Both close frames have passed: only the network connection is left to end."""
    FAILED = auto()
    """The connection was failed (RFC 6455 7.1.7): the peer's close frame is not waited for."""
    LOST = auto()
    """The network connection ended before the closing handshake was complete."""


class CloseEvent(Enum):
    """A cause of a transition."""

    WE_CLOSE = auto()
    """`close` was called."""
    WE_CLOSE_AFTER_EOF = auto()
    """`close` was called, and the peer has ended its side behind data that is not read yet."""
    WE_FAIL = auto()
    """The peer broke the protocol, or the connection is failed for another reason."""
    PEER_CLOSES = auto()
    """The peer's close frame arrived."""
    PEER_ENDS = auto()
    """The peer ended its side of the network connection behind data that is not read yet."""
    NETWORK_ENDS = auto()
    """End of stream or reset, and all data before it is read; or we closed the network connection."""
    ALL_SENT = auto()
    """The outbox became empty."""
    TIMEOUT = auto()
    """The peer did not take what was sent to it in time."""
    NO_ANSWER = auto()
    """The peer took all that was sent to it, and did not do its part in time."""
