"""Hooks of all tests, and the profile of Hypothesis."""

from __future__ import annotations

import gc
import os
import signal
from collections import Counter

import pytest
from hypothesis import HealthCheck, settings
from support import services
from support.differences import mark_differences
from support.machine import cores
from support.neighbours import pytest_runtest_makereport, pytest_runtest_protocol
from support.redis import coredis_is_collected
from support.steady import use_steady_clock

__all__ = ["coredis_is_collected", "pytest_runtest_makereport", "pytest_runtest_protocol"]

# A deadline or a complaint about slow generation would measure the machine, not the library.
settings.register_profile(
    "trio_ws",
    deadline=None,
    max_examples=int(os.environ.get("TRIO_WS_MAX_EXAMPLES", "100")),
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("trio_ws")

# A shell's background jobs ignore SIGINT, and so does all that they start: programs of the tests must hear it.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int:
    """Return the workers of `-n auto`: more than cores, as tests wait a lot."""
    return cores() + 2


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what is known to be different under hypercorn, and give async tests a clock that ignores the machine."""
    mark_differences(items)
    use_steady_clock(items)


@pytest.hookimpl(trylast=True)
def pytest_collection_finish() -> None:
    """Leave what was collected out of garbage collections, of which many tests make some; half of their time it was."""
    gc.collect()
    gc.freeze()


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
