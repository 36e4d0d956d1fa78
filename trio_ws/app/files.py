"""Files as HTTP answers, with validators, single ranges, and bodies that are sent in pieces (RFC 9110)."""

from __future__ import annotations

import mimetypes
import os
import re
from collections.abc import AsyncGenerator, Callable
from email.utils import formatdate, parsedate_to_datetime
from functools import partial
from io import FileIO
from pathlib import Path
from typing import Final

import attrs
import trio

from trio_ws.handler.service import Response, Streamed
from trio_ws.headers import Headers

__all__ = ["PIECE_BYTES", "SAFE_HEADERS", "FileChanged", "file_answer", "type_of"]

PIECE_BYTES: Final = 128 * 1024
"""What of a file is in memory for one client at a time; a smaller file is read in one go."""
SAFE_HEADERS: Final = (("X-Content-Type-Options", "nosniff"), ("Cache-Control", "no-cache"))

# What a page cannot do without, whatever the tables of the machine say.
_TYPES: Final = {
    ".css": "text/css",
    ".html": "text/html",
    ".js": "text/javascript",
    ".json": "application/json",
    ".mjs": "text/javascript",
    ".svg": "image/svg+xml",
    ".wasm": "application/wasm",
}
# Sent as they are, and not declared as a Content-Encoding: who asks for an archive wants the archive.
_PACKED: Final = {
    "bzip2": "application/x-bzip2",
    "compress": "application/x-compress",
    "gzip": "application/gzip",
    "xz": "application/x-xz",
}
_UNKNOWN: Final = "application/octet-stream"
# RFC 9110 14.1.2; 18 digits are more than any file has, and few enough for int().
_RANGE: Final = re.compile(r"bytes=[ \t]*(?:(\d{1,18})-(\d{0,18})|-(\d{1,18}))[ \t]*", re.IGNORECASE | re.ASCII)
_ENTITY_TAG: Final = re.compile(r'(?:W/)?("[^"]*")')


class FileChanged(Exception):  # noqa: N818 - what it is
    """A file has changed while it was sent: the connection ends before the body is complete."""


@attrs.frozen
class _Found:
    """A file, as it was when it was looked at."""

    path: Path
    size: int
    modified: int
    """In nanoseconds since 1970."""
    body: bytes | None
    """The content of a small file."""

    @property
    def entity_tag(self) -> str:
        return f'"{self.modified:x}-{self.size:x}"'

    @property
    def last_modified(self) -> str:
        return formatdate(self.modified // 1_000_000_000, usegmt=True)


def type_of(name: str) -> str:
    """Return the Content-Type of a file by its name."""
    kind, encoding = mimetypes.guess_type(name)
    if encoding is not None:
        return _PACKED.get(encoding, _UNKNOWN)
    kind = _TYPES.get(Path(name).suffix.lower(), kind) or _UNKNOWN
    return f"{kind}; charset=utf-8" if kind.startswith("text/") else kind


async def file_answer(
    path: Path, headers: Headers, *, allowed: Callable[[Path], bool], method: str = "GET"
) -> Response | None:
    """Answer a GET or HEAD with a file, None if there is none.

    `If-None-Match` and `If-Modified-Since` get a 304; `Range`, with or without `If-Range`, gets one range with 206, or
    416. Several ranges at once get the whole file (RFC 9110 14.2).

    Args:
        path: of the file.
        headers: of the request.
        allowed: called in a thread with the path that links lead to; False is as if there were no file.
        method: "GET" or "HEAD", which has no ranges.
    """
    found = await trio.to_thread.run_sync(_find, path, allowed)
    if found is None:
        return None
    fields = [
        *SAFE_HEADERS,
        ("ETag", found.entity_tag),
        ("Last-Modified", found.last_modified),
        ("Accept-Ranges", "bytes"),
    ]
    if _is_fresh(found, headers):
        return Response(status=304, headers=fields)
    fields.append(("Content-Type", type_of(path.name)))
    wanted = _wanted(found, headers) if method == "GET" else None
    if wanted is None:
        return _part(found, fields, 0, found.size)
    if not wanted:
        return Response(status=416, headers=[*SAFE_HEADERS, ("Content-Range", f"bytes */{found.size}")])
    begin, end = wanted.start, wanted.stop
    fields.append(("Content-Range", f"bytes {begin}-{end - 1}/{found.size}"))
    return _part(found, fields, begin, end, status=206)


def _find(path: Path, allowed: Callable[[Path], bool]) -> _Found | None:
    try:
        real = path.resolve()
        if not (real.is_file() and allowed(real)):
            return None
        status = real.stat()
        body = real.read_bytes() if status.st_size <= PIECE_BYTES else None
    except (OSError, RuntimeError):  # a name too long, links in a circle: who asks so shall not fill the log
        return None
    size = status.st_size if body is None else len(body)
    return _Found(real, size, status.st_mtime_ns, body)


def _part(found: _Found, fields: list[tuple[str, str]], begin: int, end: int, *, status: int = 200) -> Response:
    if found.body is not None:
        return Response(status=status, headers=fields, body=found.body[begin:end])
    return Streamed(status=status, headers=fields, length=end - begin, pieces=partial(_pieces, found, begin, end))


async def _pieces(found: _Found, begin: int, end: int) -> AsyncGenerator[bytes, None]:
    """Read a part of a file, a piece each time that one was sent."""
    file = await trio.to_thread.run_sync(_open, found, begin)
    try:
        while begin < end:
            piece = await trio.to_thread.run_sync(file.read, min(PIECE_BYTES, end - begin))
            if not piece:
                raise FileChanged(f"{found.path} has become shorter while it was sent")
            yield piece
            begin += len(piece)
    finally:
        file.close()


def _open(found: _Found, begin: int) -> FileIO:
    file = FileIO(found.path)
    try:
        status = os.fstat(file.fileno())
        if (status.st_size, status.st_mtime_ns) != (found.size, found.modified):
            raise FileChanged(f"{found.path} has changed since its head was sent")
        file.seek(begin)
    except BaseException:
        file.close()
        raise
    return file


# --- conditions and ranges (RFC 9110 13 and 14) -----------------------------------------------------------------------


def _is_fresh(found: _Found, headers: Headers) -> bool:
    """Return whether what the client has is what we would send: the tags count, then the date."""
    tags = headers.get_list("if-none-match")
    if tags:
        given = ", ".join(tags)
        return given.strip() == "*" or found.entity_tag in _ENTITY_TAG.findall(given)
    since = _seconds(headers.get("if-modified-since", ""))
    return since is not None and found.modified // 1_000_000_000 <= since


def _wanted(found: _Found, headers: Headers) -> range | None:
    """Return the bytes that a Range asks for; an empty one if it has none of the file, None for the whole."""
    asked = headers.get_list("range")
    match = _RANGE.fullmatch(asked[0]) if len(asked) == 1 else None
    if match is None or not _range_applies(found, headers):
        return None
    first, last, suffix = match.groups()
    if suffix is not None:
        return range(max(found.size - int(suffix), 0), found.size)
    begin = int(first)
    if not last:
        return range(begin, found.size)
    return None if int(last) < begin else range(begin, min(int(last) + 1, found.size))


def _range_applies(found: _Found, headers: Headers) -> bool:
    """Return whether `If-Range`, if there is one, names what we would send; a weak tag never does."""
    given = headers.get("if-range")
    return given is None or given in (found.entity_tag, found.last_modified)


def _seconds(date: str) -> float | None:
    try:
        return parsedate_to_datetime(date).timestamp()
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
