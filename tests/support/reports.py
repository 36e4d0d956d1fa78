"""One report for each test that passes, where tests run in several processes: each report is sent, read and judged."""

from __future__ import annotations

import pytest
from _pytest.runner import runtestprotocol

__all__ = ["pytest_runtest_protocol"]


def pytest_runtest_protocol(item: pytest.Item, nextitem: pytest.Item | None) -> bool | None:
    """Run a test, and report its setup and its teardown only if they have not passed."""
    if not hasattr(item.config, "workerinput"):
        return None
    hook = item.ihook
    hook.pytest_runtest_logstart(nodeid=item.nodeid, location=item.location)
    for report in runtestprotocol(item, log=False, nextitem=nextitem):
        if report.when == "call" or not report.passed:
            hook.pytest_runtest_logreport(report=report)
    hook.pytest_runtest_logfinish(nodeid=item.nodeid, location=item.location)
    return True
