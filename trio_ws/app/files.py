"""Files as HTTP answers with validators, single ranges and streamed bodies (RFC 9110)."""

from __future__ import annotations

import os
import re
import time
from collections.abc import AsyncGenerator, Callable
from errno import EINVAL
from functools import partial, reduce
from io import FileIO
from operator import or_
from pathlib import Path
from stat import S_ISREG
from typing import Final

import attrs
import trio

from trio_ws.handler.service import Response, Streamed
from trio_ws.headers import Headers

__all__ = ["PIECE_BYTES", "SAFE_HEADERS", "FileChanged", "file_answer", "type_of"]

PIECE_BYTES: Final = 128 * 1024
"""Bytes of a file in memory for one client at a time; a smaller file is read in one go."""
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
# RFC 9110 14.1.2; there are clients that write 2^64 - 1 for the end. 100 digits are few enough for int().
_RANGE: Final = re.compile(r"bytes=[ \t]*(?:(\d{1,100})-(\d{0,100})|-(\d{1,100}))[ \t]*", re.IGNORECASE | re.ASCII)
_ENTITY_TAG: Final = re.compile(r'(?:W/)?"[^"]*"')


def _flags(*names: str) -> int:
    """Return flags of `os.open`, without those missing on the platform."""
    return reduce(or_, (getattr(os, name, 0) for name in names))


# No way leads through a link. A FIFO in place of a file is opened at once, and refused.
_FOLDER: Final = _flags("O_DIRECTORY", "O_NOFOLLOW", "O_CLOEXEC", "O_PATH")
_FILE: Final = _flags("O_RDONLY", "O_NOFOLLOW", "O_CLOEXEC", "O_NONBLOCK", "O_NOCTTY", "O_BINARY")
_CAN_WALK: Final = os.open in os.supports_dir_fd


class FileChanged(Exception):  # noqa: N818 - what it is
    """A file that changed while it was sent, with an incomplete body."""


@attrs.frozen(eq=False, repr=False)
class _Found:
    """A file, as it was when it was looked at."""

    path: Path
    size: int
    modified: int
    """In nanoseconds since 1970."""
    body: bytes | None
    """The content of a small file."""
    identity: tuple[int, int]
    """Device and inode."""

    @property
    def entity_tag(self) -> str:
        return f'"{self.modified:x}-{self.size:x}"'

    @property
    def last_modified(self) -> str:
        # Never later than the answer (RFC 9110 8.8.2.1).
        from email.utils import formatdate  # noqa: PLC0415 - its import takes long

        return formatdate(min(self.modified // 1_000_000_000, int(time.time())), usegmt=True)


def type_of(name: str) -> str:
    """Return the Content-Type of a file by its name."""
    import mimetypes  # noqa: PLC0415 - its import takes long

    kind, encoding = mimetypes.guess_type(name)
    if encoding is not None:
        return _PACKED.get(encoding, _UNKNOWN)
    kind = _TYPES.get(Path(name).suffix.lower(), kind) or _UNKNOWN
    return f"{kind}; charset=utf-8" if kind.startswith("text/") else kind


async def file_answer(
    path: Path, headers: Headers, *, allowed: Callable[[Path], bool], method: str = "GET"
) -> Response | None:
    """Return the answer with a file, None if there is none.

    `If-None-Match` and `If-Modified-Since` get a 304; `Range`, with or without `If-Range`, gets one range with 206, or
    416. Several ranges at once get the whole file (RFC 9110 14.2). `If-Match` and `If-Unmodified-Since` get a 412 for a
    file that has changed.

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
    if _has_changed(found, headers):
        return Response(status=412, headers=SAFE_HEADERS)
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
        if not allowed(real):
            return None
        with _open_regular(real) as file:
            status = os.fstat(file.fileno())
            body = file.read(status.st_size) if status.st_size <= PIECE_BYTES else None
    except (OSError, RuntimeError):  # a name too long, links in a circle: who asks so shall not fill the log
        return None
    size = status.st_size if body is None else len(body)
    return _Found(real, size, status.st_mtime_ns, body, (status.st_dev, status.st_ino))


def _open_regular(real: Path) -> FileIO:
    """Open a regular file by a path without links.

    A link that appears in the path after its check is not followed.

    Raises:
        OSError: there is none; to open a FIFO does not wait for its writer.
    """
    descriptor = _open_without_links(real) if _CAN_WALK else os.open(real, _FILE)
    if not S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError(EINVAL, "not a regular file", str(real))
    return FileIO(descriptor)


def _open_without_links(real: Path) -> int:
    folder = os.open(real.anchor, _FOLDER)
    try:
        for part in real.parts[1:-1]:
            below = os.open(part, _FOLDER, dir_fd=folder)
            os.close(folder)
            folder = below
        return os.open(real.name or ".", _FILE, dir_fd=folder)
    finally:
        os.close(folder)


def _part(found: _Found, fields: list[tuple[str, str]], begin: int, end: int, *, status: int = 200) -> Response:
    if found.body is not None:
        return Response(status=status, headers=fields, body=found.body[begin:end])
    return Streamed(status=status, headers=fields, length=end - begin, pieces=partial(_pieces, found, begin, end))


async def _pieces(found: _Found, begin: int, end: int) -> AsyncGenerator[bytes, None]:
    """Yield pieces of a file, each after the previous one was sent."""
    file = await trio.to_thread.run_sync(_open, found, begin)
    try:
        while begin < end:
            piece = await trio.to_thread.run_sync(_read, file, found, min(PIECE_BYTES, end - begin))
            yield piece
            begin += len(piece)
    finally:
        file.close()


def _open(found: _Found, begin: int) -> FileIO:
    try:
        file = _open_regular(found.path)
    except OSError as error:
        raise FileChanged(f"{found.path} cannot be opened any more: {error}") from None
    try:
        _check(file, found)
        file.seek(begin)
    except BaseException:
        file.close()
        raise
    return file


def _read(file: FileIO, found: _Found, size: int) -> bytes:
    piece = file.read(size)
    _check(file, found)  # after it was read: what was read is as it was then
    if not piece:
        raise FileChanged(f"{found.path} has become shorter while it was sent")
    return piece


def _check(file: FileIO, found: _Found) -> None:
    """Raise `FileChanged` if a file was replaced, changed or shortened.

    A file that grows, such as a log, stays valid.
    """
    status = os.fstat(file.fileno())
    if (status.st_dev, status.st_ino) != found.identity:
        raise FileChanged(f"{found.path} is another file since its head was sent")
    if status.st_size < found.size or (status.st_size == found.size and status.st_mtime_ns != found.modified):
        raise FileChanged(f"{found.path} has changed, or become shorter, since its head was sent")


# --- conditions and ranges (RFC 9110 13 and 14) -----------------------------------------------------------------------


def _has_changed(found: _Found, headers: Headers) -> bool:
    """Return True if `If-Match` or `If-Unmodified-Since` does not hold."""
    tags = _tags(headers, "if-match")
    if tags is not None:
        return "*" not in tags and found.entity_tag not in tags  # a weak tag matches nothing (RFC 9110 13.1.1)
    since = _seconds(headers.get("if-unmodified-since", ""))
    return since is not None and found.modified // 1_000_000_000 > since


def _is_fresh(found: _Found, headers: Headers) -> bool:
    """Return True if the client's copy is current, by tags or date."""
    tags = _tags(headers, "if-none-match")
    if tags is not None:
        return "*" in tags or found.entity_tag in [tag.removeprefix("W/") for tag in tags]
    since = _seconds(headers.get("if-modified-since", ""))
    return since is not None and found.modified // 1_000_000_000 <= since


def _tags(headers: Headers, name: str) -> list[str] | None:
    """Return the entity tags of a header; None without the header."""
    values = headers.get_list(name)
    given = ", ".join(values).strip()
    return (["*"] if given == "*" else _ENTITY_TAG.findall(given)) if values else None


def _wanted(found: _Found, headers: Headers) -> range | None:
    """Return the requested range of bytes; None for the whole file.

    An unsatisfiable range is empty.
    """
    asked = headers.get_list("range")
    match = _RANGE.fullmatch(asked[0]) if len(asked) == 1 else None
    if match is None or not _range_applies(found, headers):
        return None
    first, last, suffix = match.groups()
    if suffix is not None:
        # The last bytes of an empty file are all of it, which no Content-Range can say.
        return range(max(found.size - int(suffix), 0), found.size) if found.size or not int(suffix) else None
    begin = int(first)
    if not last:
        return range(begin, found.size)
    return None if int(last) < begin else range(begin, min(int(last) + 1, found.size))


def _range_applies(found: _Found, headers: Headers) -> bool:
    """Return True if `If-Range` is absent, or names the current file.

    A weak tag never does (RFC 9110 13.1.5).
    """
    given = headers.get_list("if-range")
    return not given or given in ([found.entity_tag], [found.last_modified])


def _seconds(date: str) -> float | None:
    """Return the time of an HTTP-date, None for an invalid one.

    The form of `asctime` has no zone, and means UTC (RFC 9110 5.6.7).
    """
    from datetime import UTC  # noqa: PLC0415 - its import takes long
    from email.utils import parsedate_to_datetime  # noqa: PLC0415

    try:
        read = parsedate_to_datetime(date)
        return (read if read.tzinfo is not None else read.replace(tzinfo=UTC)).timestamp()
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
