"""Hooks of all tests, and the profile of Hypothesis."""

from __future__ import annotations

import gc
import os
import signal
import sys
from collections import Counter
from collections.abc import Generator
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from support import garbage, measured, reports, services
from support.differences import mark_differences
from support.machine import cores
from support.neighbours import pytest_runtest_makereport, pytest_runtest_protocol, pytest_runtest_teardown
from support.order import long_first
from support.redis import coredis_is_collected
from support.steady import use_steady_clock

__all__ = [
    "coredis_is_collected",
    "pytest_runtest_makereport",
    "pytest_runtest_protocol",
    "pytest_runtest_teardown",
]

# A deadline or a complaint about slow generation would measure the machine, not the library. Few examples in each run,
# each time others: `make properties` searches harder, once for a change (.ci/run).
settings.register_profile(
    "trio_ws",
    deadline=None,
    max_examples=int(os.environ.get("TRIO_WS_MAX_EXAMPLES", "10")),
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("trio_ws")

# A shell's background jobs ignore SIGINT, and so does all that they start: programs of the tests must hear it.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_configure(config: pytest.Config) -> None:
    """Register hooks that have the name of others."""
    config.pluginmanager.register(garbage)
    config.pluginmanager.register(measured)
    config.pluginmanager.register(reports)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """Return the workers of `-n auto`: two more than cores, as tests wait a lot; of `-n logical`: as many as cores."""
    return cores() + 2 * (config.option.numprocesses == "auto")


def pytest_itemcollected(item: pytest.Item) -> None:
    """Mark a slow test before `-m` selects, and refuse an id that differs between worker processes."""
    services.mark_slow(item)
    if " at 0x" in item.nodeid:
        raise pytest.UsageError(f"give ids to the parameters: an address is another one in each process: {item.nodeid}")


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Mark differences under hypercorn, give async tests their clock, and put long ones before others."""
    mark_differences(items)
    use_steady_clock(items)
    if hasattr(config, "workerinput"):
        long_first(items, config.workerinput["workercount"])


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, Any, Any]:
    """Collect tests without garbage collections: there is hardly any, and looking for it is a third of the time.

    What was collected is left out of those that the tests make, and so is the little garbage.
    """
    with garbage.without_collections():
        result = yield
        if hasattr(gc, "freeze"):  # PyPy has none
            gc.freeze()
        return result


def pytest_sessionfinish() -> None:
    """End the browser, if a test has started one."""
    if "support.chromium" in sys.modules:
        sys.modules["support.chromium"].close()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print what was not tested and the count of expected failures, a line for each reason instead of each test."""
    reasons = Counter(str(report.longrepr[2]) for report in terminalreporter.stats.get("skipped", []))
    for reason, count in sorted(reasons.items()):
        terminalreporter.write_line(f"{count} skipped: {reason.removeprefix('Skipped: ')}")
    expected = len(terminalreporter.stats.get("xfailed", []))
    if expected:
        terminalreporter.write_line(f"{expected} failures were expected under hypercorn: docs/asgi.md says why")
    for line in services.missing():
        terminalreporter.write_line(f"not tested: {line}")
