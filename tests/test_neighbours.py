"""A test that fails fails alone: what it has left open is no fault of the next one."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

TESTS = Path(__file__).parent

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


@pytest.mark.slow
def test_what_a_failed_test_left_does_not_fail_the_next(tmp_path: Path) -> None:
    (tmp_path / "test_two.py").write_text(LEAVING)
    command = [sys.executable, "-m", "pytest", "-W", "error", "-p", "no:cacheprovider", "-p", "support.neighbours"]
    done = subprocess.run(
        [*command, "--rootdir", str(tmp_path), str(tmp_path)],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(TESTS)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert "1 failed, 1 passed" in done.stdout, done.stdout
