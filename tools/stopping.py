"""Run a command, and stop its first process again and again: tests that pass so do not depend on the machine's speed.

Usage: stopping.py COMMAND [ARGUMENT ...]. The process is stopped for 0.2 s after every 0.1 s.
"""

from __future__ import annotations

import signal
import subprocess
import sys
import time

RUNS = 0.1
STOPPED = 0.2


def main(command: list[str]) -> int:
    """Return the command's status."""
    process = subprocess.Popen(command)
    try:
        while True:
            time.sleep(RUNS)
            if process.poll() is not None:
                return process.returncode
            process.send_signal(signal.SIGSTOP)
            time.sleep(STOPPED)
            process.send_signal(signal.SIGCONT)
    except KeyboardInterrupt:
        return process.wait()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
