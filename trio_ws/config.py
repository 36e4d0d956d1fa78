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

    Args:
        max_message_size: bytes of one received message, after inflating and before decoding. A larger one closes
            with 1009. Default: 1 MiB.
        max_fragments: frames that one received message may be cut into. More close with 1009. Default: 65,536.
        inbox_messages: received messages that wait for the handler. At this bound the socket is not read any more.
            Default: 32.
        inbox_bytes: bytes of received messages that wait for the handler, counted after inflating. Default: 1 MiB.
        outbox_bytes: the outbox's high-water mark: `send()` waits while this many bytes wait for the network.
            Default: 64 KiB.
        max_request_line: bytes of the HTTP request line. A longer one is answered 414. Default: 8 KiB.
        max_header_size: bytes of one HTTP header line. A longer one is answered 431. Default: 8 KiB.
        max_head_size: bytes of the whole HTTP head. A longer one is answered 431. Default: 32 KiB.
        max_headers: HTTP headers in a head. More are answered 431. Default: 100.
        max_connections: connections that a server holds at once, more are answered 503, at most 32 of them at once.
            None, or more than that: the number that the descriptor limit allows. Default: None.
        max_connections_per_ip: connections that a server holds at once from one address, more are answered 503.
            None: no bound. Default: None.
        drain_rate: WebSockets that a server closes in a second while it shuts down, so that not all come back at
            once; the rate is higher if `Timeouts.drain_spread` demands it. None: all at once. Default: None.

    Raises:
        TypeError: a bound is not a whole number, or there is no such limit.
        ValueError: a bound is too small to work with.
    """

    max_message_size: int = attrs.field(default=MIB, validator=integer(1))
    max_fragments: int = attrs.field(default=65_536, validator=integer(1))
    inbox_messages: int = attrs.field(default=32, validator=integer(1))
    inbox_bytes: int = attrs.field(default=MIB, validator=integer(1))
    outbox_bytes: int = attrs.field(default=64 * KIB, validator=integer(1))
    max_request_line: int = attrs.field(default=8 * KIB, validator=integer(64))
    max_header_size: int = attrs.field(default=8 * KIB, validator=integer(64))
    max_head_size: int = attrs.field(default=32 * KIB, validator=integer(256))
    max_headers: int = attrs.field(default=100, validator=integer(8))
    max_connections: int | None = attrs.field(default=None, validator=integer(1, none="no bound"))
    max_connections_per_ip: int | None = attrs.field(default=None, validator=integer(1, none="no bound"))
    drain_rate: float | None = attrs.field(default=None, validator=_rate)


@attrs.frozen(kw_only=True)
class Timeouts:
    """Timeouts in seconds.

    None in a field that allows it means never.

    Args:
        open_timeout: from TCP accept (or the client's start) to the answered handshake, TLS included. Default: 10
            s.
        close_timeout: from our close frame to the peer's, then the connection is aborted. It begins anew while the
            peer takes what was sent before, see `delivery_timeout`. Default: 5 s.
        delivery_timeout: how long a connection that ends waits in all for a peer that still takes what was sent
            before. Such a peer may stop for as long as it has taken something, `send_timeout` at most, and for all
            of that if it was seen to take something while the outbox was full before; one that takes nothing has
            `close_timeout`. It bounds the whole answer to a plain HTTP request that stands in the outbox, too.
            Default: 60 s.
        ping_interval: between two keepalive pings on a silent connection. None: no keepalive. Default: 20 s.
        ping_timeout: from a keepalive ping to its pong, then the connection ends with 1011. It begins anew while
            the peer takes what was sent before the ping. None: wait for ever. Default: 20 s.
        send_timeout: how long a peer may take nothing while the outbox is full, then the connection ends with 1013.
            None: for ever. Default: 30 s.
        drain_timeout: how long a handler that reads may go on without noticing that its peer left, before it is
            cancelled. Default: 1 s.
        cleanup_timeout: how long a handler may go on after the disconnect was raised in it, and a callback that
            processes a message; and how long each of these may take: `on_disconnect`, `on_error`, the clean-up of
            all that the library has entered for a handler. Default: 5 s.
        idle_timeout: how long a connection may carry no message, then it ends with 1001. None: for ever. Default:
            None.
        max_lifetime: how old a connection may become, then it ends with 1001. None: no bound. Default: None.
        shutdown_grace: how long handlers may go on after a server that shuts down has sent close frames, before
            they are cancelled. Default: 10 s.
        drain_delay: how long a server that shuts down still accepts, and answers 503 on `/healthz` and to upgrades.
            Some load balancers need seconds to notice. Default: 0 s.
        drain_spread: how long a server that shuts down may take to send all close frames at `Limits.drain_rate`.
            Default: 60 s.

    Raises:
        TypeError: a time is not a number, or there is no such timeout.
        ValueError: a time is negative or NaN, or an interval is zero.
    """

    open_timeout: float = attrs.field(default=10.0, validator=_seconds)
    close_timeout: float = attrs.field(default=5.0, validator=_seconds)
    delivery_timeout: float = attrs.field(default=60.0, validator=_seconds)
    ping_interval: float = attrs.field(default=20.0, converter=_never, validator=_interval)
    ping_timeout: float = attrs.field(default=20.0, converter=_never, validator=_interval)
    send_timeout: float = attrs.field(default=30.0, converter=_never, validator=_interval)
    drain_timeout: float = attrs.field(default=1.0, validator=_seconds)
    cleanup_timeout: float = attrs.field(default=5.0, validator=_seconds)
    idle_timeout: float = attrs.field(default=math.inf, converter=_never, validator=_interval)
    max_lifetime: float = attrs.field(default=math.inf, converter=_never, validator=_interval)
    shutdown_grace: float = attrs.field(default=10.0, validator=_seconds)
    drain_delay: float = attrs.field(default=0.0, validator=_seconds)
    drain_spread: float = attrs.field(default=60.0, validator=_seconds)


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

    Args:
        level: zlib's level, 0 (store) to 9 (smallest). 3 takes two fifths less time for large messages, which
            become some 8% larger; above 6 there is next to nothing to gain. Default: 6.
        threshold: messages of fewer bytes are sent as they are: there is little to save. With a context, 32 is a
            good value. Default: 256 bytes.
        send_context: keep the context of what we send from message to message, if the peer allows it. Default:
            False.
        receive_context: let the peer keep its context from message to message. False saves memory, and fails with
            clients that keep it all the same, such as Tornado's. A server that keeps it all the same is accepted.
            Default: True.
        send_window_bits: our window is at most 2 to this power bytes, less if the peer asks for less. A larger one
            helps messages that are larger than it, and what is kept with `send_context`. Default: 12.
        receive_window_bits: the window that we ask the peer for, if it supports the parameter. Default: 15.

    Raises:
        TypeError: an option is of another kind, or there is no such option.
        ValueError: level or window out of range, or a negative threshold.
    """

    level: int = attrs.field(default=6, validator=integer(0, 9))
    threshold: int = attrs.field(default=256, validator=integer(0))
    send_context: bool = attrs.field(default=False, validator=flag)
    receive_context: bool = attrs.field(default=True, validator=flag)
    send_window_bits: int = attrs.field(default=12, validator=_window_bits)
    receive_window_bits: int = attrs.field(default=15, validator=_window_bits)


register_group("limits", Limits)
register_group("timeouts", Timeouts)
register_group("compression", Compression)
