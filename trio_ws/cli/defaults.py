"""Values that arguments of the command are described with, and exit statuses. It imports nothing."""

from __future__ import annotations

from typing import Final

__all__ = [
    "BY_SIGNAL",
    "DEFAULT_LEVEL",
    "DEFAULT_PORT",
    "HEARTBEAT_SECONDS",
    "INTERRUPTED",
    "LEVELS",
    "QUIET_SECONDS",
    "RELOAD_WATCHDOG",
    "WORKER_TIMEOUT",
]

DEFAULT_PORT: Final = 8000
LEVELS: Final = ("debug", "info", "warning", "error")
"""Levels of the log."""
DEFAULT_LEVEL: Final = "info"
RELOAD_WATCHDOG: Final = 1.0
"""Seconds that a step may take with `--reload`: a person notices it."""
HEARTBEAT_SECONDS: Final = 1.0
"""Seconds between two heartbeats of a worker."""
WORKER_TIMEOUT: Final = 30.0
"""Seconds without a heartbeat after which a worker is replaced."""
QUIET_SECONDS: Final = 0.5
"""Seconds without messages after which `connect` closes at the end of an input that is not a terminal."""
BY_SIGNAL: Final = 128
"""The exit status of shells for a process that a signal has ended, less the signal's number."""
INTERRUPTED: Final = 130
"""Exit status after SIGINT, as in shells: 128 plus the signal's number."""
