"""Programs beside Python that some tests need; without one of them these tests are skipped.

As a program it prints a line for each that is not here: `make coverage` closes with them, and holds its gate only
if there is none.
"""

from __future__ import annotations

import os
import shutil
from typing import TYPE_CHECKING

import attrs

if TYPE_CHECKING:
    import pytest

__all__ = ["CHROMIUM", "COMPILER", "NGINX", "REDIS", "Service", "mark_slow", "missing"]

WITHOUT = frozenset(os.environ.get("TRIO_WS_WITHOUT", "").split(","))
"""Names of services to do without, as if they were not installed: `TRIO_WS_WITHOUT=redis-server,nginx make test`."""


@attrs.frozen
class Service:
    """A program that tests start.

    Args:
        names: of the program; the first is what messages call it.
        tests: what is not tested without it.
        path: where else to look, as daemons are not on the path of everybody.
    """

    names: tuple[str, ...]
    tests: str
    path: str | None = None

    @property
    def program(self) -> str | None:
        """The path of the program, None if it is not here."""
        if self.names[0] in WITHOUT:
            return None
        found = [shutil.which(name) for name in self.names]
        found += [shutil.which(name, path=self.path) for name in self.names if self.path is not None]
        return next(filter(None, found), None)

    @property
    def reason(self) -> str:
        """Why tests that need it are skipped."""
        return f"{self.names[0]} is not installed"


REDIS = Service(("redis-server",), "rooms that connect processes")
NGINX = Service(("nginx",), "serving behind a proxy", path="/usr/sbin:/usr/local/sbin")
CHROMIUM = Service(("chromium", "chromium-browser", "google-chrome"), "pages and clients in a browser")
COMPILER = Service(("cc",), "the compiled codec, its build, and the load generator of the benchmarks")
_REASONS = frozenset(each.reason for each in (REDIS, NGINX, CHROMIUM, COMPILER))


def missing() -> list[str]:
    """Return a line for each service that is not here."""
    services = (REDIS, NGINX, CHROMIUM, COMPILER)
    return [f"no {each.names[0]}: {each.tests}" for each in services if each.program is None]


def mark_slow(item: pytest.Item) -> None:
    """Mark a test that needs a service as slow, as it starts its own."""
    if any(mark.kwargs.get("reason") in _REASONS for mark in item.iter_markers("skipif")):
        item.add_marker("slow")


if __name__ == "__main__":
    print("\n".join(missing()))
