"""The settings: Limits, Timeouts, Compression. Each is one frozen object, given to a server, a client or a route.

Sizes are bytes, times are seconds. `attrs.evolve(limits, max_message_size=...)` makes a changed copy.
"""

from __future__ import annotations

import functools
import math
from difflib import get_close_matches
from types import UnionType
from typing import TYPE_CHECKING, Any

import attrs

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Compression", "Limits", "Timeouts"]

KIB = 1024
MIB = 1024 * KIB


def _is_number(value: object, kinds: type[int] | UnionType) -> bool:
    return isinstance(value, kinds) and not isinstance(value, bool)


def _at_least(minimum: int) -> Callable[[object, attrs.Attribute[int], int], None]:
    def check(_: object, attribute: attrs.Attribute[int], value: int) -> None:
        if not _is_number(value, int):
            raise TypeError(f"{attribute.name} takes a whole number, {minimum} or more, not {value!r}")
        if value < minimum:
            raise ValueError(f"{attribute.name} must be at least {minimum}, not {value!r}")

    return check


def _count(_: object, attribute: attrs.Attribute[int | None], value: int | None) -> None:
    if value is None:
        return
    if not _is_number(value, int):
        raise TypeError(f"{attribute.name} takes a whole number, 1 or more, or None for no bound, not {value!r}")
    if value < 1:
        raise ValueError(f"{attribute.name} must be at least 1, or None for no bound, not {value!r}")


def _rate(_: object, attribute: attrs.Attribute[float | None], value: float | None) -> None:
    if value is None:
        return
    if not _is_number(value, int | float):
        raise TypeError(f"{attribute.name} takes a number per second, or None for no bound, not {value!r}")
    if not value > 0:
        raise ValueError(f"{attribute.name} must be more than 0 per second, or None for no bound, not {value!r}")


def _check_seconds(attribute: attrs.Attribute[float], value: object, *, never: str) -> None:
    if not _is_number(value, int | float):
        raise TypeError(f"{attribute.name} takes a number of seconds{never}, not {value!r}")


def _seconds(_: object, attribute: attrs.Attribute[float], value: float) -> None:
    _check_seconds(attribute, value, never="")
    if not value >= 0:
        raise ValueError(f"{attribute.name} must be a number of seconds, 0 or more, not {value!r}")


def _interval(_: object, attribute: attrs.Attribute[float], value: float) -> None:
    _check_seconds(attribute, value, never=", or None to turn it off")
    if not value > 0:
        raise ValueError(f"{attribute.name} must be more than 0 seconds, or None to turn it off, not {value!r}")


def _flag(_: object, attribute: attrs.Attribute[bool], value: bool) -> None:
    if not isinstance(value, bool):
        raise TypeError(f"{attribute.name} takes True or False, not {value!r}")


def _never(value: float | None) -> float:
    """None means 'never': it is kept as infinity, so that deadlines need no case of their own."""
    return math.inf if value is None else value


@attrs.frozen(kw_only=True)
class Limits:
    """What one peer may cost.

    Raises:
        TypeError: a bound is not a whole number, or there is no such limit.
        ValueError: a bound is too small to work with.
    """

    max_message_size: int = attrs.field(default=MIB, validator=_at_least(1))
    """Bytes of one received message, after inflating and before decoding. A larger one closes with 1009."""
    max_fragments: int = attrs.field(default=65_536, validator=_at_least(1))
    """Frames that one received message may be cut into. More close with 1009."""
    inbox_messages: int = attrs.field(default=32, validator=_at_least(1))
    """Received messages that wait for the handler. At this bound the socket is not read any more."""
    inbox_bytes: int = attrs.field(default=MIB, validator=_at_least(1))
    """Bytes of received messages that wait for the handler, counted after inflating."""
    outbox_bytes: int = attrs.field(default=64 * KIB, validator=_at_least(1))
    """The outbox's high-water mark: `send()` waits while this many bytes wait for the network."""
    max_request_line: int = attrs.field(default=8 * KIB, validator=_at_least(64))
    """Bytes of the HTTP request line. A longer one is answered 414."""
    max_header_size: int = attrs.field(default=8 * KIB, validator=_at_least(64))
    """Bytes of one HTTP header line. A longer one is answered 431."""
    max_head_size: int = attrs.field(default=32 * KIB, validator=_at_least(256))
    """Bytes of the whole HTTP head. A longer one is answered 431."""
    max_headers: int = attrs.field(default=100, validator=_at_least(8))
    """HTTP headers in a head. More are answered 431."""
    max_connections: int | None = attrs.field(default=None, validator=_count)
    """Connections that a server holds at once, more are answered 503, at most 32 of them at once. None, or more
    than that: what the descriptor limit leaves."""
    max_connections_per_ip: int | None = attrs.field(default=None, validator=_count)
    """Connections that a server holds at once from one address, more are answered 503. None: no bound."""
    drain_rate: float | None = attrs.field(default=None, validator=_rate)
    """WebSockets that a server which shuts down says goodbye to in a second, so that not all come back at once; the
    rate is higher if `Timeouts.drain_spread` demands it. None: all at once."""


@attrs.frozen(kw_only=True)
class Timeouts:
    """How long to wait for whom, in seconds. None in a field that allows it means never.

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
    stop for as long as it has taken something, `send_timeout` at most; one that takes nothing has `close_timeout`."""
    ping_interval: float = attrs.field(default=20.0, converter=_never, validator=_interval)
    """Between two keepalive pings on a silent connection. None: no keepalive."""
    ping_timeout: float = attrs.field(default=20.0, converter=_never, validator=_interval)
    """From a keepalive ping to its pong, then the connection ends with 1011. It begins anew while the peer takes what
    was sent before the ping. None: wait for ever."""
    send_timeout: float = attrs.field(default=30.0, converter=_never, validator=_interval)
    """How long a peer may take nothing while the outbox is full, then the connection ends with 1013. None: for ever."""
    drain_timeout: float = attrs.field(default=1.0, validator=_seconds)
    """How long a handler that reads may go on, not knowing that its peer left, before it is cancelled."""
    cleanup_timeout: float = attrs.field(default=5.0, validator=_seconds)
    """How long a handler that was told may go on, and a callback that is at work on a message; and how long each of
    these may take: `on_disconnect`, `on_error`, the clean-up of all that the library has entered for a handler."""
    idle_timeout: float = attrs.field(default=math.inf, converter=_never, validator=_interval)
    """How long a connection may carry no message, then it ends with 1001. None: for ever."""
    max_lifetime: float = attrs.field(default=math.inf, converter=_never, validator=_interval)
    """How old a connection may become, then it ends with 1001. None: no bound."""
    shutdown_grace: float = attrs.field(default=10.0, validator=_seconds)
    """How long handlers may go on after a server that shuts down said goodbye, before they are cancelled."""
    drain_delay: float = attrs.field(default=0.0, validator=_seconds)
    """How long a server that shuts down still accepts, only to say so: 503 on `/healthz` and to upgrades. Some load
    balancers need seconds to notice."""
    drain_spread: float = attrs.field(default=60.0, validator=_seconds)
    """How long a server that shuts down may take to say goodbye to everyone at `Limits.drain_rate`."""


def _window_bits(_: object, attribute: attrs.Attribute[int], value: int) -> None:
    # zlib cannot write raw deflate with an 8 bit window (it silently uses 9, which the peer may not be able to read).
    if not _is_number(value, int):
        raise TypeError(f"{attribute.name} takes a whole number from 9 to 15, not {value!r}")
    if not 9 <= value <= 15:
        raise ValueError(f"{attribute.name} must be from 9 to 15, not {value!r}")


def _level(_: object, attribute: attrs.Attribute[int], value: int) -> None:
    if not _is_number(value, int):
        raise TypeError(f"{attribute.name} takes a whole number from 0 to 9, not {value!r}")
    if not 0 <= value <= 9:
        raise ValueError(f"{attribute.name} must be from 0 to 9, not {value!r}")


@attrs.frozen(kw_only=True)
class Compression:
    """permessage-deflate (RFC 7692): what we offer, or accept, and what it may cost.

    Keeping a context makes similar messages much smaller, and costs a connection memory: to receive up to 36 KiB, of
    those connections only whose peer sends compressed messages; to send 38 KiB with a window of 12 bits and 150 KiB
    with 15. By default the peer may keep its context (some libraries do so whatever is agreed), and all connections of
    the process deflate without context, with one and the same compressor. What each setting costs and saves was
    measured: see "Compression" in the documentation.

    Raises:
        TypeError: an option is of another kind, or there is no such option.
        ValueError: level or window out of range, or a negative threshold.
    """

    level: int = attrs.field(default=6, validator=_level)
    """zlib's level, 0 (store) to 9 (smallest). 3 takes two fifths less time for large messages, which become some 8%
    larger; above 6 there is next to nothing to gain."""
    threshold: int = attrs.field(default=256, validator=_at_least(0))
    """Messages of fewer bytes are sent as they are: there is little to save. With a context, 32 is a good value."""
    send_context: bool = attrs.field(default=False, validator=_flag)
    """Keep the context of what we send from message to message, if the peer allows it."""
    receive_context: bool = attrs.field(default=True, validator=_flag)
    """Let the peer keep its context from message to message. False saves memory, and fails with clients that keep it
    all the same, such as Tornado's. A server that keeps it all the same is put up with."""
    send_window_bits: int = attrs.field(default=12, validator=_window_bits)
    """Our window is at most 2 to this power bytes, less if the peer asks for less. A larger one helps messages that are
    larger than it, and what is kept with `send_context`."""
    receive_window_bits: int = attrs.field(default=15, validator=_window_bits)
    """The window that we ask the peer for, if it can be asked."""


def _explain_unknown(kind: type[Any], others: tuple[type[Any], ...]) -> None:
    """Let the error for a field that `kind` does not have say which of the others has it."""
    init = kind.__init__
    known = frozenset(field.name for field in attrs.fields(kind))

    def explaining(self: object, *args: object, **values: object) -> None:
        for name in values.keys() - known:
            owner = next((each for each in others if name in {field.name for field in attrs.fields(each)}), None)
            near = get_close_matches(name, known, n=1)
            hint = f": it is one of {owner.__name__}(...)" if owner else f": did you mean {near[0]!r}?" if near else ""
            raise TypeError(f"{kind.__name__}(...) has no option {name!r}{hint}")
        init(self, *args, **values)

    functools.update_wrapper(explaining, init)
    kind.__init__ = explaining


_explain_unknown(Limits, (Timeouts, Compression))
_explain_unknown(Timeouts, (Limits, Compression))
_explain_unknown(Compression, (Limits, Timeouts))
