"""Coverage pauses during repetitions, and goes on behind them."""

from __future__ import annotations

import sys
from types import SimpleNamespace
from typing import Any

import pytest
from support.measured import pytest_runtest_protocol


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
        ("tests/contracts/test_closing.py::test_close[client-stream]", False),
        ("tests/rooms/test_memory.py::test_memory", False),
    ],
)
def test_only_repetitions_are_not_traced(nodeid: str, paused: bool) -> None:
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
