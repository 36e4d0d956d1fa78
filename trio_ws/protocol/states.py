"""The closing handshake as a table: the states of an open connection, and what moves it from one to the next.

A connection is OPEN from the handshake's answer on. There is no state for "the peer's close frame came and ours has
not left yet": the echo is made in the same step (RFC 6455 5.5.1).
"""

from __future__ import annotations

from enum import Enum, auto
from typing import Final

__all__ = ["TRANSITIONS", "CloseEvent", "State"]


class State(Enum):
    """What may still be sent and received."""

    OPEN = auto()
    """Both sides may send messages."""
    CLOSING = auto()
    """Our close frame is out: we send nothing more, drop messages, and wait for the peer's close frame."""
    CLOSED = auto()
    """Both close frames have passed: only the network connection is left to end."""
    FAILED = auto()
    """We gave the peer up and told it with a close frame: we do not wait for its own (RFC 6455 7.1.7)."""
    LOST = auto()
    """The network connection ended before the closing handshake was complete."""


class CloseEvent(Enum):
    """What moves a connection from state to state."""

    WE_CLOSE = auto()
    """We send a close frame of our own accord."""
    PEER_CLOSES = auto()
    """The peer's close frame arrives; if we have sent none, its echo is sent."""
    WE_FAIL = auto()
    """The peer broke the protocol, or is given up for another reason."""
    NETWORK_ENDS = auto()
    """End of stream, reset, or abort."""


TRANSITIONS: Final[dict[State, dict[CloseEvent, State]]] = {
    State.OPEN: {
        CloseEvent.WE_CLOSE: State.CLOSING,
        CloseEvent.PEER_CLOSES: State.CLOSED,
        CloseEvent.WE_FAIL: State.FAILED,
        CloseEvent.NETWORK_ENDS: State.LOST,
    },
    State.CLOSING: {
        CloseEvent.PEER_CLOSES: State.CLOSED,
        CloseEvent.WE_FAIL: State.FAILED,
        CloseEvent.NETWORK_ENDS: State.LOST,
    },
    State.CLOSED: {CloseEvent.NETWORK_ENDS: State.CLOSED},
    State.FAILED: {
        CloseEvent.PEER_CLOSES: State.CLOSED,  # it answers the close frame with which it was given up
        CloseEvent.WE_FAIL: State.FAILED,
        CloseEvent.NETWORK_ENDS: State.FAILED,
    },
    State.LOST: {CloseEvent.WE_FAIL: State.LOST, CloseEvent.NETWORK_ENDS: State.LOST},
}
"""The whole closing handshake. What is not in a row cannot happen in that state."""
