"""Coverage pauses during tests that reach no new line, and goes on behind them."""

from __future__ import annotations

import os
import sys
from types import SimpleNamespace
from typing import Any

import pytest
from support.measured import STARTUP, pytest_runtest_protocol


class Tracer:
    """Stands in for the tracer of coverage."""

    __module__ = "coverage"

    def __call__(self, frame: Any, event: str, argument: Any) -> None:
        """Trace nothing."""


@pytest.mark.parametrize(
    ("nodeid", "paused"),
    [
        ("tests/conformance/test_client.py::test_in_memory[1.1.1]", False),
        ("tests/contracts/test_closing.py::test_close[server-memory-1000]", True),
        ("tests/contracts/test_closing.py::test_close[server-http2]", True),
        ("tests/contracts/test_closing.py::test_close[server-http1]", False),
        ("tests/contracts/test_closing.py::test_close[client-memory]", False),
        ("tests/rooms/test_memory.py::test_memory", False),
        ("tests/test_headers.py::test_headers", False),
        ("tests/test_style.py::test_names_of_tests_are_short", True),
        ("tests/examples/test_chat.py::test_page", True),
        ("tests/hostile/test_floods.py::test_pings[poller]", True),
    ],
)
def test_only_tests_that_reach_new_lines_are_traced(nodeid: str, paused: bool) -> None:
    before, tracer = sys.gettrace(), Tracer()
    hook = pytest_runtest_protocol(SimpleNamespace(nodeid=nodeid))  # type: ignore[arg-type]
    sys.settrace(tracer)
    try:
        next(hook)
        during = sys.gettrace()
        with pytest.raises(StopIteration):
            hook.send(None)
        after = sys.gettrace()
    finally:
        sys.settrace(before)
    assert during is (None if paused else tracer)
    assert after is tracer


@pytest.mark.parametrize(
    ("nodeid", "traced"),
    [
        ("tests/cli/test_main.py::test_run", True),
        ("tests/workers/test_workers.py::test_replaced", True),
        ("tests/conformance/test_command.py::test_driver", True),
        ("tests/rooms/test_redis_workers.py::test_kill", False),
        ("tests/examples/test_chat.py::test_page", False),
    ],
)
def test_programs_are_traced_for_the_command_and_workers(
    monkeypatch: pytest.MonkeyPatch, nodeid: str, traced: bool
) -> None:
    monkeypatch.setenv(STARTUP, "configuration")
    hook = pytest_runtest_protocol(SimpleNamespace(nodeid=nodeid))  # type: ignore[arg-type]
    next(hook)
    assert (STARTUP in os.environ) is traced
    with pytest.raises(StopIteration):
        hook.send(None)
    assert os.environ[STARTUP] == "configuration"
