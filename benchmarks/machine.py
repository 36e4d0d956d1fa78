"""The machine and the software of a measurement."""

from __future__ import annotations

import os
import platform
import resource
import time
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Final

from trio_ws.protocol.codec import RUNNING

PACKAGES: Final = (
    "trio-ws",
    "trio",
    "trio-websocket",
    "websockets",
    "hypercorn",
    "uvicorn",
    "aiohttp",
    "picows",
    "uvloop",
    "wsproto",
)


def file_limit() -> int:
    """Raise the limit of open files to its maximum and return it."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard


def describe() -> dict[str, str]:
    """Describe machine and software for readers of the results."""
    return {
        "processor": f"{_processor()}, {len(os.sched_getaffinity(0))} cores used of {os.cpu_count()}",
        "system": f"{platform.system()} {platform.release()}, TCP congestion control {_congestion_control()}",
        "python": f"{platform.python_implementation()} {platform.python_version()}, {RUNNING}",
        "packages": ", ".join(f"{name} {found}" for name in PACKAGES if (found := _version(name))),
        "load before": f"{os.getloadavg()[0]:.2f}",
        "date": time.strftime("%Y-%m-%d", time.gmtime()),
    }


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.machine()
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def _congestion_control() -> str:
    try:
        return Path("/proc/sys/net/ipv4/tcp_congestion_control").read_text().strip()
    except OSError:
        return "unknown"


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None
