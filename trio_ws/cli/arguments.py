"""Types of the command's arguments."""

from __future__ import annotations

import argparse
import math
from typing import TYPE_CHECKING

from trio_ws.cli.defaults import HEARTBEAT_SECONDS

if TYPE_CHECKING:
    from trio_ws.cli.worker import Assignment

__all__ = ["assignment", "count", "mode", "positive", "worker_timeout"]


def count(text: str) -> int:
    """Return a number of processes."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"give a number, 1 or more, not {text!r}")
    return int(text)


def positive(text: str) -> float:
    """Return a time in seconds, more than 0."""
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not seconds > 0:
        raise argparse.ArgumentTypeError(f"give a number of seconds, more than 0, not {text!r}")
    return seconds


def mode(text: str) -> int:
    """Return the permissions that octal digits stand for."""
    digits = text.removeprefix("0o")
    if not (digits.isascii() and digits.isdecimal() and set(digits) <= set("01234567") and int(digits, 8) <= 0o777):
        raise argparse.ArgumentTypeError(f"give permissions in octal digits, such as 660, not {text!r}")
    return int(digits, 8)


def worker_timeout(text: str) -> float:
    """Return a time in seconds in which a worker reports at least twice."""
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not seconds >= 2 * HEARTBEAT_SECONDS:
        raise argparse.ArgumentTypeError(
            f"workers report every {HEARTBEAT_SECONDS:g} s: give at least twice that, not {text!r}"
        )
    return seconds


def assignment(text: str) -> Assignment:
    """Return the descriptors that a worker inherits."""
    from trio_ws.cli.worker import Assignment  # noqa: PLC0415 - other commands do not need workers

    return Assignment.parse(text)
