"""One connection's handler in its nursery, and the end of the connection as its outcome demands.

The order is always the same: enter `around`, accept, `on_connect`, handler, leave `around`;
close frame; `on_disconnect`; end of the network connection.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

import trio

from trio_ws.codes import CloseCode
from trio_ws.connection.channel import HANDSHAKE_OVER
from trio_ws.connection.instrumented import remove_instruments
from trio_ws.errors import Reject, WebSocketDisconnect, WebSocketException
from trio_ws.handler.close_record import record_close
from trio_ws.handler.disconnect import DisconnectRule
from trio_ws.handler.refusals import refuse_with
from trio_ws.runtime.log import escaped
from trio_ws.websocket.close_code import CloseDecision, leaves

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from trio_ws.config import Timeouts
    from trio_ws.handler.opener import Opener
    from trio_ws.handler.service import Service
    from trio_ws.runtime.log import ConnectionLog
    from trio_ws.websocket.websocket import WebSocket

__all__ = ["HandlerRunner"]


class HandlerRunner:
    """Runs one connection's handler.

    There is one coroutine from the task to the handler on purpose: every idle connection keeps its frame, and each
    message passes through it.

    Args:
        opener: opens and closes the connection; a `NoOpener` if the caller of `run` does so, and has called `prepare`.
    """

    __slots__ = (
        "_cancel_reason",
        "_opener",
        "_rule",
        "_service",
        "_timeouts",
        "_websocket",
    )

    _service: Service
    _timeouts: Timeouts
    _websocket: WebSocket

    def __init__(self, opener: Opener) -> None:
        self._opener = opener
        self._cancel_reason = ""  # of a cancelled handler
        self._rule: DisconnectRule | None = None  # made at its first event

    def prepare(self, websocket: WebSocket, service: Service, timeouts: Timeouts) -> None:
        """Set the handler to run. The opener does so, before `open` returns.

        Args:
            websocket: not answered yet, with a handshake in its context.
            service: the handler, its callbacks and options.
            timeouts: of the disconnect rule and of cleaning up.
        """
        self._websocket = websocket
        self._service = service
        self._timeouts = timeouts
        context = websocket.context
        if not context.log.path:
            context.log.set_request(context.request.target, context.request.client)
        context.on_accept = self._begin_watch
        context.set_timers(self._opener.timers)
        if service.close_code_of is not None:
            context.close_code_of = service.close_code_of
        context.cleanup_timeout = timeouts.cleanup_timeout
        if service.on_disconnect is not None:
            context.disconnect_callbacks = (service.on_disconnect,)

    @property
    def _log(self) -> ConnectionLog:
        return self._websocket.context.log

    def cancel_handler(self, why: str) -> None:
        """Cancel the handler and its tasks."""
        self._cancel_reason = why
        scope = self._websocket.context.cancel_scope
        if scope is not None:
            scope.cancel(reason=why)

    async def run(self) -> Exception | None:
        """Run the connection to its end.

        Returns:
            An unhandled error of the handler, None if there is none; the opener's `result` may change that.

        Raises:
            trio.Cancelled: after the connection was closed with 1001, and `on_disconnect` has run.
        """
        error: Exception | None = None  # few names: each takes 16 bytes of each idle connection
        try:
            if await self._opener.open():
                self._notify("connection_opened")
                try:
                    # Set here, because a run of Trio may have another default, and a child task's error stays here.
                    async with trio.open_nursery(strict_exception_groups=True) as nursery:
                        self._begin(nursery)
                        try:
                            if self._service.around is None:
                                await self._connect()
                                self._note_result(await self._service.handler(self._websocket))
                            else:
                                async with self._service.around(self._websocket):
                                    await self._connect()
                                    self._note_result(await self._service.handler(self._websocket))
                        except Exception as failure:
                            error = failure
                        if self._websocket.context.nursery_used or nursery.child_tasks:
                            nursery.cancel_scope.cancel(reason="the handler has ended")
                except ExceptionGroup as failure:
                    error = _combined(error, failure)
                except BaseException:
                    await self._break_off()
                    raise
                error = await self._conclude(error)
            await self._opener.finish()
        except Exception as failure:
            error = self._opener.on_failure(failure)
        finally:
            await self._opener.close(error)
        try:
            return self._opener.result(error)
        finally:
            del error  # its traceback refers to this frame

    # --- the handler ---------------------------------------------------------------------------------------------

    def _begin(self, nursery: trio.Nursery) -> None:
        context = self._websocket.context
        context.nursery = nursery
        context.cancel_scope = nursery.cancel_scope  # a scope of our own would take a kilobyte
        if self._cancel_reason:
            nursery.cancel_scope.cancel(reason=self._cancel_reason)

    async def _connect(self) -> None:
        """Accept the handshake, unless the handler does, and call `on_connect`."""
        websocket, service = self._websocket, self._service
        if service.auto_accept:
            await websocket.accept()
        if service.on_connect is not None:
            await service.on_connect(websocket)

    def _note_result(self, result: object) -> None:
        if result is not None and self._service.on_result is not None:
            self._service.on_result(self._websocket, result)

    def _begin_watch(self) -> None:
        """Observe the channel of a handshake that was just accepted."""
        websocket = self._websocket
        context = websocket.context
        context.on_accept = None
        channel = context.open_channel()
        channel.closing.observer = self
        if channel.close_info is not None:  # a close frame was among the early bytes
            self.on_closed(str(channel.close_info), waited_for=False)
        self._log.debug("%s is open")
        if self._service.instruments is not None:
            self._notify("handshake_answered", 101)
            self._service.instruments.observe_messages(websocket)

    # --- called by the channel, until there is a disconnect rule --------------------------------------------------

    def _make_rule(self) -> DisconnectRule:
        """Make the disconnect rule, which replaces this object as the channel's observer."""
        scope = cast("trio.CancelScope", self._websocket.context.cancel_scope)  # accepting happens within the nursery
        policy = self._service.when_peer_leaves
        self._rule = DisconnectRule(
            self._websocket.context.open_channel(), scope, policy, self._timeouts, self._opener.timers, self._log
        )
        return self._rule

    def on_closed(self, why: str, *, waited_for: bool) -> None:
        """Handle the end of the connection, other than by the handler's own `close`."""
        self._make_rule().on_closed(why, waited_for=waited_for)

    def on_drain(self, *, waited_for: bool) -> None:
        """Handle the close frame of a server that shuts down."""
        self._make_rule().on_drain(waited_for=waited_for)

    def on_peer_gone(self, why: str) -> None:
        """Do nothing: the handler itself has ended the connection."""

    def on_end_raised(self) -> None:
        """Do nothing: the handler itself has ended the connection, and its time is its own."""

    def on_read_after_end(self) -> None:
        """Do nothing: the handler reads what arrived before it ended the connection."""

    # --- ending --------------------------------------------------------------------------------------------------

    async def _break_off(self) -> None:
        """End the connection of a handler that was cancelled from outside."""
        self._stop_watch()
        try:
            await self._end(CloseCode.GOING_AWAY, "")
        finally:
            self._record_end()
            self._release()

    async def _conclude(self, error: Exception | None) -> Exception | None:
        """Close the connection as the handler's error demands; return an unhandled error."""
        self._stop_watch()
        try:
            if not self._websocket.accepted:
                return await self._refuse(error)
            decision = self._decide_close(error)
            unhandled = None if decision.handled else error
            if unhandled is not None:
                await self._report(unhandled)  # first, as the closing handshake may take long
            await self._end(decision.code, decision.reason)
            return unhandled
        finally:
            self._record_end()
            self._release()

    def _stop_watch(self) -> None:
        self._websocket.context.nursery = None
        if self._rule is not None:
            self._rule.stop()
        elif self._websocket.accepted:
            self._websocket.context.open_channel().closing.observer = None

    def _release(self) -> None:
        """Break the reference cycles through the context, so that memory is freed without the garbage collector."""
        context = self._websocket.context
        context.on_accept = context.answer_headers = context.close_code_of = context.invocation = None
        context.disconnect_callbacks = ()
        context.handshake = HANDSHAKE_OVER
        if context.expiry is not None:
            context.expiry.stop()
        if context.channel is not None:
            remove_instruments(context.channel)

    async def _end(self, code: int, reason: str) -> None:
        """Send a close frame if there was none, run `on_disconnect`, wait for the end of the network connection."""
        context = self._websocket.context
        if context.channel is None:
            return
        channel = context.channel
        channel.closing.begin_close(code, reason)
        context.handler_finished = True
        if channel.closing.gone and not context.disconnect_callbacks:
            return
        with trio.CancelScope(shield=True):  # each of its parts is bounded
            await channel.closing.wait_ended()
            for callback in context.disconnect_callbacks:
                await self._clean_up(callback, self._websocket.close_code or code)
            await channel.closing.wait_gone()

    async def _clean_up(self, callback: Callable[..., Awaitable[object]], code: int) -> None:
        seconds = self._timeouts.cleanup_timeout
        with trio.move_on_after(seconds, shield=True) as scope:
            try:
                await callback(self._websocket, code)
            except Exception as error:
                await self._report(error)
        if scope.cancelled_caught:
            self._log.warning("on_disconnect of %s took longer than cleanup_timeout, %g s: it was cancelled", seconds)

    # --- the handler's outcome -----------------------------------------------------------------------------------

    async def _refuse(self, error: Exception | None) -> Exception | None:
        """Answer a handshake that the handler did not accept, unless it was rejected; return an unhandled error."""
        context = self._websocket.context
        handshake = context.handshake
        error = self._reduced(error)
        if context.rejected or handshake is None:
            if error is not None and not self._is_refusal(error):
                await self._report(error)
                return error
            return None
        match error:
            case None if self._cancel_reason:
                pass  # the client left
            case None:
                self._log.warning("handler of %s returned without accept() or reject(): rejected with 403", status=403)
                await handshake.reject(403, (), b"")
            case Reject(status=status, headers=headers, body=body):
                try:
                    await handshake.reject(status, headers, body)
                except ValueError as problem:  # it cannot be sent, and its raiser cannot handle that any more
                    return await self._refuse(problem)
            case WebSocketException():
                await handshake.reject(403, (), error.reason.encode())
            case WebSocketDisconnect() if context.is_own_disconnect(error):
                pass  # accept() found that the client had left
            case _:
                decision = context.decide_close(error)
                if decision.handled:
                    await refuse_with(decision, error, handshake, self._log)
                    return None
                await self._report(error)
                await handshake.reject(500, (), b"")
                return error
        return None

    def _is_refusal(self, error: BaseException) -> bool:
        """Return True for a wish to refuse the handshake, and for this client's disconnect."""
        return isinstance(error, Reject | WebSocketException) or self._websocket.context.is_own_disconnect(error)

    def _reduced(self, error: Exception | None) -> Exception | None:
        """Return the first refusal in a group of nothing else, else `error`."""
        found = list(leaves(error))
        return cast("Exception", found[0]) if found and all(map(self._is_refusal, found)) else error

    def _decide_close(self, error: Exception | None) -> CloseDecision:
        context = self._websocket.context
        for leaf in leaves(error):
            if isinstance(leaf, WebSocketDisconnect) and context.is_own_disconnect(leaf):
                self._log_disconnect(leaf)
        return context.decide_close(error)

    async def _report(self, error: BaseException) -> None:
        """Log one record, then call `on_error`, which has `cleanup_timeout`."""
        self._log.error("error in the handler of %s", error=error)
        self._notify("handler_failed", error)
        if self._service.on_error is not None:
            seconds = self._timeouts.cleanup_timeout
            with trio.move_on_after(seconds, shield=True) as scope:
                try:
                    await self._service.on_error(self._websocket, error)
                except Exception:
                    self._log.exception("error in on_error of %s")
            if scope.cancelled_caught:
                self._log.warning("on_error of %s took longer than cleanup_timeout, %g s: it was cancelled", seconds)

    # --- records -------------------------------------------------------------------------------------------------

    def _notify(self, hook: str, *arguments: Any) -> None:
        if self._service.instruments is not None:
            self._service.instruments.notify(hook, self._websocket, *arguments)

    def _log_disconnect(self, end: WebSocketDisconnect) -> None:
        """Log a disconnect that ended the handler, unless it is normal or a shutdown's."""
        if self._rule is None and end.while_sending:
            self._log.warning("%s: send() after this side's own close(), with %d: nothing was sent", int(end.code))
            return
        if self._rule is not None and self._rule.server_ends:
            return
        if not self._websocket.context.is_normal_close(end.code):
            reason = escaped(end.reason)
            self._log.info("%s: closed with %d, reason '%s'", end.code, reason, code=int(end.code), reason=reason)

    def _record_end(self) -> None:
        """Log the end of the connection, and notify the instruments."""
        websocket = self._websocket
        channel, handshake = websocket.context.channel, websocket.context.handshake
        if channel is not None:
            record_close(self._log, channel)
        elif handshake is not None and handshake.status:
            self._log.debug("%s answered with %d", handshake.status, status=handshake.status)
            self._notify("handshake_answered", handshake.status)
        self._notify("connection_closed", websocket.close_info)


def _combined(own: Exception | None, group: ExceptionGroup[Exception]) -> Exception:
    """Return one error for those of the handler and its tasks."""
    if own is None:
        return _unwrapped(group)
    return ExceptionGroup("handler and its tasks", [own, *group.exceptions])


def _unwrapped(error: Exception) -> Exception:
    """Return the only error of a group that the nursery made, else the group."""
    while isinstance(error, ExceptionGroup) and len(error.exceptions) == 1:
        error = error.exceptions[0]
    return error
