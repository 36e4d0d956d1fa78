"""`Browsable`, the base of `App` with its answers to plain GETs."""

from __future__ import annotations

import inspect
import os
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry

    from trio_ws.app.pages import Page
    from trio_ws.app.services import AppServices

__all__ = ["CLIENT_SCRIPT", "Browsable"]

CLIENT_SCRIPT: Final = Path(__file__).with_name("trio_ws.js")
"""The client for pages."""


class Browsable:
    """The pages of an application, once its subclass has made its services."""

    services: AppServices
    """Its options and shared parts."""

    def page(self, path: str, page: str | os.PathLike[str] | Page) -> None:
        """Answer GETs for `path` with a file or a function's result.

        A path that differs in a trailing slash only is redirected (307).

        Args:
            path: begins with a slash; compared exactly.
            page: a file, with its type from its name, or a function, `async` or not, that takes the `Request` and
                returns text (HTML), bytes, a dict, list or model (JSON), or a `Response`.

        Raises:
            ValueError: the path does not begin with a slash, or is taken.
            FileNotFoundError: there is no such file.
        """
        if inspect.iscoroutine(page):
            page.close()  # it will not be awaited
            raise TypeError("page() takes a function: give it without calling it")
        self.services.pages.add(path, page if callable(page) else Path(page))

    def static(self, prefix: str, folder: str | os.PathLike[str]) -> None:
        """Answer plain GETs below `prefix` with the files in `folder`.

        Files and folders with a leading dot in the name are not found.

        Raises:
            ValueError: the prefix does not begin with a slash.
            NotADirectoryError: there is no such folder.
        """
        self.services.pages.add_folder(prefix, Path(folder))

    def client_script(self, path: str = "/trio_ws.js") -> None:
        """Answer GETs for `path` with the client for pages, a module of JavaScript.

        `import { connect } from "/trio_ws.js"` in a page; `docs/browser-client.md` describes it.

        Args:
            path: begins with a slash.

        Raises:
            ValueError: the path does not begin with a slash, or is taken.
        """
        self.services.pages.add(path, CLIENT_SCRIPT)

    def metrics(self, path: str = "/metrics", *, registry: CollectorRegistry | None = None) -> CollectorRegistry:
        """Answer GETs for `path` with metrics for Prometheus (extra `metrics`).

        The page is public: restrict access to it in the proxy in front. The result is the registry.

        Args:
            path: begins with a slash.
            registry: one of prometheus-client's, to show these figures with others; None for one of its own.

        Raises:
            ImportError: prometheus-client is not installed.
            ValueError: the path is taken, or the registry has the metrics of another application.
        """
        from trio_ws.app.metrics import Metrics  # noqa: PLC0415 - few need it

        metrics = Metrics(lambda: self.services.run_state.server, registry)
        self.services.pages.add(path, metrics.page)
        metrics.register()
        return metrics.registry
