"""Which tests coverage does not trace: tracing doubles a test's processor time (CPython 3.11, branch coverage).

Not traced is what repeats the lines of other tests: contracts in memory and over HTTP/2, which are the stream transport
and the ASGI bridge once more. The gate can only become harder to pass by this.
"""

from __future__ import annotations

import sys
from collections.abc import Generator
from typing import Any

import pytest

__all__ = ["is_repetition", "pytest_runtest_protocol"]


def is_repetition(nodeid: str) -> bool:
    """Return whether other tests run the same lines of the package."""
    words = nodeid.partition("[")[2].rstrip("]").split("-")
    return nodeid.startswith("tests/contracts/") and ("memory" in words or "http2" in words)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, Any, Any]:
    """Let coverage pause during a repetition; a debugger does not."""
    tracer = sys.gettrace()
    if tracer is None or not type(tracer).__module__.startswith("coverage") or not is_repetition(item.nodeid):
        return (yield)
    sys.settrace(None)
    try:
        return (yield)
    finally:
        sys.settrace(tracer)
