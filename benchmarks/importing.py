"""Measure what importing the library costs beside importing Trio, in processor time.

Each case is a new process. The cases alternate, so that what else the machine does disturbs all of them alike; the
least time of each counts. Python's own start is subtracted.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys

BASE = "import trio"
CASES = {
    "import trio_ws": 0.25,
    "from trio_ws import open_websocket": None,
    "from trio_ws import serve_websocket": None,
    "from trio_ws import App": 0.75,
    "from trio_ws import App, WebSocket; App()": 0.75,
}
"""What is imported after Trio, and the share of Trio's own time that it should stay below."""


def processor_seconds(code: str) -> float:
    """Run a program in a new interpreter; return its processor time, the kernel's share included."""
    process = subprocess.Popen([sys.executable, "-c", code])
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        sys.exit(f"failed: {code}")
    return usage.ru_utime + usage.ru_stime


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=40, help="runs of each case")
    rounds: int = parser.parse_args().rounds
    programs = ["pass", BASE, *(f"{BASE}; {case}" for case in CASES)]
    seconds: dict[str, list[float]] = {program: [] for program in programs}
    for _ in range(rounds):
        for program, measured in seconds.items():
            measured.append(processor_seconds(program))
    start, trio, *others = map(min, seconds.values())
    print(f"Python {sys.version.split()[0]}, {rounds} rounds, the least of each")
    print(f"{BASE:42} {1000 * (trio - start):6.1f} ms")
    for (case, goal), total in zip(CASES.items(), others, strict=True):
        share = (total - trio) / (trio - start)
        wanted = "" if goal is None else f"  (goal: {goal:.2f})"
        print(f"{case:42} {1000 * (total - trio):6.1f} ms  {share:5.2f} of Trio's{wanted}")


if __name__ == "__main__":
    main()
