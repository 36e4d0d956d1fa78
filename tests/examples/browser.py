"""A real Chromium for the pages of the examples, and the examples themselves."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

import trio

from trio_ws import App

EXAMPLES = Path(__file__).parents[2] / "examples"
PATIENCE = 300.0
"""Seconds that a browser may take with everything."""
PAGE_PATIENCE = 60_000
"""Milliseconds that a page may take to show one thing."""


def load(name: str) -> ModuleType:
    """Return a new copy of the module `app.py` of an example."""
    path = EXAMPLES / name / "app.py"
    spec = importlib.util.spec_from_file_location(f"example_{name}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def browse(app: App, visit: Callable[[Any, str], None]) -> None:
    """Serve an application on a free port of 127.0.0.1, and let a browser visit it.

    Args:
        app: is served as it is by its one command, but for the port; an error in it fails the test.
        visit: called in the browser's thread with Playwright's browser and the URL of the server.
    """
    from support.chromium import with_browser  # where there is none, the test is skipped that asked for it

    def work(port: int) -> None:
        with_browser(lambda running: visit(running, f"http://127.0.0.1:{port}"))

    async def main() -> None:
        with trio.fail_after(PATIENCE):
            async with trio.open_nursery() as nursery:
                server = await nursery.start(partial(app.serve, "127.0.0.1", 0, strict=True))
                await trio.to_thread.run_sync(work, server.port)
                server.shutdown()

    trio.run(main)


def new_page(running: Any) -> tuple[Any, list[str]]:
    """Return a new page, and a list that everything goes into that the page complains about."""
    page = running.new_page()
    page.set_default_timeout(PAGE_PATIENCE)
    complaints: list[str] = []
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
    page.on("requestfailed", lambda request: complaints.append(request.url))
    return page, complaints


def state_of(page: Any, word: str) -> str:
    """Return what a page writes of its connection, once it begins with `word`; in one step, as it may change soon."""
    begins = (
        "(word) => { const text = document.querySelector('#state').textContent; return text.startsWith(word) && text }"
    )
    text: str = page.wait_for_function(begins, arg=word).json_value()
    return text
