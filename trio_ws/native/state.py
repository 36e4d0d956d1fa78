"""The parts of a connection's state that its hot path needs, and its flags, as bases of its classes.

The compiled core has the same classes as C structs (`state.c`), in which a flag takes a byte. Deadlines alone have a
method. Attributes are documented by the classes that inherit them.
"""

from __future__ import annotations

__all__ = [
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
]


class InboxState:
    """The state of an inbox."""

    __slots__ = ("items", "max_bytes", "max_items", "reader", "size", "streak", "task", "trap")


class OutboxState:
    """The state of an outbox."""

    __slots__ = ("chunks", "closed", "high_water", "size")


class SocketState:
    """The state of a transport over a socket."""

    __slots__ = (
        "_corked",
        "_dead",
        "_fd",
        "_finishing",
        "_interest",
        "_reading_over",
        "_sock",
        "_write_broken",
        "outbox",
        "receiver",
    )


class DecoderState:
    """The part of a decoder's state that whole messages need."""

    __slots__ = (
        "_armed",
        "_between",
        "_discarding",
        "_masked",
        "_max_message_size",
        "_partial",
        "_patience",
        "budget",
        "closed",
        "failed",
    )


class EncoderState:
    """The part of an encoder's state that whole messages need."""

    __slots__ = ("plain",)


class EndpointState:
    """The state of an endpoint."""

    __slots__ = ("close_info", "decoder", "encoder", "state")


class ReaderState:
    """The part of a reader's state that whole messages need."""

    __slots__ = (
        "_endpoint",
        "_in_stream",
        "_outbox",
        "_resume_scheduled",
        "closing",
        "end_reported",
        "inbox",
        "message_time",
        "on_messages",
        "paused",
        "read_time",
        "reads",
        "received",
    )


class WriterState:
    """The part of a writer's state that whole messages need."""

    __slots__ = ("_clocked", "_endpoint", "_inbox", "_streaming", "_transport", "blocked", "message_time", "sent")


class ClosingState:
    """The flags of a closing handshake."""

    __slots__ = ("_client", "_peer_lags", "gone", "network_ended", "notified", "peer_ended")


class ChannelState:
    """The parts of a channel that messages pass, and its time."""

    __slots__ = ("open_time", "reader", "writer")


class ContextState:
    """The part of a connection's context that messages need, and its flags."""

    __slots__ = ("channel", "handler_finished", "nursery_used")


class DeadlineState:
    """The time of a deadline, by which deadlines are compared."""

    __slots__ = ("armed", "due", "order")

    armed: bool
    due: float
    order: int

    def __lt__(self, other: DeadlineState) -> bool:
        return self.due < other.due or (self.due == other.due and self.order < other.order)


class FaceState:
    """The part of a `WebSocket` that messages need."""

    __slots__ = ("_decode", "_encode", "context")
