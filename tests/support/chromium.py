"""A real Chromium, if there is one on this machine; modules that use it are skipped if there is none."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import Any, TypeVar

import pytest

from support import services

playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
CHROMIUM = services.CHROMIUM.program
if CHROMIUM is None:
    pytest.skip(services.CHROMIUM.reason, allow_module_level=True)

UNUSED = [
    *("AimEnabled", "AvoidCorsURLLoaderRestartOnRedirect", "AvoidUnnecessaryBeforeUnloadCheckSync", "LensOverlay"),
    *("DestroyProfileOnBrowserClose", "HttpsFirstBalancedModeAutoEnable", "HttpsUpgrades", "MediaRouter"),
    *("NetworkTimeServiceQuerying", "OptimizationHints", "PaintHolding", "PreconnectToSearch"),
    *("TcpPortRandomizationWin", "ThirdPartyStoragePartitioning"),
    *("WebUIOmniboxPopup", "WebUIOmniboxAimPopup"),
]
"""Features that are off. All but the last line are off with Playwright anyway, whose list this one replaces.

The last are pages of the address bar, which each window loads in a process of its own: 1.8 s of processor time for
each page with its own cookies, beside 0.5 s for all else.
"""
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    f"--disable-features={','.join(UNUSED)}",
]


_T = TypeVar("_T")


class _Shared:
    """One browser for all tests of a process, started for the first of them: a start takes seconds of processor time.

    Playwright's objects belong to the thread that made them, so all work is done in one.
    """

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(1)
        self._open = ExitStack()
        self._browser: Any = None

    def work(self, visit: Callable[[Any], _T]) -> _T:
        """Call in the browser's thread, and return the result."""
        return self._thread.submit(self._work, visit).result()

    def _work(self, visit: Callable[[Any], _T]) -> _T:
        if self._browser is None:
            driver = self._open.enter_context(playwright.sync_playwright())
            self._browser = driver.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
            self._open.callback(self._browser.close)
        try:
            return visit(self._browser)
        finally:
            for context in self._browser.contexts:  # each page has one of its own, with its own cookies
                context.close()

    def close(self) -> None:
        """End the browser, if there is one."""
        self._thread.submit(self._open.close).result()
        self._thread.shutdown()


_SHARED = _Shared()


def with_browser(visit: Callable[[Any], _T]) -> _T:
    """Call with a browser of Playwright's, and close the pages it has opened. It blocks: call it in a thread.

    Args:
        visit: called in a thread of the browser's own, so not one of Trio's; see `trio.from_thread`, `trio_token`.
    """
    return _SHARED.work(visit)


def close() -> None:
    """End the browser of this process, for which it is too late in a finalizer."""
    _SHARED.close()
