"""Which tests coverage traces: tracing doubles a test's processor time (CPython 3.11, branch coverage).

Traced are the unit tests, and the contracts on the transports whose lines differ. What runs the package's lines once
more is not traced: examples, snippets, other programs, floods, and the server's contracts in memory and over HTTP/2.
Nor is collection, behind an import of all modules. The gate can only become harder to pass by this.
"""

from __future__ import annotations

import importlib
import os
import pkgutil
import runpy
import sys
from collections.abc import Generator, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import pytest

import trio_ws

__all__ = ["are_programs_traced", "is_traced", "pytest_collection", "pytest_runtest_protocol"]

ACROSS = frozenset({"benchmarks", "deploy", "documented", "examples", "hostile", "interop"})
"""Folders whose tests reach no line of the package that unit tests do not reach."""
OF_THE_REPOSITORY = (
    *("build", "house", "imports", "make", "measured", "neighbours"),
    *("order", "public_api", "reports", "steady", "style"),
)
"""What tests beside the folders are about, if it is not the package's code."""
WITH_PROGRAMS = frozenset({"cli", "compat", "conformance", "workers"})
"""Folders whose tests start programs that reach such lines."""
STARTUP = "COVERAGE_PROCESS_CONFIG"
"""The variable by which coverage traces the programs that a test starts."""


def is_traced(nodeid: str) -> bool:
    """Return whether a test may run lines of the package that no other runs."""
    folder = nodeid.split("/")[1]
    words = nodeid.partition("[")[2].rstrip("]").split("-")
    repetition = folder == "contracts" and ("http2" in words or {"server", "memory"} <= set(words))
    own = folder.removeprefix("test_").partition(".")[0] in OF_THE_REPOSITORY
    return not (folder in ACROSS or own or repetition)


def are_programs_traced(nodeid: str) -> bool:
    """Return whether programs that a test starts may run such lines."""
    return nodeid.split("/")[1] in WITH_PROGRAMS


@contextmanager
def untraced() -> Iterator[None]:
    """Let coverage pause in this thread; a debugger does not, nor do threads, which Trio keeps for later tests."""
    tracer = sys.gettrace()
    if not type(tracer).__module__.startswith("coverage"):
        yield
        return
    sys.settrace(None)
    try:
        yield
    finally:
        sys.settrace(tracer)


@contextmanager
def programs_untraced() -> Iterator[None]:
    """Let coverage have no part in programs that start meanwhile."""
    startup = os.environ.pop(STARTUP, None)
    try:
        yield
    finally:
        if startup is not None:
            os.environ[STARTUP] = startup


PROGRAM, PLUGIN = "trio_ws.__main__", "trio_ws.testing.plugin"
"""Not imported: a program, and a plugin of pytest, which has imported it already, before coverage began to trace."""


def import_all() -> None:
    """Import each module of the package, so that the lines of its definitions are traced."""
    for module in pkgutil.walk_packages(trio_ws.__path__, "trio_ws."):
        if module.name == PLUGIN:
            runpy.run_module(PLUGIN)
        elif module.name != PROGRAM:
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
    """Trace a test, and the programs that it starts, only if they may reach new lines."""
    with ExitStack() as stack:
        if not is_traced(item.nodeid):
            stack.enter_context(untraced())
        if not are_programs_traced(item.nodeid):
            stack.enter_context(programs_untraced())
        return (yield)
