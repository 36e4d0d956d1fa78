"""A state machine over a handler, for Hypothesis, in virtual time (extra `testing`)."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Awaitable, Callable, Collection
from contextlib import ExitStack
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

import trio
import trio.testing
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from trio_ws.errors import ConnectError, WebSocketDisconnect
from trio_ws.handler.service import Service
from trio_ws.testing.chaos_network import ChaosNetwork
from trio_ws.testing.client import TestClient
from trio_ws.testing.oracle import Sender, messages_of, parse_frames
from trio_ws.testing.raw_head import HEAD_END
from trio_ws.testing.strategies import close_codes, messages, texts
from trio_ws.testing.wire import Recording, check_recording, recorded

if TYPE_CHECKING:
    from trio_ws.testing.blocking import BlockingTestClient, BlockingTestWebSocket
    from trio_ws.websocket.websocket import WebSocket

__all__ = ["WebSocketMachine"]

T = TypeVar("T")

CHAOS_TIMEOUT = 120.0
"""Seconds that a wait may take on a bad network, which stalls."""
_TURNS = st.integers(0, 6)
_MESSAGES = messages(max_size=300)


class WebSocketMachine(RuleBasedStateMachine):
    """Does random things on both ends of a connection, and checks the library's promises after each of them.

    A subclass names the application, and adds rules and invariants of its own. `TestChat = ChatMachine.TestCase` is
    the test; it needs no plugin, and works with pytest-trio. A failing run is printed as the calls that it made, the
    fewest that fail, and is replayed first by the next run.

    The promises: frames are whole and valid; what a completed send has sent arrives once, in order; what was cancelled
    arrives whole or not at all; a cancelled receive loses nothing; nothing waits forever; an end is an end for
    everyone; nothing is left behind.

    Example:
        class EchoMachine(WebSocketMachine):
            app = app
            path = "/echo"

            @invariant()
            def it_echoes(self):
                assert self.received == self.sent[: len(self.received)]

        TestEcho = EchoMachine.TestCase
    """

    app: ClassVar[Any] = None
    """The `App`, or a handler that takes the `WebSocket`; None for a handler that only echoes."""
    path: ClassVar[str] = "/"
    """Path and query of the connections."""
    client_options: ClassVar[dict[str, Any]] = {}
    """Further arguments of `TestClient`, such as `overrides` or `network`."""
    connect_options: ClassVar[dict[str, Any]] = {}
    """Further arguments of `websocket_connect`, such as `limits` or `compression`."""
    server_acts: ClassVar[bool] = True
    """False to leave the server's end to the handler: no pings, and no closes from there."""
    server_talks: ClassVar[bool] = False
    """True to let the server's end send and receive at random too, beside a handler that leaves room for that."""
    chaos: ClassVar[Collection[str]] = ()
    """The kinds of steps of a `ChaosNetwork` to connect over, such as `GENTLE_KINDS`; its seed is drawn."""

    client: BlockingTestClient
    """Serves the application, in virtual time."""
    ws: BlockingTestWebSocket
    """The client's end of the connection."""

    def __init__(self) -> None:
        super().__init__()
        self.received: list[str | bytes] = []
        """The messages that the client has received on this connection."""
        self.completed: list[str | bytes] = []
        """The messages of the client's sends that have returned."""
        self.server_received: list[str | bytes] = []
        """The messages that `server_receives` has taken from the handler."""
        self.server_completed: list[str | bytes] = []
        """The messages of `server_sends` that were sent."""
        self.connected: bool = False
        """False once the client knows that the connection has ended."""
        self._attempted: list[str | bytes] = []
        self._recordings: list[Recording] = []
        self._stack = ExitStack()
        self._connection = ExitStack()

    # --- for rules of subclasses ---------------------------------------------------------------------------------

    def run(self, function: Callable[..., Awaitable[T]], *args: Any) -> T:
        """Call an async function in the loop of client and server; return its value or raise its error.

        `run(self.async_ws.send, "hello")` is what a rule does with the async `WebSocket`.
        """
        return self.client.run(function, *args)

    @property
    def async_ws(self) -> WebSocket:
        """The client's end, for functions that `run` calls."""
        return self.ws.websocket

    @property
    def server_ws(self) -> WebSocket | None:
        """The server's end, for functions that `run` calls; None if the handler has not begun."""
        found = self.client.server_websockets
        return found[-1] if found else None

    @property
    def sent(self) -> list[str | bytes]:
        """The messages that the client's end has sent, those of cancelled sends too if they went out."""
        return _messages(self._recordings[-1], "client")

    @property
    def replies(self) -> list[str | bytes]:
        """The messages that the server's end has sent, received or not."""
        return _messages(self._recordings[-1], "server")

    def ended(self) -> None:
        """Note that the client knows of the end of the connection; called for a `WebSocketDisconnect`."""
        self.connected = False

    # --- begin and end -------------------------------------------------------------------------------------------

    @initialize(seed=st.integers(0, 1 << 16))
    def connect(self, seed: int) -> None:
        """Serve the application and connect to it; the seed is that of the network, if it is to be a bad one."""
        responder = self.app
        if responder is None or not hasattr(responder, "responder"):
            responder = _OneHandler(_echo if responder is None else type(self).__dict__.get("app", responder))
        bad = {"network": ChaosNetwork(seed=seed, kinds=self.chaos), "timeout": CHAOS_TIMEOUT} if self.chaos else {}
        options = {"virtual_time": True, **bad, **self.client_options}
        self.client = self._stack.enter_context(TestClient(responder, **options))
        self._open()

    def _open(self) -> None:
        self._connection.close()
        self._connection = ExitStack()
        self.received, self.completed, self._attempted = [], [], []
        self.server_received, self.server_completed = [], []
        try:
            with recorded() as recordings:
                connection = self.client.websocket_connect(self.path, **self.connect_options)
                self.ws = self._connection.enter_context(connection)
        except ConnectError:
            if not self.chaos:
                raise
            recordings = []  # the network broke it: the next `reconnect` tries again
        self._recordings, self.connected = recordings, bool(recordings)
        self.run(_settled, trio.lowlevel.checkpoint)

    def teardown(self) -> None:
        """End the connection and the server, and check what they leave."""
        failing = sys.exc_info()[0] is not None
        try:
            with self._stack, contextlib.suppress(WebSocketDisconnect):
                self._connection.close()
        except Exception:
            if not failing:
                raise
        if not failing:
            self._check_wires()

    # --- what the client does ------------------------------------------------------------------------------------

    @precondition(lambda self: self.connected)
    @rule(message=_MESSAGES)
    def send(self, message: str | bytes) -> None:
        """Send a message."""
        self._attempted.append(message)
        if self._act(self.async_ws.send, message):
            self.completed.append(message)

    @precondition(lambda self: self.connected)
    @rule(message=_MESSAGES, turns=_TURNS)
    def send_cancelled(self, message: str | bytes, turns: int) -> None:
        """Send a message, and cancel that after some turns of the scheduler."""
        self._attempted.append(message)
        if self._act(_cancelled, turns, partial(self.async_ws.send, message)) is True:
            self.completed.append(message)

    @precondition(lambda self: self.connected)
    @rule()
    def receive(self) -> None:
        """Receive a message, if one comes within a second."""
        self._act(_within, 1.0, self._receive)

    @precondition(lambda self: self.connected)
    @rule(turns=_TURNS)
    def receive_cancelled(self, turns: int) -> None:
        """Begin to receive, and cancel that after some turns of the scheduler."""
        self._act(_cancelled, turns, self._receive)

    @precondition(lambda self: self.connected)
    @rule(payload=st.binary(max_size=125))
    def ping(self, payload: bytes) -> None:
        """Ping the server, and wait at most a second for the pong."""
        self._act(_within, 1.0, partial(self.async_ws.ping, payload))

    @precondition(lambda self: self.connected)
    @rule(code=close_codes(), reason=texts(max_size=20))
    def close(self, code: int, reason: str) -> None:
        """Close the connection; the server has to answer."""
        self._act(self.async_ws.ensure_closed, code, reason)
        assert self.async_ws.close_code is not None, "closing returned, and the connection has not ended"
        self.ended()

    @rule(seconds=st.sampled_from([0.001, 0.1, 1.0, 30.0]))
    def wait(self, seconds: float) -> None:
        """Let time pass."""
        self.run(_settled, partial(trio.sleep, seconds))

    @precondition(lambda self: not self.connected)
    @rule()
    def reconnect(self) -> None:
        """Connect again after the end."""
        with contextlib.suppress(WebSocketDisconnect):
            self._connection.close()
        self._check_wires()
        self._open()

    # --- what the server's end does ------------------------------------------------------------------------------

    @precondition(lambda self: self._server_can_act())
    @rule(turns=_TURNS)
    def server_pings(self, turns: int) -> None:
        """Ping the client from the server's end, and cancel that after some turns."""
        self._server_acts(lambda ws: _cancelled(turns, partial(ws.ping, b"?")))

    @precondition(lambda self: self._server_can_act())
    @rule(code=close_codes(), turns=_TURNS)
    def server_closes(self, code: int, turns: int) -> None:
        """Close from the server's end, and stop waiting for the answer after some turns."""
        self._server_acts(lambda ws: _cancelled(turns, partial(ws.ensure_closed, code)))

    @precondition(lambda self: self.server_talks and self._server_can_act())
    @rule(message=_MESSAGES)
    def server_sends(self, message: str | bytes) -> None:
        """Send a message from the server's end, within a second."""

        async def send(ws: WebSocket) -> None:
            if await _within(1.0, partial(ws.send, message)):
                self.server_completed.append(message)

        self._server_acts(send)

    @precondition(lambda self: self.server_talks and self._server_can_act())
    @rule(turns=_TURNS)
    def server_receives(self, turns: int) -> None:
        """Begin to receive on the server's end, unless the handler does, and cancel that after some turns."""

        async def receive(ws: WebSocket) -> None:
            with contextlib.suppress(trio.BusyResourceError):
                self.server_received.append(await ws.receive())

        self._server_acts(lambda ws: _cancelled(turns, partial(receive, ws)))

    def _server_can_act(self) -> bool:
        return self.server_acts and self.connected and self.server_ws is not None

    def _server_acts(self, act: Callable[[WebSocket], Awaitable[object]]) -> None:
        websocket = self.server_ws
        assert websocket is not None
        with contextlib.suppress(WebSocketDisconnect):
            self.run(_settled, partial(act, websocket))

    # --- the promises --------------------------------------------------------------------------------------------

    @invariant()
    def frames_are_whole_and_valid(self) -> None:
        """No side has sent a frame that breaks a rule."""
        self._check_wires()

    @invariant()
    def completed_sends_are_on_their_way(self) -> None:
        """Messages of completed sends were sent in order; others were cancelled, and whole if they were sent."""
        if self._recordings:
            sent = self.sent
            _check_within(sent, self._attempted, "sent what no send was called with")
            if self.async_ws.connected:
                _check_within(self.completed, sent, "a send returned, and its message was not sent")

    @invariant()
    def received_messages_are_those_sent(self) -> None:
        """The client receives what the server has sent, in order, and each message once."""
        if self._recordings:
            replies = self.replies
            assert self.received == replies[: len(self.received)], "received what was not sent, or not in order"
            _check_within(self.server_received, self.sent, "the server received what was not sent, or not in order")

    @invariant()
    def completed_sends_of_the_server_are_on_their_way(self) -> None:
        """Messages of completed `server_sends` were sent in order, between those of the handler."""
        if self._recordings and self.async_ws.connected:
            _check_within(self.server_completed, self.replies, "the server's send returned, and was not sent")

    @invariant()
    def an_end_is_an_end(self) -> None:
        """After the end there is a close code, and a send raises."""
        if self._recordings and not self.connected:
            assert self.async_ws.close_code is not None

    # --- parts ---------------------------------------------------------------------------------------------------

    async def _receive(self) -> None:
        self.received.append(await self.async_ws.receive())

    def _act(self, function: Callable[..., Awaitable[Any]], *args: Any) -> Any:
        """Call an async function; return True for its None, and False if the connection has ended."""
        try:
            value = self.run(_settled, partial(function, *args))
        except WebSocketDisconnect:
            self.ended()
            return False
        return True if value is None else value

    def _check_wires(self) -> None:
        for recording in self._recordings:
            check_recording(recording)


async def _settled(act: Callable[[], Awaitable[T]]) -> T:
    """Do something, then wait until client and server have nothing to do, so that a run is the same each time."""
    try:
        return await act()
    finally:
        await trio.testing.wait_all_tasks_blocked()


async def _cancelled(turns: int, act: Callable[[], Awaitable[object]]) -> bool:
    """Do something, and cancel it after some turns; return whether it was done."""
    end: WebSocketDisconnect | None = None
    async with trio.open_nursery() as nursery:
        with trio.CancelScope() as scope:
            nursery.start_soon(_cancel_after, scope, turns)
            try:
                await act()
            except WebSocketDisconnect as error:
                end = error  # raised as it is, not in the nursery's group
        nursery.cancel_scope.cancel()
    if end is not None:
        raise end
    return not scope.cancelled_caught


async def _cancel_after(scope: trio.CancelScope, turns: int) -> None:
    for _ in range(turns):
        await trio.lowlevel.checkpoint()
    scope.cancel()


async def _within(seconds: float, act: Callable[[], Awaitable[object]]) -> bool:
    with trio.move_on_after(seconds) as scope:
        await act()
    return not scope.cancelled_caught


def _messages(recording: Recording, sender: Sender) -> list[str | bytes]:
    pipe = recording.to_server if sender == "client" else recording.to_client
    frames, _ = parse_frames(bytes(pipe.record or b"").partition(HEAD_END)[2])
    return messages_of(frames, sender=sender)


def _check_within(few: list[Any], many: list[Any], complaint: str) -> None:
    """Check that `few` is `many` with some left out."""
    rest = iter(many)
    assert all(any(one == other for other in rest) for one in few), f"{complaint}: {few!r:.300} of {many!r:.300}"


async def _echo(ws: WebSocket) -> None:
    async for message in ws:
        await ws.send(message)


class _OneHandler:
    """A responder with one handler for every path."""

    settings = None

    def __init__(self, handler: Callable[[WebSocket], Awaitable[object]]) -> None:
        self._service = Service(handler=getattr(handler, "__func__", handler))

    async def page(self, request: Any) -> None:
        """Answer no page."""

    def route(self, request: Any) -> tuple[Any, Service]:
        """Return the service of the handler."""
        return request, self._service
