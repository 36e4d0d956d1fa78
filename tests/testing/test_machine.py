"""`WebSocketMachine` keeps the library's promises, and finds planted faults with their shortest runs."""

from __future__ import annotations

from typing import Any, ClassVar

import pytest
import trio
from hypothesis import Phase, find, settings
from hypothesis.stateful import RULE_MARKER, invariant, precondition, rule, run_state_machine_as_test
from support.handlers import echo

from trio_ws import App, Limits, WebSocket
from trio_ws.testing import GENTLE_KINDS
from trio_ws.testing.chaos_steps import CHAOS_KINDS
from trio_ws.testing.machine import WebSocketMachine

app = App()
FEW = settings(max_examples=5, stateful_step_count=12, deadline=None, database=None)
FINDING = settings(FEW, max_examples=500, stateful_step_count=30, derandomize=True, phases=[Phase.generate])


app.websocket("/echo")(echo)


class EchoMachine(WebSocketMachine):
    app = app
    path = "/echo"

    @invariant()
    def it_echoes(self) -> None:
        assert self.received == self.sent[: len(self.received)]


class IdleMachine(WebSocketMachine):
    """Both ends are the library's own, one with little room."""

    connect_options: ClassVar[dict[str, Any]] = {
        "limits": Limits(inbox_messages=1, inbox_bytes=100, outbox_bytes=50),
        "compression": True,
    }


class ChatMachine(WebSocketMachine):
    """Rules of a user's own, with the async API."""

    app = app
    path = "/echo"
    server_acts = False

    def __init__(self) -> None:
        super().__init__()
        self.bursts = 0

    @precondition(lambda self: self.connected)
    @rule()
    def burst(self) -> None:
        async def send_three() -> None:
            for number in range(3):
                await self.async_ws.send(f"burst {number}")

        self.send_all(send_three)
        self.bursts += 1

    def send_all(self, function: Any) -> None:
        self._attempted += [f"burst {number}" for number in range(3)]
        self.run(function)


class TalkingMachine(WebSocketMachine):
    """Both ends send, receive, ping and close at random, on a network that breaks."""

    server_talks = True
    chaos = CHAOS_KINDS

    async def app(ws: WebSocket) -> None:  # noqa: N805 - a handler, not a method
        while True:
            await trio.sleep(5)
            await ws.receive()


class GentleMachine(EchoMachine):
    chaos = GENTLE_KINDS


class HandlerMachine(WebSocketMachine):
    async def app(ws: WebSocket) -> None:  # noqa: N805 - a handler, not a method
        async for message in ws:
            await trio.sleep(0.1)
            await ws.send(message)


TestEcho = EchoMachine.TestCase
TestTalking = TalkingMachine.TestCase
TestGentle = GentleMachine.TestCase
TestIdle = IdleMachine.TestCase
TestChat = ChatMachine.TestCase
TestHandler = HandlerMachine.TestCase
for case in TestEcho, TestTalking, TestGentle, TestIdle, TestChat, TestHandler:
    case.settings = FEW


@pytest.mark.slow
def test_a_fault_of_the_application_is_found_with_its_calls() -> None:
    broken = App()

    @broken.websocket("/echo")
    async def impolite(ws: WebSocket) -> None:
        async for message in ws:
            await ws.send(message or "nothing")

    class Broken(EchoMachine):
        app = broken

        @precondition(lambda self: self.connected)
        @rule()
        def send_nothing(self) -> None:
            self.send("")

    with pytest.raises(AssertionError) as caught:
        run_state_machine_as_test(Broken, settings=FINDING)
    story = "\n".join(caught.value.__notes__)
    assert "state.send_nothing()" in story
    assert "state.connect(" in story


@pytest.mark.slow
def test_an_error_of_the_handler_is_raised() -> None:
    class Raising(WebSocketMachine):
        async def app(ws: WebSocket) -> None:  # noqa: N805 - a handler, not a method
            await ws.receive()
            raise ZeroDivisionError("in the handler")

    with pytest.raises((ZeroDivisionError, ExceptionGroup)) as caught:  # one, or those of several connections
        run_state_machine_as_test(Raising, settings=FINDING)
    assert "in the handler" in repr(caught.value)


def test_what_is_cancelled_may_be_cancelled_at_once() -> None:
    """A call that begins cancelled does nothing, which is a promise, too."""
    rules = [getattr(each, RULE_MARKER) for each in vars(WebSocketMachine).values() if hasattr(each, RULE_MARKER)]
    turns = [each.arguments["turns"] for each in rules if "turns" in each.arguments]
    assert len(turns) >= 5
    once = settings(FINDING, max_examples=50)
    assert {find(strategy, lambda number: number == 0, settings=once) for strategy in turns} == {0}
    assert {find(strategy, lambda number: number == 6, settings=once) for strategy in turns} == {6}


def test_a_torn_frame_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    from trio_ws.testing.memory_stream import Pipe

    put = Pipe.put

    def tearing(self: Pipe, data: memoryview) -> int:
        taken = put(self, data)
        if self.record is not None and bytes(data[:1]) == b"\x89" and taken > 2:
            self.record.insert(-1, 0)  # as if a byte of a ping had come twice
        return taken

    monkeypatch.setattr(Pipe, "put", tearing)
    with pytest.raises(Exception, match=r"RFC 6455|inside a frame|not in order|no send|not sent"):
        run_state_machine_as_test(WebSocketMachine, settings=FINDING)
