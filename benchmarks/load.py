"""The load generator, compiled from `load.c` on use, into `build/bench`."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Final

import attrs

SOURCE: Final = Path(__file__).parent / "load.c"
BUILD: Final = SOURCE.parent.parent / "build" / "bench"
FLAGS: Final = ("-O2", "-std=gnu11", "-Wall", "-Wextra")
TLS: Final = ("-DWITH_TLS", "-lssl", "-lcrypto")


@attrs.frozen
class Load:
    """The load generator, ready to run."""

    path: Path
    tls: bool
    """Whether it is built with OpenSSL, for TLS."""


def compiler() -> str | None:
    """Return the C compiler of CC, or cc; None if there is none."""
    return shutil.which(os.environ.get("CC", "cc"))


def build(directory: Path = BUILD) -> Load:
    """Compile the load generator, with TLS if OpenSSL's headers are installed.

    Raises:
        RuntimeError: this is not Linux, there is no compiler, or the source does not compile.
    """
    if sys.platform != "linux":
        raise RuntimeError("the load generator needs Linux: it waits with epoll, and reads CPU times from /proc")
    cc = compiler()
    if cc is None:
        raise RuntimeError("the load generator needs a C compiler: install gcc, or name one in CC")
    directory.mkdir(parents=True, exist_ok=True)
    path = directory / "load"
    if _compile(cc, path, *TLS) is None:
        return Load(path, tls=True)
    problem = _compile(cc, path)
    if problem is not None:
        raise RuntimeError(f"{SOURCE.name} does not compile:\n{problem}")
    return Load(path, tls=False)


def _compile(cc: str, path: Path, *options: str) -> str | None:
    done = subprocess.run(
        [cc, *FLAGS, str(SOURCE), "-o", str(path), *options], capture_output=True, text=True, check=False
    )
    return done.stderr if done.returncode else None
