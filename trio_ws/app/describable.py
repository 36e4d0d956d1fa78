"""`Describable`, the base of `App` with the descriptions of an application."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from trio_ws.app.options import SpecOptions
    from trio_ws.app.route import Route
    from trio_ws.app.services import AppServices

__all__ = ["Describable"]


class Describable:
    """The descriptions of an application, once its subclass has made its services."""

    services: AppServices
    """Its options and shared parts."""

    def route_count(self) -> int:
        """Return the number of its routes."""
        raise NotImplementedError

    def described_routes(self) -> list[Route]:
        """Return all routes, checked."""
        raise NotImplementedError

    def asyncapi(
        self,
        *,
        title: str = "Application",
        version: str = "0.1.0",
        description: str = "",
        servers: Mapping[str, str] = MappingProxyType({}),
    ) -> dict[str, Any]:
        """Return a description of the application by AsyncAPI 3.0.

        A channel for each route, with the messages of listeners by their annotations, those of views by `receives=` and
        `sends=`, parameters, texts of docstrings, guards, and close codes (`x-close-codes`).

        Args:
            title: of the document.
            version: of the application.
            description: of the application, in Markdown.
            servers: URLs by name: `{"production": "wss://example.org"}`.

        Raises:
            RegistrationError: a route cannot work.
            TypeError: an option is of another type.
            ValueError: the URL of a server cannot be read.
        """
        from trio_ws.app.asyncapi.document import build_document  # noqa: PLC0415 - few need it

        options: dict[str, Any] = {"title": title, "version": version, "description": description, "servers": servers}
        return build_document(self.described_routes(), self.services, **options)

    def asyncapi_page(
        self, path: str = "/docs", *, json_path: str | None = None, **options: Unpack[SpecOptions]
    ) -> None:
        """Answer GETs for `path` with a page about the application, and for `json_path` with its AsyncAPI document.

        Both are public, as all pages.

        Args:
            path: begins with a slash.
            json_path: the path of the document; None for `path` with ".json" behind it.
            options: `title=`, `version=`, `description=` and `servers=`, as of `asyncapi`.

        Raises:
            TypeError: there is no such option.
            ValueError: a path does not begin with a slash, or is taken; likewise what `asyncapi` raises.
        """
        from trio_ws.app.asyncapi.document import build_document  # noqa: PLC0415 - few need it
        from trio_ws.app.asyncapi.page import DocumentPages  # noqa: PLC0415 - few need it

        build_document((), self.services, **options)  # so that a mistake in an option is reported here
        pages = DocumentPages(partial(self.asyncapi, **options), self.route_count)
        document = json_path or f"{path.rstrip('/') or '/asyncapi'}.json"
        self.services.pages.add(path, partial(pages.page, document))
        self.services.pages.add(document, pages.document)
