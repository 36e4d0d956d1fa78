"""The settings of a server, a client or a route.

Each is one frozen object. Sizes are bytes, times are seconds. `attrs.evolve(limits, max_message_size=...)` makes a
changed copy.
"""

from __future__ import annotations

import math

import attrs

from trio_ws.options import flag, integer, number, register_group

__all__ = ["Compression", "Limits", "Timeouts"]

KIB = 1024
MIB = 1024 * KIB


_seconds = number("of seconds")
_interval = number("of seconds", positive=True, none="to turn it off")
_rate = number("per second", positive=True, none="for no bound")


def _never(value: float | None) -> float:
    """Convert None, which means never, to infinity."""
    return math.inf if value is None else value


@attrs.frozen(kw_only=True)
class Limits:
    """Bounds of the resources that one peer can use.

    Raises:
        TypeError: a bound is not a whole number, or there is no such limit.
        ValueError: a bound is too small to work with.
    """

    max_message_size: int = attrs.field(default=MIB, validator=integer(1))
    """Bytes of one received message, after inflating and before decoding. A larger one closes with 1009."""
    max_fragments: int = attrs.field(default=65_536, validator=integer(1))
    """Frames that one received message may be cut into. More close with 1009."""
    inbox_messages: int = attrs.field(default=32, validator=integer(1))
    """Received messages that wait for the handler. At this bound the socket is not read any more."""
    inbox_bytes: int = attrs.field(default=MIB, validator=integer(1))
    """Bytes of received messages that wait for the handler, counted after inflating."""
    outbox_bytes: int = attrs.field(default=64 * KIB, validator=integer(1))
    """The outbox's high-water mark: `send()` waits while this many bytes wait for the network."""
    max_request_line: int = attrs.field(default=8 * KIB, validator=integer(64))
    """Bytes of the HTTP request line. A longer one is answered 414."""
    max_header_size: int = attrs.field(default=8 * KIB, validator=integer(64))
    """Bytes of one HTTP header line. A longer one is answered 431."""
    max_head_size: int = attrs.field(default=32 * KIB, validator=integer(256))
    """Bytes of the whole HTTP head. A longer one is answered 431."""
    max_headers: int = attrs.field(default=100, validator=integer(8))
    """HTTP headers in a head. More are answered 431."""
    max_connections: int | None = attrs.field(default=None, validator=integer(1, none="no bound"))
    """Connections that a server holds at once, more are answered 503, at most 32 of them at once. None, or more
    than that: the number that the descriptor limit allows."""
    max_connections_per_ip: int | None = attrs.field(default=None, validator=integer(1, none="no bound"))
    """Connections that a server holds at once from one address, more are answered 503. None: no bound."""
    drain_rate: float | None = attrs.field(default=None, validator=_rate)
    """WebSockets that a server closes in a second while it shuts down, so that not all come back at once; the rate is
    higher if `Timeouts.drain_spread` demands it. None: all at once."""


@attrs.frozen(kw_only=True)
class Timeouts:
    """Timeouts in seconds.

    None in a field that allows it means never.

    Raises:
        TypeError: a time is not a number, or there is no such timeout.
        ValueError: a time is negative or NaN, or an interval is zero.
    """

    open_timeout: float = attrs.field(default=10.0, validator=_seconds)
    """From TCP accept (or the client's start) to the answered handshake, TLS included."""
    close_timeout: float = attrs.field(default=5.0, validator=_seconds)
    """From our close frame to the peer's, then the connection is aborted. It begins anew while the peer takes what was
    sent before, see `delivery_timeout`."""
    delivery_timeout: float = attrs.field(default=60.0, validator=_seconds)
    """How long a connection that ends waits in all for a peer that still takes what was sent before. Such a peer may
    stop for as long as it has taken something, `send_timeout` at most, and for all of that if it was seen to take
    something while the outbox was full before; one that takes nothing has `close_timeout`. It bounds the whole answer
    to a plain HTTP request that stands in the outbox, too."""
    ping_interval: float = attrs.field(default=20.0, converter=_never, validator=_interval)
    """Between two keepalive pings on a silent connection. None: no keepalive."""
    ping_timeout: float = attrs.field(default=20.0, converter=_never, validator=_interval)
    """From a keepalive ping to its pong, then the connection ends with 1011. It begins anew while the peer takes what
    was sent before the ping. None: wait for ever."""
    send_timeout: float = attrs.field(default=30.0, converter=_never, validator=_interval)
    """How long a peer may take nothing while the outbox is full, then the connection ends with 1013. None: for ever."""
    drain_timeout: float = attrs.field(default=1.0, validator=_seconds)
    """How long a handler that reads may go on without noticing that its peer left, before it is cancelled."""
    cleanup_timeout: float = attrs.field(default=5.0, validator=_seconds)
    """How long a handler may go on after the disconnect was raised in it, and a callback that processes a message; and
    how long each of these may take: `on_disconnect`, `on_error`, the clean-up of all that the library has entered for
    a handler."""
    idle_timeout: float = attrs.field(default=math.inf, converter=_never, validator=_interval)
    """How long a connection may carry no message, then it ends with 1001. None: for ever."""
    max_lifetime: float = attrs.field(default=math.inf, converter=_never, validator=_interval)
    """How old a connection may become, then it ends with 1001. None: no bound."""
    shutdown_grace: float = attrs.field(default=10.0, validator=_seconds)
    """How long handlers may go on after a server that shuts down has sent close frames, before they are cancelled."""
    drain_delay: float = attrs.field(default=0.0, validator=_seconds)
    """How long a server that shuts down still accepts, and answers 503 on `/healthz` and to upgrades. Some load
    balancers need seconds to notice."""
    drain_spread: float = attrs.field(default=60.0, validator=_seconds)
    """How long a server that shuts down may take to send all close frames at `Limits.drain_rate`."""


# zlib cannot write raw deflate with an 8 bit window (it silently uses 9, which the peer may not be able to read).
_window_bits = integer(9, 15)


@attrs.frozen(kw_only=True)
class Compression:
    """Options and costs of permessage-deflate (RFC 7692).

    Keeping a context makes similar messages much smaller, and costs a connection memory: to receive up to 36 KiB, of
    those connections only whose peer sends compressed messages; to send 38 KiB with a window of 12 bits and 150 KiB
    with 15. By default the peer may keep its context (some libraries do so whatever is agreed), and all connections of
    the process deflate without context, with one and the same compressor. The costs and savings of each setting
    are in "Compression" in the documentation.

    Raises:
        TypeError: an option is of another kind, or there is no such option.
        ValueError: level or window out of range, or a negative threshold.
    """

    level: int = attrs.field(default=6, validator=integer(0, 9))
    """zlib's level, 0 (store) to 9 (smallest). 3 takes two fifths less time for large messages, which become some 8%
    larger; above 6 there is next to nothing to gain."""
    threshold: int = attrs.field(default=256, validator=integer(0))
    """Messages of fewer bytes are sent as they are: there is little to save. With a context, 32 is a good value."""
    send_context: bool = attrs.field(default=False, validator=flag)
    """Keep the context of what we send from message to message, if the peer allows it."""
    receive_context: bool = attrs.field(default=True, validator=flag)
    """Let the peer keep its context from message to message. False saves memory, and fails with clients that keep it
    all the same, such as Tornado's. A server that keeps it all the same is accepted."""
    send_window_bits: int = attrs.field(default=12, validator=_window_bits)
    """Our window is at most 2 to this power bytes, less if the peer asks for less. A larger one helps messages that are
    larger than it, and what is kept with `send_context`."""
    receive_window_bits: int = attrs.field(default=15, validator=_window_bits)
    """The window that we ask the peer for, if it supports the parameter."""


register_group("limits", Limits)
register_group("timeouts", Timeouts)
register_group("compression", Compression)
