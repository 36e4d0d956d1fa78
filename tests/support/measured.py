"""Which tests coverage traces: tracing doubles a test's processor time (CPython 3.11, branch coverage).

Traced are the unit tests, and the contracts on the transports whose lines differ. What runs the package's lines once
more is not traced: examples, snippets, other programs, floods, and the contracts in memory and over HTTP/2. Nor is
collection, behind an import of all modules. The gate can only become harder to pass by this.
"""

from __future__ import annotations

import importlib
import os
import pkgutil
import sys
import threading
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

import trio_ws

__all__ = ["is_traced", "pytest_collection", "pytest_runtest_protocol"]

ACROSS = frozenset({"benchmarks", "deploy", "documented", "examples", "fuzz", "hostile", "interop"})
"""Folders of tests that reach no line of the package which unit tests do not reach."""
STARTUP = "COVERAGE_PROCESS_CONFIG"
"""The variable by which coverage traces the programs that a test starts."""


def is_traced(nodeid: str) -> bool:
    """Return whether a test may run lines of the package that no other runs."""
    folder = nodeid.split("/")[1]
    words = nodeid.partition("[")[2].rstrip("]").split("-")
    repetition = folder == "contracts" and ("memory" in words or "http2" in words)
    return folder not in ACROSS and not repetition


@contextmanager
def untraced() -> Iterator[None]:
    """Let coverage pause in this thread, in threads that start meanwhile, and in programs; a debugger does not."""
    tracer = sys.gettrace()
    if tracer is None or not type(tracer).__module__.startswith("coverage"):
        yield
        return
    of_threads, startup = threading.gettrace(), os.environ.pop(STARTUP, None)
    sys.settrace(None)
    threading.settrace(None)  # type: ignore[arg-type]
    try:
        yield
    finally:
        if startup is not None:
            os.environ[STARTUP] = startup
        threading.settrace(of_threads)  # type: ignore[arg-type]
        sys.settrace(tracer)


def import_all() -> None:
    """Import each module of the package, but for programs, so that the lines of its definitions are traced."""
    for module in pkgutil.walk_packages(trio_ws.__path__, "trio_ws."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, Any, Any]:
    """Import the package while coverage traces, and the tests while it does not."""
    if sys.gettrace() is not None:
        import_all()
    with untraced():
        return (yield)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, Any, Any]:
    """Trace a test only if it may reach new lines."""
    if is_traced(item.nodeid):
        return (yield)
    with untraced():
        return (yield)
