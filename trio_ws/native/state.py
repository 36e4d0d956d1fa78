"""The parts of a connection's state that its hot path needs, as bases of the classes that use them.

The compiled core has the same classes as C structs (`state.c`). They have no methods, and their attributes are
documented by the classes that inherit them.
"""

from __future__ import annotations

__all__ = [
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
]


class InboxState:
    """The state of an inbox."""

    __slots__ = ("items", "max_bytes", "max_items", "reader", "size", "streak", "task", "trap")


class OutboxState:
    """The state of an outbox."""

    __slots__ = ("chunks", "closed", "high_water", "size")


class SocketState:
    """The state of a transport over a socket."""

    __slots__ = ("_corked", "_fd", "_interest", "_reading_over", "_sock", "_write_broken", "outbox", "receiver")


class DecoderState:
    """The part of a decoder's state that whole messages need."""

    __slots__ = ("_between", "_masked", "_max_message_size", "_partial")


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
        "_outbox",
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

    __slots__ = ("_clocked", "_endpoint", "_inbox", "_transport", "blocked", "message_time", "sent")


class ChannelState:
    """The parts of a channel that messages pass."""

    __slots__ = ("reader", "writer")


class ContextState:
    """The part of a connection's context that messages need."""

    __slots__ = ("channel",)


class FaceState:
    """The part of a `WebSocket` that messages need."""

    __slots__ = ("_decode", "_encode", "context")
