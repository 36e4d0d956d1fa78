"""The closing handshake as a table of states, events and actions, without I/O (RFC 6455 7).

`connection.closing` executes the actions. `tools/closing_diagram.py` draws the table into the documentation.
"""

from __future__ import annotations

from enum import Enum, auto
from typing import Final, Literal, TypeAlias

import attrs

from trio_ws.codes import CloseCode
from trio_ws.escaping import printable
from trio_ws.native.choice import EndpointState
from trio_ws.protocol.states import CloseEvent, State

__all__ = ["CONNECTION_LOST", "TRANSITIONS", "CloseAction", "CloseInfo", "Closer", "ClosingMachine", "Transition"]

Closer: TypeAlias = Literal["local", "peer", "network", "unknown"]

_CAUSES: Final = {
    "local": "closed by us",
    "peer": "peer closed",
    "network": "connection lost",
    "unknown": "client gone",
}


@attrs.frozen
class CloseInfo:
    """How a connection ended: the first close frame, either way."""

    code: int
    """The code in it; 1005 if it held none, 1006 if there was no close frame."""
    reason: str
    """The reason in it, `""` if none."""
    by: Closer
    """Who sent it: "local" is this side, "network" neither; "unknown" is what an ASGI server does not say."""

    def __str__(self) -> str:
        return f"{_CAUSES[self.by]}: {self.code}{f' {printable(self.reason)}' if self.reason else ''}"


CONNECTION_LOST: Final = CloseInfo(CloseCode.ABNORMAL_CLOSURE, "", "network")
"""The network connection ended without a close frame."""


class CloseAction(Enum):
    """A step of ending a connection."""

    SEND_CLOSE = auto()
    """Send a close frame: our own, or the echo of the peer's."""
    HALF_CLOSE = auto()
    """End our side of the network connection once everything is sent."""
    AWAIT_ANSWER = auto()
    """Start the timer: the peer has `close_timeout` for its close frame, and the time to take what was sent before."""
    AWAIT_END = auto()
    """Start the timer: the peer has a moment to end the network connection, `close_timeout` while data is unsent."""
    DISCARD = auto()
    """Read on, and drop messages."""
    NOTIFY = auto()
    """Wake all waiting tasks; report the end to the observer, once."""
    DISCONNECT = auto()
    """Close the network connection now."""
    DISCONNECT_WHEN_DONE = auto()
    """Close the network connection if all is sent, or half of it for a peer that has much to read.

    A client waits for the server first (RFC 6455 7.1.1).
    """


@attrs.frozen(eq=False)
class Transition:
    """The effect of one event in one state."""

    state: State
    """The next state."""
    actions: tuple[CloseAction, ...] = ()
    """What to do, in order."""


def _transition(state: State, *actions: CloseAction) -> Transition:
    return Transition(state, actions)


_DISCARDED: Final = (CloseAction.DISCARD, CloseAction.NOTIFY)
_FAIL: Final = (CloseAction.HALF_CLOSE, CloseAction.AWAIT_END, *_DISCARDED)
_FINISH: Final = (CloseAction.DISCONNECT_WHEN_DONE, CloseAction.AWAIT_END, *_DISCARDED)

TRANSITIONS: Final[dict[State, dict[CloseEvent, Transition]]] = {
    State.OPEN: {
        CloseEvent.WE_CLOSE: _transition(State.CLOSING, CloseAction.SEND_CLOSE, CloseAction.AWAIT_ANSWER, *_DISCARDED),
        CloseEvent.WE_CLOSE_AFTER_EOF: _transition(State.DISCARDING, CloseAction.AWAIT_ANSWER, *_DISCARDED),
        CloseEvent.WE_FAIL: _transition(State.FAILED, CloseAction.SEND_CLOSE, *_FAIL),
        CloseEvent.PEER_CLOSES: _transition(State.CLOSED, CloseAction.SEND_CLOSE, *_FINISH),
        CloseEvent.PEER_ENDS: _transition(State.OPEN, CloseAction.NOTIFY),
        CloseEvent.NETWORK_ENDS: _transition(State.LOST, CloseAction.DISCONNECT),
        CloseEvent.ALL_SENT: _transition(State.OPEN),
    },
    State.DISCARDING: {
        CloseEvent.WE_CLOSE_AFTER_EOF: _transition(State.DISCARDING, CloseAction.AWAIT_ANSWER, *_DISCARDED),
        CloseEvent.WE_FAIL: _transition(State.FAILED, CloseAction.SEND_CLOSE, *_FAIL),
        CloseEvent.PEER_CLOSES: _transition(State.CLOSED, CloseAction.SEND_CLOSE, *_FINISH),
        CloseEvent.PEER_ENDS: _transition(State.DISCARDING, CloseAction.NOTIFY),
        CloseEvent.NETWORK_ENDS: _transition(State.LOST, CloseAction.DISCONNECT),
        CloseEvent.ALL_SENT: _transition(State.DISCARDING, CloseAction.AWAIT_ANSWER),
        CloseEvent.TIMEOUT: _transition(State.LOST, CloseAction.DISCONNECT),
        CloseEvent.NO_ANSWER: _transition(State.LOST, CloseAction.DISCONNECT),
    },
    State.CLOSING: {
        CloseEvent.WE_FAIL: _transition(State.FAILED, *_FAIL),
        CloseEvent.PEER_CLOSES: _transition(State.CLOSED, *_FINISH),
        CloseEvent.PEER_ENDS: _transition(State.CLOSING, CloseAction.NOTIFY),
        CloseEvent.NETWORK_ENDS: _transition(State.LOST, CloseAction.DISCONNECT),
        CloseEvent.ALL_SENT: _transition(State.CLOSING, CloseAction.AWAIT_ANSWER),
        CloseEvent.TIMEOUT: _transition(State.LOST, CloseAction.DISCONNECT),
        # The peer may be reading still: data that it sends to a closed socket is answered with a reset, which
        # would drop what it has not read.
        CloseEvent.NO_ANSWER: _transition(State.FAILED, *_FAIL),
    },
    State.CLOSED: {
        CloseEvent.PEER_ENDS: _transition(State.CLOSED, CloseAction.NOTIFY),
        CloseEvent.NETWORK_ENDS: _transition(State.CLOSED, CloseAction.DISCONNECT_WHEN_DONE, CloseAction.NOTIFY),
        CloseEvent.ALL_SENT: _transition(State.CLOSED, CloseAction.DISCONNECT_WHEN_DONE, CloseAction.AWAIT_END),
        CloseEvent.TIMEOUT: _transition(State.CLOSED, CloseAction.DISCONNECT),
        CloseEvent.NO_ANSWER: _transition(State.CLOSED, CloseAction.DISCONNECT),
    },
    State.FAILED: {
        CloseEvent.WE_FAIL: _transition(State.FAILED, *_FAIL),
        CloseEvent.PEER_CLOSES: _transition(State.CLOSED, *_FINISH),  # the answer to the failing close frame
        CloseEvent.PEER_ENDS: _transition(State.FAILED, CloseAction.NOTIFY),
        CloseEvent.NETWORK_ENDS: _transition(State.FAILED, CloseAction.DISCONNECT),
        CloseEvent.ALL_SENT: _transition(State.FAILED, CloseAction.AWAIT_END),
        CloseEvent.TIMEOUT: _transition(State.FAILED, CloseAction.DISCONNECT),
        CloseEvent.NO_ANSWER: _transition(State.FAILED, CloseAction.DISCONNECT),
    },
    State.LOST: {
        CloseEvent.WE_FAIL: _transition(State.LOST),
        CloseEvent.PEER_ENDS: _transition(State.LOST, CloseAction.NOTIFY),
        CloseEvent.NETWORK_ENDS: _transition(State.LOST),
        CloseEvent.ALL_SENT: _transition(State.LOST),
    },
}
"""The whole closing handshake. An event that is not in a state's row cannot happen in that state."""


class ClosingMachine(EndpointState):
    """The state of one closing handshake.

    Attributes:
        state: the present state.
        close_info: how the connection ended; None while it is OPEN or DISCARDING.
    """

    __slots__ = ()

    def __init__(self) -> None:
        self.state: State = State.OPEN
        self.close_info: CloseInfo | None = None

    def actions(self, event: CloseEvent) -> tuple[CloseAction, ...]:
        """Return the actions of `event` in the present state."""
        return TRANSITIONS[self.state][event].actions

    def move(self, event: CloseEvent, info: CloseInfo = CONNECTION_LOST) -> None:
        """Move to the next state.

        Args:
            event: the cause.
            info: becomes `close_info` if the event ends the connection.
        """
        self.state = TRANSITIONS[self.state][event].state
        if self.close_info is None and self.state not in _NOT_ENDED:
            self.close_info = info


_NOT_ENDED: Final = (State.OPEN, State.DISCARDING)
