"""Misuse of an awaitable, exceptions that end more than a connection, and bounds beyond a C field: as in Python."""

from __future__ import annotations

import gc
import os
import socket
import sys
from functools import partial
from typing import Any

import pytest
import trio
from support.internals import internal
from trio.testing import wait_all_tasks_blocked

from native.ends import end
from trio_ws import Limits, WebSocket, WebSocketDisconnect, open_websocket, serve_websocket
from trio_ws.connection.inbox import YIELD_EVERY, Inbox
from trio_ws.transport.outbox import Outbox

pytestmark = [
    pytest.mark.usefixtures("kind"),
    pytest.mark.skipif(os.name != "posix", reason="a poller is needed"),
]


async def test_a_second_await_leaves_the_first_undisturbed() -> None:
    async with end() as ours, trio.open_nursery() as nursery:
        call = ours.ws.receive()
        got: list[str] = []

        async def first() -> None:
            got.append(await call)

        nursery.start_soon(first)
        await wait_all_tasks_blocked()
        with pytest.raises(RuntimeError, match="coroutine is being awaited already"):
            await call
        ours.sends("x")
        await wait_all_tasks_blocked()
        assert got == ["x"]


@pytest.mark.parametrize("name", ["send", "throw", "close"])
async def test_a_call_that_runs_refuses_to_be_entered(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What it calls closes it: the coroutine that is being executed must not be freed."""
    refused: list[str] = []

    async def let_others_run(inbox: Inbox) -> None:
        arguments: dict[str, tuple[Any, ...]] = {"send": (None,), "throw": (KeyError("why"),), "close": ()}
        try:
            getattr(call, name)(*arguments[name])
        except ValueError as error:
            refused.append(str(error))
        inbox.streak = 0
        await trio.lowlevel.checkpoint()

    async with end() as ours:
        ours.sends("x")
        await wait_all_tasks_blocked()
        monkeypatch.setattr(Inbox, "let_others_run", let_others_run)
        ours.connection.inbox.streak = YIELD_EVERY - 1
        call = ours.ws.receive()
        assert await call == "x"
        assert refused == ["coroutine already executing"]


async def test_a_call_closed_late_leaves_the_next_asleep() -> None:
    """It was woken, and another waits by now: that one still gets its message."""
    async with end() as ours, trio.open_nursery() as nursery:
        got: list[str] = []

        async def receive() -> None:
            got.append(await ours.ws.receive())

        call = ours.ws.receive()
        call.send(None)
        ours.connection.inbox.reader = None
        nursery.start_soon(receive)
        await wait_all_tasks_blocked()
        call.close()
        ours.sends("x")
        await wait_all_tasks_blocked()
        assert got == ["x"]


async def test_a_call_never_awaited_in_a_cycle_is_warned_of() -> None:
    async with end() as ours:
        cycle: list[Any] = [ours.ws.receive()]
        cycle.append(cycle)
        del cycle
        with pytest.warns(RuntimeWarning, match="was never awaited"):
            gc.collect()


async def test_an_exit_in_a_callback_is_not_swallowed() -> None:
    """A signal's handler may raise it in whatever runs: it ends more than one connection."""

    def leave() -> None:
        raise SystemExit

    with pytest.raises(BaseExceptionGroup) as caught:
        async with end() as ours:
            ours.connection.reader.on_messages = leave
            ours.sends("x")
            await trio.sleep(5)
    internal(ours.connection.transport, "_sock").close()  # the poller is gone, and `end` could not do it
    ours.peer.close()
    assert caught.group_contains(SystemExit)


@pytest.mark.parametrize("name", ["max_message_size", "inbox_messages", "inbox_bytes"])
async def test_a_bound_may_be_any_number(name: str) -> None:
    async with end(limits=Limits(**{name: sys.maxsize * 1000})) as ours:
        ours.sends("x")
        assert await ours.ws.receive() == "x"


@pytest.mark.parametrize("error", [MemoryError, KeyboardInterrupt])
async def test_no_frame_follows_one_whose_rest_is_lost(
    error: type[BaseException], monkeypatch: pytest.MonkeyPatch
) -> None:
    def put(*_: object) -> None:
        raise error

    async with end() as ours:
        with monkeypatch.context() as patched:
            patched.setattr(Outbox, "put", put)
            with pytest.raises(error):
                await ours.ws.send("x" * 4_000_000)
        ours.peer.shutdown(socket.SHUT_WR)
        with pytest.raises(WebSocketDisconnect):
            await ours.ws.send("y")
        got = ours.got(4_000_000)
        assert got.startswith(b"\x81\x7f")
        assert got.endswith(b"x")


async def test_a_servers_outbox_may_be_any_size() -> None:
    async def greet(ws: WebSocket) -> None:
        await ws.send("x")

    async with trio.open_nursery() as nursery:
        limits = Limits(outbox_bytes=sys.maxsize * 1000)
        server = await nursery.start(partial(serve_websocket, greet, "127.0.0.1", 0, limits=limits))
        async with open_websocket(f"ws://127.0.0.1:{server.port}/") as ws:
            assert await ws.receive() == "x"
        nursery.cancel_scope.cancel()
