"""The disconnect rule: what happens to a handler whose peer is gone.

A handler that was told, by an exception or a return value, has a time to say goodbye elsewhere. One that was not told
is cancelled: at once if it never read and nothing waits to be read, else after it had time to finish its work on the
last message. A callback at work on a message has as much time as a handler that was told.

A server that shuts down gives handlers a grace instead, and cancels them itself. Only a handler that has nothing to do
with it does not hold the server up: one that was not told and never read is cancelled once its peer is gone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, TypeAlias, assert_never, get_args

import trio

from trio_ws.runtime.log import ConnectionLog

if TYPE_CHECKING:
    import attrs

    from trio_ws.config import Timeouts
    from trio_ws.connection.channel import Channel
    from trio_ws.runtime.timers import Timer, Timers

__all__ = ["DisconnectRule", "WhenPeerLeaves", "check_policy"]

WhenPeerLeaves: TypeAlias = Literal["drain", "cancel", "finish"]
"""What becomes of a handler whose peer is gone. "drain": the rule above; "cancel": it is cancelled at once, wherever it
is; "finish": it is never cancelled."""


def check_policy(_: object, attribute: attrs.Attribute[WhenPeerLeaves], value: WhenPeerLeaves) -> None:
    """Raise `ValueError` unless `value` is one of `WhenPeerLeaves`; it is a validator of attrs."""
    if value not in get_args(WhenPeerLeaves):
        raise ValueError(f'{attribute.name} must be "drain", "cancel" or "finish", not {value!r}')


class DisconnectRule:
    """Watches one channel, and cancels the handler's scope when the rule says so.

    Args:
        channel: whose end matters.
        scope: what the handler runs in.
        policy: one of `WhenPeerLeaves`.
        timeouts: `drain_timeout` and `cleanup_timeout` of it.
        timers: calls back.
        log: takes the record of a handler that is cut off; None for that of no connection.
    """

    __slots__ = (
        "_channel",
        "_draining",
        "_left_time",
        "_log",
        "_policy",
        "_scope",
        "_timeouts",
        "_timer",
        "_timers",
        "_told",
        "_why",
    )

    def __init__(  # noqa: PLR0917 - one for each part of the rule
        self,
        channel: Channel,
        scope: trio.CancelScope,
        policy: WhenPeerLeaves,
        timeouts: Timeouts,
        timers: Timers,
        log: ConnectionLog | None = None,
    ) -> None:
        self._channel = channel
        self._log = log or ConnectionLog(0, None)
        self._left_time = 0.0
        self._scope = scope
        self._policy = policy
        self._timeouts = timeouts
        self._timers = timers
        self._timer: Timer | None = None
        self._told = False
        self._draining = False
        self._why = ""
        channel.closing.observer = self

    def on_closed(self, why: str, *, waited_for: bool) -> None:
        """The connection has ended, not by the handler's own `close`."""
        self._why = why
        self._left_time = trio.current_time()
        match self._policy:
            case "finish":
                pass
            case "cancel":
                self._told = waited_for
                self._cancel()
            case "drain" if self._channel.callbacks or self._reads or waited_for:
                self._cancel_after(self._time_for_work)
            case "drain":
                # One that is just beginning may be about to read what came with the handshake: judge at its next wait.
                self._timer = self._timers.call_later(0, self._cancel_unless_reading)
            case _:
                assert_never(self._policy)

    def on_drain(self, *, waited_for: bool) -> None:
        """The server says goodbye: the handler's time is the server's grace."""
        self._draining = True
        self._told = waited_for

    @property
    def server_ends(self) -> bool:
        """Whether it was the server that said goodbye, as it does to everyone at its end."""
        return self._draining

    def on_peer_gone(self, why: str) -> None:
        """The peer that the server said goodbye to is gone."""
        if not self._draining:  # it had left before
            return
        self._why = why
        self._left_time = trio.current_time()
        match self._policy:
            case "finish":
                pass
            case "cancel":
                self._cancel()
            case "drain":
                self._timer = self._timers.call_later(0, self._cancel_unless_busy)
            case _:
                assert_never(self._policy)

    def on_end_raised(self) -> None:
        """Something in the handler was told: it may say goodbye and return."""
        if self._draining:
            self._told = True
        elif self._why and not self._told:
            self._told = True
            if self._policy != "finish":
                self._cancel_after(self._timeouts.cleanup_timeout)

    def on_read_after_end(self) -> None:
        """Something in the handler takes what had arrived before the end: its time begins anew."""
        if self._why and self._policy == "drain" and not self._told and not self._draining:
            self._cancel_after(self._time_for_work)

    def stop(self) -> None:
        """The handler has ended."""
        if self._timer is not None:
            self._timer.cancel()
        self._channel.closing.observer = None

    def _cancel_unless_reading(self) -> None:
        if self._reads:
            self._cancel_after(self._time_for_work)
        else:
            self._cancel()

    def _cancel_unless_busy(self) -> None:
        if not (self._told or self._reads or self._channel.callbacks):
            self._cancel()

    @property
    def _reads(self) -> bool:
        """Whether the handler has read, or there is something that it may yet read."""
        return self._channel.reader.reads or self._channel.reader.pending

    @property
    def _time_for_work(self) -> float:
        """Seconds for work on a message: as many for a callback as for a handler that was told."""
        return self._timeouts.cleanup_timeout if self._channel.callbacks else self._timeouts.drain_timeout

    def _cancel_after(self, seconds: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._timers.call_later(seconds, self._cancel)

    def _cancel(self) -> None:
        at_work = self._channel.callbacks or (self._channel.reader.reads and not self._told)
        if at_work and not self._scope.cancel_called:
            self._log.info(
                "handler of %s was at work on a message: cut off %.3f s after its peer left, by when_peer_leaves=%r",
                trio.current_time() - self._left_time,
                self._policy,
                when_peer_leaves=self._policy,
            )
        self._scope.cancel(reason=self._why)
