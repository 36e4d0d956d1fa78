"""A connection from outside that ends while it is in use."""

from __future__ import annotations

import signal
import threading
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trio

from trio_ws import LocalProtocolError, connect_backplane
from trio_ws.rooms import BlockingRoomsClient, MemoryBackplane

PATIENCE = 10
"""Seconds until a thread counts as stuck."""


class Held(MemoryBackplane):
    """A backplane in which publishing never ends."""

    def __init__(self) -> None:
        super().__init__()
        self.publishing = threading.Event()

    async def publish(self, *_: Any, **__: Any) -> str:
        self.publishing.set()
        await trio.sleep_forever()
        raise AssertionError


class Interrupted(MemoryBackplane):
    """A backplane during whose start Ctrl-C is pressed."""

    @asynccontextmanager
    async def running(self) -> AsyncGenerator[None, None]:
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)
        await trio.sleep(0.02)
        async with super().running():
            yield


def in_thread(function: Callable[[], object]) -> tuple[threading.Thread, list[BaseException]]:
    raised: list[BaseException] = []

    def run() -> None:
        try:
            function()
        except BaseException as error:
            raised.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    return thread, raised


def block_around(backplane: MemoryBackplane, body: Callable[[BlockingRoomsClient], object]) -> None:
    """Run a block in a thread that may get stuck."""

    def run() -> None:
        with connect_backplane(backplane) as rooms:
            body(rooms)

    thread, raised = in_thread(run)
    thread.join(PATIENCE)
    assert not thread.is_alive()
    assert raised == []


def test_a_block_ends_while_another_thread_watches() -> None:
    watching = threading.Event()
    others: list[tuple[threading.Thread, list[BaseException]]] = []

    def body(rooms: BlockingRoomsClient) -> None:
        def watch() -> None:
            with rooms.watch("r") as messages:
                watching.set()
                list(messages)

        others.append(in_thread(watch))
        assert watching.wait(PATIENCE)

    block_around(MemoryBackplane(), body)
    [(thread, raised)] = others
    thread.join(PATIENCE)
    assert [type(error) for error in raised] == [LocalProtocolError]


def test_a_call_that_outlasts_the_block_gets_a_typed_error() -> None:
    backplane = Held()
    others: list[tuple[threading.Thread, list[BaseException]]] = []

    def body(rooms: BlockingRoomsClient) -> None:
        others.append(in_thread(lambda: rooms.publish("r", "x")))
        assert backplane.publishing.wait(PATIENCE)

    block_around(backplane, body)
    [(thread, raised)] = others
    thread.join(PATIENCE)
    assert [type(error) for error in raised] == [LocalProtocolError]


def test_ctrl_c_while_connecting_ends_the_block() -> None:
    with pytest.raises(KeyboardInterrupt), connect_backplane(Interrupted()):
        threading.Event().wait(PATIENCE)


async def test_a_watch_that_ends_is_not_waited_for(autojump_clock: Any) -> None:
    async with connect_backplane(MemoryBackplane()) as rooms:
        messages = rooms.watch("r")

        async def receive() -> None:
            with trio.fail_after(PATIENCE), pytest.raises(LocalProtocolError, match="within `async with"):
                await anext(messages)

        async with trio.open_nursery() as nursery:
            async with messages:
                nursery.start_soon(receive)
                await trio.testing.wait_all_tasks_blocked()
