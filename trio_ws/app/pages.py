"""Answers to plain GETs, beside the WebSockets.

This is small on purpose, and no web framework.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from functools import partial
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, Final, TypeAlias
from urllib.parse import unquote

import attrs

from trio_ws.app.files import SAFE_HEADERS, file_answer
from trio_ws.connection.serialization import to_json
from trio_ws.handler.service import Response
from trio_ws.headers import Headers
from trio_ws.options import check_text
from trio_ws.runtime.threads import call

if TYPE_CHECKING:
    import trio

    from trio_ws.connection.encoders import ToJSON
    from trio_ws.handler.post_endpoint import PostEndpoint
    from trio_ws.http.request import Request

__all__ = ["NOT_FOUND", "UPGRADE_REQUIRED", "Page", "Pages", "StaticFolder"]

Content: TypeAlias = "str | bytes | dict[str, Any] | list[Any] | object | Response"
Page: TypeAlias = "Callable[[Request], Content | Awaitable[Content]]"
"""A function that makes a page. Text is HTML; a dict, list or model is JSON; a plain `def` runs in a thread."""

NOT_FOUND: Final = Response(status=404, headers={"Content-Type": "text/plain; charset=utf-8"}, body=b"not found\n")
UPGRADE_REQUIRED: Final = Response(
    status=426,
    headers={"Upgrade": "websocket", "Content-Type": "text/plain; charset=utf-8"},
    body=b"this path is a WebSocket\n",
)
_POST_ONLY: Final = Response(
    status=405,
    headers={"Allow": "POST", "Content-Type": "text/plain; charset=utf-8"},
    body=b"this path takes POST alone\n",
)
INDEX: Final = "index.html"
"""The file of a folder that its own path names."""
_NONE: Final = Headers()


@attrs.frozen(eq=False, repr=False)
class StaticFolder:
    """The files below one folder, under one prefix."""

    prefix: str
    folder: Path

    async def page(self, path: str, headers: Headers = _NONE, method: str = "GET") -> Response | None:
        """Return the file for a path, None if there is none.

        Nothing outside the folder is read.
        A path that ends with a slash names the `index.html` of a folder. Names that begin with a dot name nothing.
        """
        if not path.startswith(self.prefix):
            return None
        parts = PurePosixPath(unquote(path[len(self.prefix) :])).parts
        if any(part.startswith(".") or "/" in part or "\x00" in part or "\\" in part for part in parts):
            return None
        if path.endswith("/"):
            parts += (INDEX,)
        return await file_answer(self.folder.joinpath(*parts), headers, allowed=self._allows, method=method)

    async def is_folder(self, path: str) -> bool:
        """Return True if only a slash is missing to a folder's index."""
        below = f"{path}/"
        return not path.endswith("/") and await self.page(below, method="HEAD") is not None

    def _allows(self, real: Path) -> bool:
        """Return True for a visible path in the folder, links followed."""
        return real.is_relative_to(self.folder) and not any(
            part.startswith(".") for part in real.relative_to(self.folder).parts
        )


class Pages:
    """The pages and static folders of one application."""

    def __init__(self) -> None:
        self._pages: dict[str, Path | Page] = {}
        self._endpoints: dict[str, PostEndpoint] = {}
        self._folders: list[StaticFolder] = []
        self.included: tuple[tuple[str, Pages], ...] = ()
        """The pages of included applications, and what their paths begin with."""

    def __bool__(self) -> bool:
        return bool(self._pages or self._folders or self._endpoints)

    def add(self, path: str, page: Path | Page) -> None:
        """Serve a file, or what a function makes, at `path`.

        Raises:
            ValueError: the path does not begin with a slash, or is taken.
            FileNotFoundError: there is no such file.
        """
        self._check_free(path)
        if isinstance(page, Path) and not page.is_file():
            raise FileNotFoundError(f"no file {str(page)!r} for the page {path!r}")
        self._pages[path] = page

    def _check_free(self, path: str) -> None:
        check_text("path", path)
        if not path.startswith("/"):
            raise ValueError(f"the path of a page begins with a slash: {path!r}")
        if path in self.own_paths:
            raise ValueError(f"there is a page at {path!r} already")

    def add_endpoint(self, path: str, endpoint: PostEndpoint) -> None:
        """Answer POSTs for `path`.

        Raises:
            ValueError: the path does not begin with a slash, or is taken.
        """
        self._check_free(path)
        self._endpoints[path] = endpoint

    def endpoint(self, path: str) -> PostEndpoint | None:
        """Return the endpoint at a path; None if there is none."""
        for prefix, pages in (("", self), *self.included):
            if path.startswith(prefix) and path.removeprefix(prefix) in pages._endpoints:
                return pages._endpoints[path.removeprefix(prefix)]
        return None

    def add_folder(self, prefix: str, folder: Path) -> None:
        """Serve the files below `folder` under `prefix`.

        Raises:
            ValueError: the prefix does not begin with a slash.
            NotADirectoryError: there is no such folder.
        """
        check_text("prefix", prefix)
        if not prefix.startswith("/"):
            raise ValueError(f"the prefix of a static folder begins with a slash: {prefix!r}")
        if not folder.is_dir():
            raise NotADirectoryError(f"no folder {str(folder)!r}")
        self._folders.append(StaticFolder(prefix.rstrip("/") + "/", folder.resolve()))

    def has(self, path: str) -> bool:
        """Return True if there is a page at `path`."""
        return self._find(path) is not None

    @property
    def own_paths(self) -> list[str]:
        """The paths of pages and endpoints, without those of included applications."""
        return [*self._pages, *self._endpoints]

    def paths(self) -> Iterator[str]:
        """Return the paths of all pages, those of included applications too."""
        yield from self._pages
        for prefix, pages in self.included:
            yield from (prefix + path for path in pages._pages)

    def first_path(self) -> str | None:
        """Return the shortest path of a page or of a folder with an index; None without any."""
        folders = [folder.prefix for folder in self._all_folders() if folder.folder.joinpath(INDEX).is_file()]
        return min([*self.paths(), *folders], key=len, default=None)

    def _find(self, path: str) -> Path | Page | None:
        if path in self._pages:
            return self._pages[path]
        found = (
            pages._pages.get(path.removeprefix(prefix)) for prefix, pages in self.included if path.startswith(prefix)
        )
        return next((page for page in found if page is not None), None)

    def _all_folders(self) -> Iterator[StaticFolder]:
        yield from self._folders
        for prefix, pages in self.included:
            yield from (attrs.evolve(folder, prefix=prefix + folder.prefix) for folder in pages._folders)

    def knows(self, path: str) -> bool:
        """Return True if a page or a folder matches; trailing slashes vary."""
        other = path[:-1] if path.endswith("/") else f"{path}/"
        below = any(path.startswith(folder.prefix) for folder in self._all_folders())
        return below or self.has(path) or self.has(other) or self.endpoint(path) is not None

    async def answer(
        self, request: Request, limiter: trio.CapacityLimiter | None = None, encode: ToJSON = to_json
    ) -> Response:
        """Return the page for a request, 404 if there is none.

        A path that differs from a page's in a trailing slash only gets 307.

        Args:
            request: a plain GET.
            limiter: bounds the threads of plain functions; None for Trio's own.
            encode: the application's encoder of JSON.
        """
        path = request.raw_path
        page = self._find(path)
        if page is not None:
            return await _made(page, request, limiter, encode)
        for folder in self._all_folders():
            found = await folder.page(path, request.headers, request.method)
            if found is not None:
                return found
        if self.endpoint(path) is not None:
            return _POST_ONLY
        other = path[:-1] if path.endswith("/") else f"{path}/"
        # "//host" in a Location would lead to another host.
        if not other.startswith("//") and (self.has(other) or await self._is_folder(path)):
            query = request.url.query
            target = f"{request.root_path}{other}"
            return Response(status=307, headers={"Location": f"{target}?{query}" if query else target})
        return NOT_FOUND

    async def _is_folder(self, path: str) -> bool:
        for folder in self._all_folders():
            if await folder.is_folder(path):
                return True
        return False


async def _made(page: Path | Page, request: Request, limiter: trio.CapacityLimiter | None, encode: ToJSON) -> Response:
    if isinstance(page, Path):
        allowed = partial(_is_below, page.parent)
        return await file_answer(page, request.headers, allowed=allowed, method=request.method) or NOT_FOUND
    return _response(await call(page, request, limiter=limiter), encode)


def _response(content: Any, encode: ToJSON) -> Response:
    match content:
        case Response():
            return content
        case str():
            return Response(
                headers=(("Content-Type", "text/html; charset=utf-8"), *SAFE_HEADERS), body=content.encode()
            )
        case bytes():
            return Response(headers=(("Content-Type", "application/octet-stream"), *SAFE_HEADERS), body=content)
        case None | int() | float():
            raise _no_page(content)
    try:
        body = encode(content, spaced=True)
    except TypeError as error:
        if isinstance(content, dict | list):
            raise
        raise _no_page(content) from error
    if not body.startswith(("{", "[")):
        raise _no_page(content)
    return Response(headers=(("Content-Type", "application/json"), *SAFE_HEADERS), body=body.encode())


def _no_page(content: Any) -> TypeError:
    return TypeError(
        f"a page is str, bytes, a dict, list or model for JSON, or a Response, not {type(content).__name__}"
    )


def _is_below(folder: Path, real: Path) -> bool:
    return real.is_relative_to(folder.resolve())
