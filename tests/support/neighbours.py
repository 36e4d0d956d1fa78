"""Hooks of pytest that keep what a failed test has left from the tests after it.

A test that fails leaves sockets and tasks open, in frames that its traceback holds. They would be collected during some
later test, which then fails by a ResourceWarning (`-W error`) though it is innocent.
"""

from __future__ import annotations

import gc
import logging
import sys
import warnings
from collections.abc import Generator
from typing import Any

import pytest

_FAILED = pytest.StashKey[bool]()
_LOGGER = logging.getLogger("trio_ws")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown() -> Generator[None, Any, Any]:
    """Fail a test that leaves the library's log silent or louder: later ones look for records."""
    result = yield
    left = _LOGGER.level, logging.root.manager.disable
    if left != (logging.NOTSET, logging.NOTSET):
        _LOGGER.setLevel(logging.NOTSET)
        logging.disable(logging.NOTSET)
        pytest.fail(
            f"the test has left the log changed (level {left[0]}, disabled up to {left[1]}): use caplog.set_level"
        )
    return result


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Note that a test has failed."""
    report = yield
    item.stash[_FAILED] = item.stash.get(_FAILED, False) or report.failed
    return report


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, Any, Any]:
    """Collect what a failed test has left before another begins."""
    result = yield
    if item.stash.get(_FAILED, False):
        for name in ("last_exc", "last_type", "last_value", "last_traceback"):  # for debuggers, after the last test
            vars(sys).pop(name, None)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ResourceWarning)
            gc.collect()
    return result
