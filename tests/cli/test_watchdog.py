"""The watchdog: which step blocks, where it stands, and that it is said once. The time is the test's."""

from __future__ import annotations

import inspect
import logging
import math
import threading
from typing import Any

import pytest
import trio

from trio_ws import App, WebSocket, open_websocket
from trio_ws.cli.main import main
from trio_ws.runtime.log import logger
from trio_ws.runtime.watchdog import Watchdog, watching
from trio_ws.server.serve import serve_websocket

__all__: list[str] = []


class Time:
    """A clock that the test moves."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
async def watched(caplog):
    clock = Time()
    watchdog = Watchdog(2.0, clock=clock)
    trio.lowlevel.add_instrument(watchdog)
    await trio.lowlevel.checkpoint()  # it sees steps that begin from now on
    yield watchdog, clock
    trio.lowlevel.remove_instrument(watchdog)


def compute(watchdog: Watchdog, clock: Time, seconds: float) -> int:
    """Block for some time, and return the line of the call that does."""
    clock.now += seconds
    watchdog.check()
    return inspect.getlineno(inspect.currentframe()) - 1  # type: ignore[arg-type]


async def test_blocking_step_is_reported_once_with_task_and_line(watched, caplog) -> None:
    watchdog, clock = watched
    lines = []

    async def handler() -> None:
        trio.lowlevel.current_task().name = "/chat/42 #17"
        await trio.lowlevel.checkpoint()
        lines.extend(compute(watchdog, clock, 3.0) for _ in range(2))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(handler)
    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    assert "task /chat/42 #17 has blocked the event loop for 3.0 s, at " in record.message
    assert f"test_watchdog.py:{lines[0]} in compute, called from " in record.message
    assert "in test_blocking_step_is_reported_once_with_task_and_line.<locals>.handler" in record.message
    assert "trio.to_thread.run_sync" in record.message


async def test_step_of_the_library_is_reported_again_in_the_handler(watched, caplog, monkeypatch) -> None:
    """A handler's first step begins in the library: the line that blocks is named when it is seen."""
    watchdog, clock = watched
    with monkeypatch.context() as patched:
        patched.setattr("trio_ws.runtime.watchdog._own_frames", lambda frame: [])
        for _ in range(2):
            compute(watchdog, clock, 3.0)
    for _ in range(2):
        line = compute(watchdog, clock, 3.0)
    await trio.lowlevel.checkpoint()
    assert ["in a library" in record.message for record in caplog.records] == [True, False]
    assert f"test_watchdog.py:{line} in compute" in caplog.records[1].message


async def test_step_that_is_short_enough_is_not_reported(watched, caplog) -> None:
    watchdog, clock = watched
    for _ in range(3):
        compute(watchdog, clock, 1.9)
        await trio.lowlevel.checkpoint()
    clock.now += 100  # nothing runs
    assert caplog.records == []


async def test_call_that_holds_the_interpreter_is_reported_after_it(watched, caplog) -> None:
    """No thread can look while it runs, so the line is that of the next await."""
    _, clock = watched
    clock.now += 3
    await trio.lowlevel.checkpoint()
    (record,) = caplog.records
    assert "blocked the event loop for 3.0 s, before " in record.message
    assert "test_watchdog.py:" in record.message


async def test_last_step_of_a_task_is_reported_too(watched, caplog) -> None:
    _, clock = watched

    async def last() -> None:
        clock.now += 3

    async with trio.open_nursery() as nursery:
        nursery.start_soon(last, name="last")
    (record,) = caplog.records
    assert "task last has blocked the event loop for 3.0 s, in its last step" in record.message


class Alarm(logging.Handler):
    """Notes that a record names a function."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self._name = name
        self.came = threading.Event()

    def emit(self, record: logging.LogRecord) -> None:
        if self._name in record.getMessage():
            self.came.set()


@pytest.mark.parametrize("way", ["App.serve", "serve_websocket"])
async def test_served_handler_that_blocks_is_found_while_it_does(way: str, nursery) -> None:
    """The handler blocks until it is found: no time is measured."""
    app, found = App(), []
    alarm = Alarm("stuck_handler")
    logger.addHandler(alarm)

    @app.websocket("/")
    async def stuck_handler(ws: WebSocket) -> None:
        found.append(alarm.came.wait(60))

    def serve(**options: Any) -> Any:
        if way == "App.serve":
            return app.serve("127.0.0.1", 0, watchdog=0.02, **options)
        return serve_websocket(stuck_handler, "127.0.0.1", 0, watchdog=0.02, **options)

    try:
        server = await nursery.start(serve)
        async with open_websocket(server.urls[0]) as ws:
            async for _ in ws:
                pass
        server.shutdown()
    finally:
        logger.removeHandler(alarm)
    assert found == [True]


async def test_nothing_runs_without_the_option() -> None:
    before = threading.active_count()
    with watching(None):
        assert threading.active_count() == before
    with watching(math.inf):
        assert threading.active_count() == before + 1
    assert threading.active_count() == before


@pytest.mark.parametrize(
    ("value", "error"), [("2", TypeError), (True, TypeError), (0, ValueError), (math.nan, ValueError)]
)
async def test_watchdog_that_never_works_is_refused(value: Any, error: type[Exception]) -> None:
    with pytest.raises(error, match=r"watchdog .*or None to turn it off"):
        await App().serve("127.0.0.1", 0, watchdog=value)


@pytest.mark.parametrize(
    ("options", "seconds"),
    [([], None), (["--restartable"], 1.0), (["--watchdog", "3"], 3.0), (["--restartable", "--watchdog", "3"], 3.0)],
)
def test_reload_turns_the_watchdog_on(options: list[str], seconds: float | None, monkeypatch) -> None:
    """`--reload` gives its server `--restartable`."""
    given: list[Any] = []

    async def serve(self: App, *_: Any, watchdog: float | None, listeners: list[Any], **__: Any) -> None:
        given.append(watchdog)
        for listener in listeners:
            listener.close()

    monkeypatch.setattr(App, "serve", serve)
    monkeypatch.setattr("trio_ws.cli.run_server.load", lambda name, **_: App())
    assert main(["run", "m:app", "--port", "0", *options]) == 0
    assert given == [seconds]
