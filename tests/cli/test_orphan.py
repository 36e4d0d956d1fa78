"""Processes whose supervisor has ended."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest

PROGRAM = """
import signal, sys, time
from trio_ws.cli import orphan
orphan.END_SECONDS = 0.0
{}
watch = orphan.OrphanWatch(int(sys.argv[1]))
watch.start()
print("watching", flush=True)
while True:
    time.sleep(60)
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("begin", "ended_by"),
    [("", signal.SIGTERM), ("signal.signal(signal.SIGTERM, signal.SIG_IGN)", signal.SIGKILL)],
    ids=["imports", "hangs"],
)
def test_process_without_supervisor_ends_in_any_state(begin: str, ended_by: signal.Signals) -> None:
    """One that still imports a module ends at once, one whose event loop hangs after the time of a shutdown."""
    link, ours = os.pipe()
    with subprocess.Popen(
        [sys.executable, "-c", PROGRAM.format(begin), str(link)],
        pass_fds=[link],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        os.close(link)
        assert process.stdout is not None
        assert process.stdout.readline() == b"watching\n"
        os.close(ours)
        _, errors = process.communicate(timeout=120)
    assert (process.returncode, errors) == (-ended_by, b"the supervisor has ended, shutting down\n")
