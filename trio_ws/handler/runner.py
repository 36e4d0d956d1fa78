"""Lifecycle: runs one connection's handler in its nursery, and ends the connection as its outcome demands.

The order is always the same: enter what is around the handler, accept, `on_connect`, handler, leave what is around it;
close frame; `on_disconnect`; end of the network connection.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

import trio

from trio_ws.codes import CloseCode
from trio_ws.connection.channel import HANDSHAKE_OVER
from trio_ws.connection.instrumented import remove_instruments
from trio_ws.errors import Reject, WebSocketDisconnect, WebSocketException
from trio_ws.handler.disconnect import DisconnectRule
from trio_ws.protocol.endpoint import CloseInfo
from trio_ws.runtime.log import escaped
from trio_ws.websocket.close_code import CloseDecision, leaves

if TYPE_CHECKING:
    from trio_ws.config import Timeouts
    from trio_ws.connection.channel import Channel
    from trio_ws.handler.service import Service
    from trio_ws.runtime.log import ConnectionLog
    from trio_ws.runtime.timers import Timers
    from trio_ws.websocket.websocket import DisconnectCallback, WebSocket

__all__ = ["HandlerRunner"]


class HandlerRunner:
    """One connection's life on the server, from the request on. What is before and after it is its heirs'.

    They are one object with it, and share its coroutine: an idle connection keeps all objects, and the frames of all
    coroutines between its task and the handler, through which each message passes, too.

    Args:
        timers: calls the deadlines of the disconnect rule.
    """

    __slots__ = ("_cancelled", "_open_time", "_rule", "_service", "_timeouts", "_timers", "_websocket")

    _service: Service
    _timeouts: Timeouts
    _websocket: WebSocket

    def __init__(self, timers: Timers) -> None:
        self._timers = timers
        self._open_time = 0.0
        self._cancelled = ""  # why, if it was cancelled
        self._rule: DisconnectRule | None = None  # not made before it has something to say

    def serve(self, websocket: WebSocket, service: Service, timeouts: Timeouts) -> None:
        """Say what the connection is for, before `run` needs to know.

        Args:
            websocket: not answered yet, its gate set.
            service: what to do with it.
            timeouts: of the disconnect rule and of cleaning up.
        """
        self._websocket = websocket
        self._service = service
        self._timeouts = timeouts
        if not websocket._log.path:  # under a server of somebody else's
            websocket._log.set_request(websocket.request.target, websocket.client)
        websocket._on_accept = self._begin_watch
        if service.close_code_of is not None:
            websocket._close_code_of = self._close_code_of
        websocket._cleanup_timeout = timeouts.cleanup_timeout
        if service.on_disconnect is not None:
            websocket._farewells = (service.on_disconnect,)

    @property
    def _log(self) -> ConnectionLog:
        return self._websocket._log

    def cancel_handler(self, why: str) -> None:
        """Cancel the handler, and what belongs to it."""
        self._cancelled = why
        if self._websocket._scope is not None:
            self._websocket._scope.cancel(reason=why)

    async def run(self) -> Exception | None:
        """Run the connection to its end; return what went wrong in the handler, as far as nobody foresaw it.

        Cancellation closes the connection with 1001, and still runs `on_disconnect`.
        """
        error: Exception | None = None  # few names: each takes 16 bytes of each idle connection
        try:
            if await self._opened():
                try:
                    # Said here, because a run of Trio may have it otherwise, and a child task's error is to stay here.
                    async with trio.open_nursery(strict_exception_groups=True) as nursery:
                        self._begin(nursery)
                        try:
                            if self._service.around is None:
                                await self._greet()
                                await self._service.handler(self._websocket)
                            else:
                                async with self._service.around(self._websocket):
                                    await self._greet()
                                    await self._service.handler(self._websocket)
                        except Exception as failure:
                            error = failure
                        if self._websocket._nursery_known or nursery.child_tasks:
                            nursery.cancel_scope.cancel(reason="the handler has ended")
                except ExceptionGroup as failure:
                    error = _combined(error, failure)
                except BaseException:
                    await self._break_off()
                    raise
                error = await self._conclude(error)
            await self._see_off()
        except Exception as failure:
            error = self._failed(failure)
        finally:
            await self._over(error)
        try:
            return self._outcome(error)
        finally:
            del error  # its traceback knows this frame

    # --- what heirs do besides -----------------------------------------------------------------------------------

    async def _opened(self) -> bool:
        """Begin; return whether there is something to `serve`."""
        self._tell("connection_opened")
        return True

    async def _see_off(self) -> None:
        """Do what is to be done for the client, unless the server itself has come to grief."""

    def _failed(self, failure: Exception) -> Exception:
        """Take note of an error that is not the handler's."""
        raise failure

    async def _over(self, error: Exception | None) -> None:
        """Leave nothing behind, however it ended."""

    def _outcome(self, error: Exception | None) -> Exception | None:
        """Return what `run` is to return, or raise it."""
        return error

    # --- the handler ---------------------------------------------------------------------------------------------

    def _begin(self, nursery: trio.Nursery) -> None:
        websocket = self._websocket
        websocket._nursery = nursery
        # The nursery's: one of our own would be a kilobyte for nothing.
        websocket._scope = nursery.cancel_scope
        if self._cancelled:
            nursery.cancel_scope.cancel(reason=self._cancelled)

    async def _greet(self) -> None:
        websocket, service = self._websocket, self._service
        if service.auto_accept:
            await websocket.accept()
        if service.on_connect is not None:
            await service.on_connect(websocket)

    def _begin_watch(self) -> None:
        """The handshake was answered with yes: the disconnect rule begins to hold."""
        websocket = self._websocket
        websocket._on_accept = None
        channel = websocket._open_channel()
        channel.closing.observer = self
        if channel.close_info is not None:  # all that came early ended with a close frame
            self.on_closed(str(channel.close_info), waited_for=False)
        self._open_time = trio.current_time()
        self._log.debug("%s is open")
        if self._service.instruments is not None:
            self._tell("handshake_answered", 101)
            self._service.instruments.observe_messages(websocket)

    # --- what the channel calls, until there is a rule for it to call --------------------------------------------

    def _make_rule(self) -> DisconnectRule:
        """Make the disconnect rule, and let it watch the channel in our place."""
        scope = cast("trio.CancelScope", self._websocket._scope)  # a handshake is answered in the nursery
        policy = self._service.when_peer_leaves
        self._rule = DisconnectRule(
            self._websocket._open_channel(), scope, policy, self._timeouts, self._timers, self._log
        )
        return self._rule

    def on_closed(self, why: str, *, waited_for: bool) -> None:
        """The connection has ended, not by the handler's own `close`."""
        self._make_rule().on_closed(why, waited_for=waited_for)

    def on_drain(self, *, waited_for: bool) -> None:
        """The server says goodbye."""
        self._make_rule().on_drain(waited_for=waited_for)

    def on_peer_gone(self, why: str) -> None:
        """Nobody has said goodbye to the peer that is gone: the handler itself has ended the connection."""

    def on_end_raised(self) -> None:
        """A user was told of the end that the handler itself has brought about: its time is its own."""

    def on_read_after_end(self) -> None:
        """Something in the handler takes what had arrived before it ended the connection."""

    # --- ending --------------------------------------------------------------------------------------------------

    async def _break_off(self) -> None:
        """The handler was cancelled from outside: end the connection."""
        self._handler_has_ended()
        try:
            await self._end(CloseCode.GOING_AWAY, "")
        finally:
            self._note_how_it_ended()
            self._let_go()

    async def _conclude(self, error: Exception | None) -> Exception | None:
        """End the connection as the handler's error demands; return the error if nobody foresaw it."""
        self._handler_has_ended()
        try:
            if not self._websocket.accepted:
                return await self._answer_no(error)
            verdict = self._judge(error)
            unforeseen = None if verdict.foreseen else error
            if unforeseen is not None:
                await self._report(unforeseen)  # now: the closing handshake may take its time
            await self._end(verdict.code, verdict.reason)
            return unforeseen
        finally:
            self._note_how_it_ended()
            self._let_go()

    def _handler_has_ended(self) -> None:
        self._websocket._nursery = None
        if self._rule is not None:
            self._rule.stop()
        elif self._websocket.accepted:
            self._websocket._open_channel().closing.observer = None

    def _let_go(self) -> None:
        """Part the connection from those who know it: so its memory is free now, not at the next search for cycles."""
        websocket = self._websocket
        websocket._on_accept = websocket._on_answer = websocket._close_code_of = websocket._listen = None
        websocket._farewells = ()
        websocket._gate = HANDSHAKE_OVER
        if websocket._channel is not None:
            remove_instruments(websocket._channel)

    async def _end(self, code: int, reason: str) -> None:
        """Send the close frame if there was none, run `on_disconnect`, and see the network connection off."""
        websocket = self._websocket
        if not websocket.accepted:
            return
        channel = websocket._open_channel()
        channel.closing.begin_close(code, reason)
        websocket._finished = True
        if channel.closing.gone and not websocket._farewells:
            return
        with trio.CancelScope(shield=True):  # each of its parts is bounded
            await channel.closing.wait_ended()
            for farewell in websocket._farewells:
                await self._clean_up(farewell, websocket.close_code or code)
            await channel.closing.wait_gone()

    async def _clean_up(self, farewell: DisconnectCallback, code: int) -> None:
        seconds = self._timeouts.cleanup_timeout
        with trio.move_on_after(seconds, shield=True) as scope:
            try:
                await farewell(self._websocket, code)
            except Exception as error:
                await self._report(error)
        if scope.cancelled_caught:
            self._log.warning("on_disconnect of %s took longer than cleanup_timeout, %g s: it was cancelled", seconds)

    async def _answer_no(self, error: Exception | None) -> Exception | None:
        """The handler has ended without a yes: answer no, unless it has."""
        websocket = self._websocket
        gate = websocket._gate
        error = self._reduced(error)
        if websocket._rejected or gate is None:
            if error is not None and not self._is_refusal(error):
                await self._report(error)
                return error
            return None
        match error:
            case None if self._cancelled:
                pass  # the client left
            case None:
                self._log.warning("handler of %s returned without accept() or reject(): rejected with 403", status=403)
                await gate.reject(403, (), b"")
            case Reject(status=status, headers=headers, body=body):
                try:
                    await gate.reject(status, headers, body)
                except ValueError as problem:  # it cannot be sent, and whoever raised it is not there to be told
                    return await self._answer_no(problem)
            case WebSocketException():
                await gate.reject(403, (), error.reason.encode())
            case WebSocketDisconnect() if websocket._owns(error):
                pass  # accept() found that the client had left
            case _:
                await self._report(error)
                await gate.reject(500, (), b"")
                return error
        return None

    def _is_refusal(self, error: BaseException) -> bool:
        """Say whether, before the answer, it is no error: a wish to refuse, or that this client has left."""
        return isinstance(error, Reject | WebSocketException) or self._websocket._owns(error)

    def _reduced(self, error: Exception | None) -> Exception | None:
        """Return the first refusal in a group of nothing else, else `error`."""
        found = list(leaves(error))
        return cast("Exception", found[0]) if found and all(map(self._is_refusal, found)) else error

    def _judge(self, error: Exception | None) -> CloseDecision:
        for leaf in leaves(error):
            if isinstance(leaf, WebSocketDisconnect) and self._websocket._owns(leaf):
                self._note_end(leaf)
        return self._websocket._judge(error)

    def _note_end(self, end: WebSocketDisconnect) -> None:
        if self._rule is not None and self._rule.server_ends:
            return  # a restart is no news of each connection's
        if not self._websocket.is_normal_close(end.code):
            reason = escaped(end.reason)
            self._log.info("%s: closed with %d, reason '%s'", end.code, reason, code=int(end.code), reason=reason)

    def _close_code_of(self, error: BaseException) -> int | None:
        """Ask the application's map, whose own errors are no reason to end the server."""
        if self._service.close_code_of is None:
            return None
        try:
            return self._service.close_code_of(error)
        except Exception:
            self._log.exception("error in close_code_of for %s")
            return None

    async def _report(self, error: BaseException) -> None:
        """Log one record, then call `on_error`, which has `cleanup_timeout`."""
        self._log.error("error in the handler of %s", error=error)
        self._tell("handler_failed", error)
        if self._service.on_error is not None:
            seconds = self._timeouts.cleanup_timeout
            with trio.move_on_after(seconds, shield=True) as scope:
                try:
                    await self._service.on_error(self._websocket, error)
                except Exception:
                    self._log.exception("error in on_error of %s")
            if scope.cancelled_caught:
                self._log.warning("on_error of %s took longer than cleanup_timeout, %g s: it was cancelled", seconds)

    # --- what others are told ------------------------------------------------------------------------------------

    def _tell(self, hook: str, *arguments: Any) -> None:
        if self._service.instruments is not None:
            self._service.instruments.tell(hook, self._websocket, *arguments)

    def _note_how_it_ended(self) -> None:
        """Log it, and tell the instruments."""
        websocket = self._websocket
        if websocket.accepted:
            self._log_close(websocket._open_channel())
        elif websocket._gate is not None and websocket._gate.status:
            status = websocket._gate.status
            self._log.debug("%s answered with %d", status, status=status)
            self._tell("handshake_answered", status)
        self._tell("connection_closed", websocket.close_info)

    def _log_close(self, channel: Channel) -> None:
        if not self._log.debug_enabled:
            return
        info = channel.close_info or CloseInfo(CloseCode.ABNORMAL_CLOSURE, "", "network")
        seconds = trio.current_time() - self._open_time
        reason = escaped(info.reason)
        self._log.debug(
            "%s closed after %.3f s with %d, reason '%s', by %s",
            seconds,
            info.code,
            reason,
            info.by,
            code=int(info.code),
            reason=reason,
            closed_by=info.by,
            seconds=seconds,
            messages_received=channel.reader.received,
            messages_sent=channel.writer.sent,
        )


def _combined(own: Exception | None, group: ExceptionGroup[Exception]) -> Exception:
    """Return as one what the handler and its tasks raised."""
    if own is None:
        return _unwrapped(group)
    return ExceptionGroup("handler and its tasks", [own, *group.exceptions])


def _unwrapped(error: Exception) -> Exception:
    """Return the one error in a group that the nursery made for nothing else, else the group."""
    while isinstance(error, ExceptionGroup) and len(error.exceptions) == 1:
        error = error.exceptions[0]
    return error
