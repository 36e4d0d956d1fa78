"""What `receive` and `send` return: in C it does what a coroutine does."""

from __future__ import annotations

import collections.abc
import gc
import inspect
import os
import sys
from typing import Any

import pytest
import trio
from support.internals import internal
from trio.testing import assert_checkpoints, wait_all_tasks_blocked

from native.ends import End, end
from trio_ws import Limits, WebSocket
from trio_ws.native import shortcut
from trio_ws.native.choice import core
from trio_ws.websocket import compiled

pytestmark = [
    pytest.mark.usefixtures("kind"),
    pytest.mark.skipif(os.name != "posix", reason="a poller is needed"),
]


def awaitables(ours: End) -> dict[str, Any]:
    return {"receive": ours.ws.receive(), "__anext__": ours.ws.__anext__(), "send": ours.ws.send("x")}


@pytest.mark.parametrize("name", ["receive", "__anext__", "send"])
async def test_an_awaitable_is_what_functions_ask_for(name: str) -> None:
    async with end() as ours:
        made = awaitables(ours)
        assert inspect.isawaitable(made[name])
        assert isinstance(made[name], collections.abc.Coroutine)
        for each in made.values():
            each.close()


async def test_the_methods_are_documented_and_take_keywords() -> None:
    assert "WebSocketDisconnect: the connection has ended" in str(WebSocket.receive.__doc__)
    assert "WebSocketDisconnect: the connection has ended" in str(WebSocket.send.__doc__)
    assert list(inspect.signature(WebSocket.send).parameters) == ["self", "data"]
    async with end() as ours:
        await ours.ws.send(data="x")
        assert ours.got(9) == b"\x81\x01x"
        for wrong in ((), ("x", "y")):
            with pytest.raises(TypeError, match="argument"):
                ours.ws.send(*wrong)
        with pytest.raises(TypeError, match="a message is str"):
            await ours.ws.send(1)


@pytest.mark.parametrize("name", ["receive", "send"])
async def test_a_call_that_is_not_awaited_is_warned_of(name: str) -> None:
    async with end() as ours:
        with pytest.warns(RuntimeWarning, match=rf"^coroutine '\w+\.{name}' was never awaited$"):
            getattr(ours.ws, name)(*("x" for _ in range(name == "send")))


@pytest.mark.parametrize("name", ["receive", "send"])
async def test_a_call_is_awaited_only_once(name: str) -> None:
    async with end() as ours:
        ours.sends("a")
        call = awaitables(ours)
        for other in set(call) - {name}:
            call[other].close()
        await call[name]
        with pytest.raises(RuntimeError, match="cannot reuse already awaited coroutine"):
            await call[name]


async def test_a_closed_call_cannot_be_awaited() -> None:
    async with end() as ours:
        call = ours.ws.receive()
        call.close()
        call.close()
        with pytest.raises(RuntimeError, match="cannot reuse already awaited coroutine"):
            await call


async def test_an_exception_thrown_at_the_start_is_raised() -> None:
    async with end() as ours:
        with pytest.raises(KeyError, match="why"):
            ours.ws.receive().throw(KeyError("why"))


async def test_messages_pass_in_order_in_both_directions() -> None:
    async with end() as ours:
        sent = [*(f"{number}" for number in range(200)), b"", "", b"x" * 200, "\N{EURO SIGN}" * 2000]
        ours.sends(*sent)
        for message in sent:
            got = await ours.ws.receive()
            assert got == message
            await ours.ws.send(got)
        await wait_all_tasks_blocked()
        echoed = ours.got(1 << 20)
        assert echoed.startswith(b"\x81\x010\x81\x011")
        assert echoed.endswith(b"\x81\x7e\x17\x70" + ("\N{EURO SIGN}" * 2000).encode())


async def test_limits_may_be_any_numbers() -> None:
    huge = 1 << 70
    async with end(Limits(max_message_size=huge, inbox_messages=huge, inbox_bytes=huge, outbox_bytes=huge)) as ours:
        ours.sends("x")
        assert await ours.ws.receive() == "x"


async def test_every_call_is_a_checkpoint() -> None:
    async with end() as ours:
        ours.sends(*("x" for _ in range(200)))
        await wait_all_tasks_blocked()
        for count in range(200):
            scope = trio.CancelScope()
            with scope:
                scope.cancel()
                await (ours.ws.send("y") if count % 2 else ours.ws.receive())
            assert scope.cancelled_caught
        for _ in range(200):
            assert await ours.ws.receive() == "x"
        assert ours.connection.sent == 0


async def test_a_long_row_of_calls_lets_others_run() -> None:
    async with end() as ours, trio.open_nursery() as nursery:
        turns: list[int] = []

        async def count() -> None:
            while True:
                turns.append(1)
                await trio.lowlevel.checkpoint()

        nursery.start_soon(count)
        while not turns:
            await trio.lowlevel.checkpoint()
        before = len(turns)
        for _ in range(640):
            await ours.ws.send("x")
        assert 9 <= len(turns) - before <= 11  # within a turn Trio runs tasks in any order
        nursery.cancel_scope.cancel()


async def test_a_waiting_call_is_a_checkpoint_of_trio() -> None:
    async with end() as ours, trio.open_nursery() as nursery:

        async def receive() -> None:
            with assert_checkpoints():
                assert await ours.ws.receive() == "x"

        nursery.start_soon(receive)
        await wait_all_tasks_blocked()
        ours.sends("x")


async def test_a_cancelled_wait_loses_nothing() -> None:
    async with end() as ours:
        for number in range(20):
            with trio.CancelScope() as scope:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(ours.ws.receive)
                    await wait_all_tasks_blocked()
                    scope.cancel()
            ours.sends(str(number))
            assert await ours.ws.receive() == str(number)


async def test_two_waiting_calls_are_one_too_many() -> None:
    async with end() as ours, trio.open_nursery() as nursery:
        nursery.start_soon(ours.ws.receive)
        await wait_all_tasks_blocked()
        with pytest.raises(trio.BusyResourceError):
            await ours.ws.receive()
        nursery.cancel_scope.cancel()


async def test_a_task_of_a_call_can_be_shown() -> None:
    """Debuggers ask Trio for the frames of a task."""
    async with end() as ours, trio.open_nursery() as nursery:
        tasks: list[trio.lowlevel.Task] = []

        async def receive() -> None:
            tasks.append(trio.lowlevel.current_task())
            await ours.ws.receive()

        nursery.start_soon(receive)
        await wait_all_tasks_blocked()
        assert next(frame.f_code.co_name for frame, _ in tasks[0].iter_await_frames()) == "receive"
        nursery.cancel_scope.cancel()


async def test_an_abandoned_connection_is_freed() -> None:
    """No object stays behind, also of a task that waited: one connection's are counted after many others."""

    async def one() -> None:
        async with end() as ours, trio.open_nursery() as nursery:
            nursery.start_soon(ours.ws.receive)
            await wait_all_tasks_blocked()
            nursery.cancel_scope.cancel()
        ours.ws.send("never awaited").close()

    await one()
    gc.collect()
    before = len(gc.get_objects())
    for _ in range(20):
        await one()
    gc.collect()
    assert len(gc.get_objects()) - before < 20


@pytest.mark.skipif(core is None, reason="the compiled core does not run")
async def test_a_slip_of_memory_would_show() -> None:
    """Each message through C, three hundred times, leaves the number of blocks as it was."""
    async with end() as ours:

        async def some(count: int) -> None:
            for _ in range(count):
                ours.sends("x" * 300, b"y" * 3000)
                await ours.ws.send(await ours.ws.receive())
                await ours.ws.send(await ours.ws.receive())
                await wait_all_tasks_blocked()
                ours.got(1 << 20)

        await some(100)
        gc.collect()
        before = sys.getallocatedblocks()
        await some(300)
        gc.collect()
        assert sys.getallocatedblocks() - before < 100


@pytest.mark.skipif(core is None, reason="the compiled core does not run")
@pytest.mark.parametrize("name", [name for name in compiled.wired if name not in ("yield_every", "shortcut")])
def test_what_the_core_is_told_is_checked(name: str) -> None:
    for wrong in ({**compiled.wired, name: int}, {key: value for key, value in compiled.wired.items() if key != name}):
        if name in wrong and not (isinstance(compiled.wired[name], type) and name != "python_socket"):
            continue  # anything goes for a value: it is only called or compared
        with pytest.raises(TypeError):
            core.wire(wrong)


ODD = [None, 1, "x", b"x", [], {}, object()]
STATES = {
    "context": lambda ours: ours.ws.context,
    "channel": lambda ours: ours.connection,
    "reader": lambda ours: ours.connection.reader,
    "writer": lambda ours: ours.connection.writer,
    "inbox": lambda ours: ours.connection.inbox,
    "endpoint": lambda ours: internal(ours.connection.reader, "_endpoint"),
    "outbox": lambda ours: ours.connection.transport.outbox,
    "transport": lambda ours: ours.connection.transport,
}


@pytest.mark.skipif(core is None, reason="the compiled core does not run")
@pytest.mark.parametrize("state", list(STATES))
async def test_odd_attributes_are_errors_and_no_crash(state: str) -> None:
    """Whatever Python code puts into an attribute, or deletes, C leaves to Python."""
    async with end() as ours:
        part = STATES[state](ours)
        base = next(base for base in type(part).__mro__ if base.__name__.endswith("State"))
        for name, member in vars(base).items():
            if type(member).__name__ != "member_descriptor":
                continue
            value = getattr(part, name)
            for odd in (*ODD, "deleted"):
                try:
                    delattr(part, name) if odd == "deleted" else setattr(part, name, odd)
                except (TypeError, ValueError):
                    continue
                for call in (lambda: ours.ws.send("x"), ours.ws.receive, ours.ws.__anext__):
                    try:
                        step = call()
                        for _ in range(2):
                            step.send(None)
                        step.close()
                    except BaseException:
                        pass
                setattr(part, name, value)


def test_the_shortcut_is_taken_only_if_trio_is_as_known(monkeypatch: pytest.MonkeyPatch) -> None:
    assert shortcut.cancellation_is_visible()

    async def changed() -> None:
        await trio.lowlevel.checkpoint()

    monkeypatch.setattr(shortcut, "checkpoint_if_cancelled", changed)
    assert not shortcut.cancellation_is_visible()
    monkeypatch.setattr(shortcut, "checkpoint_if_cancelled", len)
    assert not shortcut.cancellation_is_visible()
