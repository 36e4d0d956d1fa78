"""A real Chromium, if there is one on this machine; modules that use it are skipped if there is none."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

import pytest

from support import services

playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
CHROMIUM = services.CHROMIUM.program
if CHROMIUM is None:
    pytest.skip(services.CHROMIUM.reason, allow_module_level=True)

FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


@contextmanager
def browser() -> Generator[Any, None, None]:
    """Run a browser of Playwright's for as long as the block runs. It blocks: run it in a thread beside a server."""
    with playwright.sync_playwright() as driver:
        launched = driver.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        try:
            yield launched
        finally:
            launched.close()
