"""Unix sockets of a server, and their paths."""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import stat
from typing import Final

import attrs

__all__ = ["BACKLOG", "BoundHere", "OwnedPath", "bind_unix"]

BACKLOG: Final = 1024
"""Connections that the kernel may hold until they are accepted; the kernel cuts it to its own bound."""


class BoundHere(socket.socket):
    """A Unix socket that `bind_unix` has bound."""

    file: tuple[int, int, int] | None = None
    """Its file, to tell it from that of a later server at the same path."""


def _get_file(path: str) -> tuple[int, int, int] | None:
    """Return the identity of a socket's file, None without one: a later file may have the inode alone."""
    try:
        found = os.lstat(path)
    except OSError:
        return None
    return found.st_dev, found.st_ino, found.st_mtime_ns


@attrs.frozen
class OwnedPath:
    """The path of a Unix socket that this process has bound."""

    path: str
    file: tuple[int, int, int] | None
    """The file at the path since it was bound; None if that is unknown."""

    def remove(self) -> None:
        """Remove the path, unless it is another server's by now, which has found this one not listening."""
        if self.file is None or self.file == _get_file(self.path):
            with contextlib.suppress(FileNotFoundError):
                os.unlink(self.path)


def bind_unix(path: str | os.PathLike[str], *, mode: int | None = None, backlog: int = BACKLOG) -> socket.socket:
    """Bind and listen on a Unix socket, replacing a stale one.

    A socket is stale if no process listens on it.

    Args:
        path: of the socket.
        mode: the permissions of the path, set before it can be connected to; None for those that the umask leaves.
        backlog: connections that may wait to be accepted.

    Raises:
        OSError: the path is empty, in use, no socket, or cannot be written.
    """
    name = os.fspath(path)
    if not name:  # Linux would choose a random name in the abstract namespace
        raise FileNotFoundError(errno.ENOENT, "the path of the Unix socket is empty")
    _remove_stale(name)
    sock = BoundHere(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        sock.bind(name)
        sock.file = _get_file(name)
        _listen_with_mode(sock, name, mode, backlog)
    except BaseException:
        sock.close()
        raise
    sock.setblocking(False)
    return sock


def _listen_with_mode(sock: socket.socket, name: str, mode: int | None, backlog: int) -> None:
    try:
        if mode is not None:
            os.chmod(name, mode)
        sock.listen(backlog)
    except BaseException:
        os.unlink(name)
        raise


def _remove_stale(name: str) -> None:
    try:
        if not stat.S_ISSOCK(os.stat(name).st_mode):
            raise FileExistsError(errno.EEXIST, "is no socket, it is left alone", name)
    except FileNotFoundError:
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.setblocking(False)  # a listener with a full backlog is alive
        try:
            probe.connect(name)
        except ConnectionRefusedError:
            os.unlink(name)
            return
        except BlockingIOError:
            pass
    raise OSError(errno.EADDRINUSE, "another server listens on it", name)
