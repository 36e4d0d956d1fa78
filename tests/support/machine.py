"""What the machine offers to a run of the tests."""

from __future__ import annotations

import os
import tracemalloc
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["cores"]


def cores() -> int:
    """Return the number of cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def descriptors() -> int:
    """How many file descriptors this process has open; 0 where they cannot be listed."""
    return len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else 0


@contextmanager
def traced_memory() -> Iterator[None]:
    """Count what Python allocates in a block, for `tracemalloc.get_traced_memory`."""
    tracemalloc.start()
    try:
        yield
    finally:
        tracemalloc.stop()
