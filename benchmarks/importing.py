"""Measure what importing the library costs beside importing Trio, in processor time or in instructions.

    python benchmarks/importing.py                  processor time
    python benchmarks/importing.py --instructions   counted by valgrind: the same in each run, whatever else runs

Each case is a new process. The cases alternate, and each round gives a share of its own, so that a machine that is at
times slower does not change the shares: the median counts. Python's own start is subtracted. Instructions are those of
the process; processor time has the kernel's, too, which finds and reads the files.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
from collections.abc import Callable
from statistics import median

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


def millions_of_instructions(code: str) -> float:
    """Run a program in a new interpreter under valgrind; return its instructions, the kernel's left out."""
    tool = ["valgrind", "--tool=cachegrind", "--cache-sim=no", "--cachegrind-out-file=/dev/null"]
    environment = {**os.environ, "PYTHONHASHSEED": "0"}
    command = [*tool, sys.executable, "-c", code]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    found = re.search(r"I +refs: +([\d,]+)", done.stderr)
    if done.returncode or found is None:
        sys.exit(f"failed: {code}\n{done.stderr}")
    return int(found[1].replace(",", "")) / 1e6


def measure(cost: Callable[[str], float], rounds: int) -> dict[str, tuple[float, float]]:
    """Return what each import costs besides, and its share of Trio's own cost: medians of the rounds."""
    measured: dict[str, list[tuple[float, float]]] = {case: [] for case in (BASE, *CASES)}
    for _ in range(rounds):
        start, trio = cost("pass"), cost(BASE)
        measured[BASE].append((trio - start, 1.0))
        for case in CASES:
            more = cost(f"{BASE}; {case}") - trio
            measured[case].append((more, more / (trio - start)))
    return {case: (median(row[0] for row in rows), median(row[1] for row in rows)) for case, rows in measured.items()}


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, help="runs of each case: 40, and 1 of instructions")
    parser.add_argument("--instructions", action="store_true", help="count instructions; needs valgrind")
    options = parser.parse_args()
    rounds = options.rounds or (1 if options.instructions else 40)
    if options.instructions:
        unit, costs = "million instructions", measure(millions_of_instructions, rounds)
    else:
        unit, costs = "ms", measure(lambda code: 1000 * processor_seconds(code), rounds)
    print(f"Python {sys.version.split()[0]}, {rounds} rounds, medians")
    for case, (cost, share) in costs.items():
        goal = CASES.get(case)
        wanted = "" if goal is None else f"  (goal: {goal:.2f})"
        print(f"{case:42} {cost:6.1f} {unit}  {share:5.2f} of Trio's{wanted}")


if __name__ == "__main__":
    main()
