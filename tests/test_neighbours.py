"""A test that fails fails alone: what it has left open is no fault of the next one."""

from __future__ import annotations

from pathlib import Path

import pytest
import trio
from examples.process import output_of_forked

LEAVING = """
import gc
import socket

def test_that_fails_with_a_socket_open():
    sock = socket.socket()
    cycle = [sock]
    cycle.append(cycle)
    assert not cycle

def test_that_is_innocent():
    gc.collect()
"""

SILENCING = """
import logging

def test_that_silences_the_log():
    logging.getLogger("trio_ws").setLevel(logging.CRITICAL + 1)

def test_that_is_innocent(caplog):
    logging.getLogger("trio_ws").warning("seen")
    assert "seen" in caplog.text
"""


def run(folder: Path, content: str) -> str:
    """Run tests with the hooks in another process, and return what pytest prints."""
    (folder / "test_two.py").write_text(content)
    command = ["-m", "pytest", "-W", "error", "-p", "no:cacheprovider", "-p", "support.neighbours"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
        return trio.run(output_of_forked, [*command, "--rootdir", str(folder), str(folder)], folder)


@pytest.mark.slow
def test_what_a_failed_test_left_does_not_fail_the_next(tmp_path: Path) -> None:
    printed = run(tmp_path, LEAVING)
    assert "1 failed, 1 passed" in printed, printed


@pytest.mark.slow
def test_a_test_that_silences_the_log_fails_itself(tmp_path: Path) -> None:
    printed = run(tmp_path, SILENCING)
    assert "2 passed, 1 error" in printed, printed
    assert "the test has left the log changed (level 51" in printed
