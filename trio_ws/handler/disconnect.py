"""The disconnect rule, which decides when a handler without a peer is cancelled.

A handler that learnt of the end, by an exception or a return value, has `cleanup_timeout` to finish. Any other handler
is cancelled: at once if it never read and nothing waits to be read, else after `drain_timeout` for its work on the
last message. A callback at work on a message has `cleanup_timeout`, too.

A server that shuts down gives handlers a grace instead, and cancels them itself. A handler that has no use for it, as
it neither learnt of the end nor ever read, is cancelled once its peer is gone.
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
"""The treatment of a handler without a peer. "drain": the rule above; "cancel": cancelled at once; "finish": never."""


def check_policy(_: object, attribute: attrs.Attribute[WhenPeerLeaves], value: WhenPeerLeaves) -> None:
    """Validate an attribute of type `WhenPeerLeaves` for attrs; raise `ValueError` for another value."""
    if value not in get_args(WhenPeerLeaves):
        raise ValueError(f'{attribute.name} must be "drain", "cancel" or "finish", not {value!r}')


class DisconnectRule:
    """The observer of a channel that cancels the handler's scope.

    Args:
        channel: the handler's connection.
        scope: the handler's cancel scope.
        policy: one of `WhenPeerLeaves`.
        timeouts: `drain_timeout` and `cleanup_timeout` of it.
        timers: runs the deadlines.
        log: takes the record of a handler that is cut off; None without a connection's log.
    """

    __slots__ = (
        "_channel",
        "_draining",
        "_end_raised",
        "_log",
        "_peer_left_at",
        "_policy",
        "_reason",
        "_scope",
        "_timeouts",
        "_timer",
        "_timers",
    )

    def __init__(  # noqa: PLR0917 - one for each collaborator
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
        self._peer_left_at = 0.0
        self._scope = scope
        self._policy = policy
        self._timeouts = timeouts
        self._timers = timers
        self._timer: Timer | None = None
        self._end_raised = False
        self._draining = False
        self._reason = ""
        channel.closing.observer = self

    def on_closed(self, why: str, *, waited_for: bool) -> None:
        """Handle the end of the connection, other than by the handler's own `close`."""
        self._reason = why
        self._peer_left_at = trio.current_time()
        match self._policy:
            case "finish":
                pass
            case "cancel":
                self._end_raised = waited_for
                self._cancel()
            case "drain" if self._channel.callbacks or self._reads or waited_for:
                self._cancel_after(self._work_timeout)
            case "drain":
                # A handler that begins may be about to read what came with the handshake: decide at its next wait.
                self._timer = self._timers.call_later(0, self._cancel_unless_reading)
            case _:
                assert_never(self._policy)

    def on_drain(self, *, waited_for: bool) -> None:
        """Handle the server's close frame at shutdown: the handler has the server's grace."""
        self._draining = True
        self._end_raised = waited_for

    @property
    def server_ends(self) -> bool:
        """Whether the server's shutdown has ended the connection."""
        return self._draining

    def on_peer_gone(self, why: str) -> None:
        """Handle the end of the peer after the server's close frame."""
        if not self._draining:  # the peer had left before
            return
        self._reason = why
        self._peer_left_at = trio.current_time()
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
        """Handle that the end was raised in the handler, which may clean up and return."""
        if self._draining:
            self._end_raised = True
        elif self._reason and not self._end_raised:
            self._end_raised = True
            if self._policy != "finish":
                self._cancel_after(self._timeouts.cleanup_timeout)

    def on_read_after_end(self) -> None:
        """Restart the time of a handler that reads what arrived before the end."""
        if self._reason and self._policy == "drain" and not self._end_raised and not self._draining:
            self._cancel_after(self._work_timeout)

    def stop(self) -> None:
        """Stop at the end of the handler."""
        if self._timer is not None:
            self._timer.cancel()
        self._channel.closing.observer = None

    def _cancel_unless_reading(self) -> None:
        if self._reads:
            self._cancel_after(self._work_timeout)
        else:
            self._cancel()

    def _cancel_unless_busy(self) -> None:
        if not (self._end_raised or self._reads or self._channel.callbacks):
            self._cancel()

    @property
    def _reads(self) -> bool:
        """Whether the handler has read, or messages wait for it."""
        return self._channel.reader.reads or self._channel.reader.pending

    @property
    def _work_timeout(self) -> float:
        """Seconds for work on the last message."""
        return self._timeouts.cleanup_timeout if self._channel.callbacks else self._timeouts.drain_timeout

    def _cancel_after(self, seconds: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._timers.call_later(seconds, self._cancel)

    def _cancel(self) -> None:
        at_work = self._channel.callbacks or (self._channel.reader.reads and not self._end_raised)
        if at_work and not self._scope.cancel_called:
            self._log.info(
                "handler of %s was at work on a message: cut off %.3f s after its peer left, by when_peer_leaves=%r",
                trio.current_time() - self._peer_left_at,
                self._policy,
                when_peer_leaves=self._policy,
            )
        self._scope.cancel(reason=self._reason)
