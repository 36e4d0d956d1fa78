"""Run a command again after each change of a Python file; `make watch` runs the quick tests so.

Usage: watch.py COMMAND [ARGUMENT ...]
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterable
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
FOLDERS = ("trio_ws", "tests", "examples")
SUFFIXES = frozenset({".py", ".pyi", ".toml"})
INTERVAL = 0.5
"""Seconds between two looks at the files."""

Times = dict[Path, int]


def modification_times(folders: Iterable[Path]) -> Times:
    """Return the modification time in nanoseconds of each watched file."""
    times = {}
    for folder in folders:
        for path in folder.rglob("*"):
            if path.suffix in SUFFIXES:
                try:
                    times[path] = path.stat().st_mtime_ns
                except FileNotFoundError:  # removed between the listing and this line
                    continue
    return times


def wait_for_change(folders: list[Path], before: Times) -> None:
    """Return when a watched file differs from `before`, and no other has changed since for one interval."""
    while (now := modification_times(folders)) == before:
        time.sleep(INTERVAL)
    while True:  # an editor or git writes several files
        time.sleep(INTERVAL)
        settled, now = now, modification_times(folders)
        if now == settled:
            return


def watch(command: list[str], folders: list[Path]) -> None:
    """Run the command now and after each change, until interrupted."""
    while True:
        before = modification_times(folders)
        status = subprocess.run(command, check=False).returncode
        print(f"\n{'passed' if status == 0 else 'FAILED'}; waiting for a change, Ctrl-C ends", flush=True)
        wait_for_change(folders, before)


if __name__ == "__main__":
    try:
        watch(sys.argv[1:], [ROOT / folder for folder in FOLDERS])
    except KeyboardInterrupt:
        print()
