"""A server in a child process that restarts when a file changes, for development."""

from __future__ import annotations

import importlib.util
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Sequence
from fnmatch import fnmatch
from pathlib import Path
from typing import Any, Final

import trio

from trio_ws.server.signals import END_SIGNALS, print_line, terminal_end_signals

__all__ = ["DETACHED", "NO_GRACE_SIGNAL", "RESTART_SIGNAL", "SETTLE_CHECKS", "WatchedFiles", "folders_of", "supervise"]

RESTART_SIGNAL: Final[signal.Signals] = getattr(signal, "SIGUSR1", signal.SIGTERM)
"""The signal for a restart; on Windows any signal ends the child at once."""
NO_GRACE_SIGNAL: Final[signal.Signals] = getattr(signal, "SIGUSR2", signal.SIGTERM)
"""The signal that cancels the handlers at once, and nothing else: a slow process finds two signals in any order."""
POLL_SECONDS: Final = 0.5
"""Seconds between two checks of the files."""
SETTLE_SECONDS: Final = 0.1
"""Seconds without a further change after which files count as written: an editor writes in steps, git many files."""
SETTLE_CHECKS: Final = 20
"""Checks for further changes at most, as some files may change all the time."""
GRACE_SECONDS: Final = 1.0
"""Seconds that handlers of the old server have to finish."""
KILL_SECONDS: Final = 10.0
"""Seconds after which the old server is killed."""

_NOT_OURS: Final = frozenset({"__pycache__", "node_modules", "site-packages"})
# In a process group of its own, so that only the supervisor gets Ctrl-C and forwards it once.
DETACHED: Final[dict[str, Any]] = {"stdin": subprocess.DEVNULL} | ({"process_group": 0} if os.name == "posix" else {})
"""Options for the child process of a supervisor."""


def folders_of(module: str) -> list[Path]:
    """Return the folders of an application's code: the working directory and its package's."""
    here = Path.cwd()
    folders = [here]
    sys.path.insert(0, str(here))
    try:
        spec = importlib.util.find_spec(module.partition(".")[0])
    except ValueError:  # of a module that was not imported, such as __main__
        spec = None
    if spec is not None:
        alone = [str(Path(spec.origin).parent)] if spec.origin is not None and spec.has_location else []
        places = spec.submodule_search_locations or alone
        folders.extend(place for place in map(Path, places) if not place.is_relative_to(here))
    return folders


class WatchedFiles:
    """The Python files below some folders, and others by pattern, with their modification times and sizes.

    Args:
        folders: folders to search; environments, caches, hidden folders and hidden Python files, which editors write,
            are skipped. Links are followed to files, and to packages elsewhere.
        include: patterns of further files, such as "*.html" for a name or "templates/*" for a path below a folder.
    """

    def __init__(self, folders: Iterable[Path], include: Iterable[str] = ()) -> None:
        self._folders = list(folders)
        self._patterns = ("[!.]*.py", *include)
        self._seen = self._scan()

    def changed(self) -> list[Path]:
        """Return the files that were written, created or removed since the last call."""
        before, self._seen = self._seen, self._scan()
        return sorted({path for path, _ in before.items() ^ self._seen.items()})

    def _scan(self) -> dict[Path, tuple[int, int]]:
        return dict(each for folder in self._folders for each in _versions(folder, self._patterns))


def _versions(folder: Path, patterns: Iterable[str]) -> Iterator[tuple[Path, tuple[int, int]]]:
    """Yield files with what Python tells their versions by, too."""
    linked: set[Path] = set()
    for place, folders, files in os.walk(folder, followlinks=True):
        if "pyvenv.cfg" in files:
            folders.clear()
            continue
        folders[:] = [
            name
            for name in folders
            if name not in _NOT_OURS and not name.startswith(".") and _is_followed(Path(place, name), folder, linked)
        ]
        for name in files:
            path = Path(place, name)
            if any(_matches(path, folder, pattern) for pattern in patterns):
                try:
                    found = path.stat()
                except OSError:  # it was removed in the meantime
                    continue
                yield path, (found.st_mtime_ns, found.st_size)


def _is_followed(place: Path, folder: Path, linked: set[Path]) -> bool:
    """Return True for a folder, and for a link to a package elsewhere, the first of its kind: links may go round."""
    if not place.is_symlink():
        return True
    target = place.resolve()
    if target in linked or target.is_relative_to(folder.resolve()) or not (target / "__init__.py").exists():
        return False
    linked.add(target)
    return True


def _matches(path: Path, folder: Path, pattern: str) -> bool:
    """Return True for a file whose name, or path below the folder, has a pattern of shells."""
    return fnmatch(str(path.relative_to(folder)).replace(os.sep, "/") if "/" in pattern else path.name, pattern)


async def supervise(
    command: Sequence[str],
    folders: Iterable[Path],
    *,
    include: Iterable[str] = (),
    poll_seconds: float = POLL_SECONDS,
    output: Callable[[str], None] = print_line,
) -> int:
    """Run a server until SIGINT or SIGTERM, and restart it when a file changes.

    SIGHUP, the end of the terminal, ends the server too, unless it is ignored, as under `nohup`. A server that fails
    is restarted after the next change; one that ends without an error is not restarted. A server that has not ended
    ten seconds after the second signal is killed.

    Args:
        command: the server's command line; `RESTART_SIGNAL` must shut the server down, `NO_GRACE_SIGNAL` at once. On
            POSIX systems a descriptor is appended, which is at its end when the supervisor has ended.
        folders: folders to check for changes.
        include: patterns of files beside those of Python.
        poll_seconds: seconds between two checks.
        output: called with each line of output.

    Returns:
        The last exit status of the server.

    Raises:
        OSError: the command cannot be started.
        RuntimeError: this is not the main thread.
        trio.Cancelled: after the server was killed.
    """
    supervisor = _ReloadSupervisor(command, WatchedFiles(folders, include), poll_seconds, output)
    with trio.open_signal_receiver(*END_SIGNALS, *terminal_end_signals()) as signals:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(supervisor.forward_signals, signals)
            await supervisor.run()
            nursery.cancel_scope.cancel(reason="the server has ended")
    return supervisor.status


class _ReloadSupervisor:
    """Runs one server after another and forwards signals to the current one."""

    def __init__(
        self, command: Sequence[str], files: WatchedFiles, poll_seconds: float, output: Callable[[str], None]
    ) -> None:
        self._command = list(command)
        self._files = files
        self._poll_seconds = poll_seconds
        self._output = output
        self._process: trio.Process | None = None
        self._scope = trio.CancelScope()
        self._ending = False
        self._impatient = trio.Event()  # set by a second signal
        self._restarting = False
        self._changed: set[Path] = set()  # files whose change no server has been started for
        self.status = 0
        """Exit status of the last server."""

    async def forward_signals(self, signals: AsyncIterator[int]) -> None:
        """Forward signals to the server; end at once if there is none."""
        async for number in signals:
            if self._ending:
                self._impatient.set()
            self._ending = True
            if self._process is None:
                self._scope.cancel(reason=signal.Signals(number).name)
            else:
                self._process.send_signal(number if number in END_SIGNALS else signal.SIGTERM)

    async def run(self) -> None:
        """Run servers until one ends that is not to be restarted."""
        with self._scope:
            again = True
            while again:
                again = await self._run_one()

    async def _run_one(self) -> bool:
        link, process = await self._open()
        self._process = process
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._restart_on_change, process)
                nursery.start_soon(self._kill_when_impatient, process)
                self.status = await process.wait()
                nursery.cancel_scope.cancel(reason="the server has ended")
        finally:
            self._process = None
            with trio.CancelScope(shield=True):
                if process.returncode is None:
                    process.kill()
                await process.wait()
            if link is not None:
                os.close(link)
        if self._ending:
            return False
        if self._restarting:
            return True
        if self.status == 0:
            return False
        self._output(f"the server has ended with status {self.status}: waiting for a change")
        await self._wait_for_change()
        return True

    async def _open(self) -> tuple[int | None, trio.Process]:
        """Start a server, and return this process's end of the link to it."""
        if os.name != "posix":
            return None, await trio.lowlevel.open_process(self._command, **DETACHED)
        theirs, ours = os.pipe()
        try:
            command = [*self._command, str(theirs)]
            return ours, await trio.lowlevel.open_process(command, pass_fds=[theirs], **DETACHED)
        except BaseException:
            os.close(ours)
            raise
        finally:
            os.close(theirs)

    async def _wait_for_change(self) -> None:
        """Wait for a change, and for the end of the writing, and print the changed files.

        What was found when the server ends by itself counts for the next one: it was changed after its start.
        """
        while not (self._find_changes() or self._changed):  # noqa: ASYNC110 - files have no events
            await trio.sleep(self._poll_seconds)
        for _ in range(SETTLE_CHECKS):
            await trio.sleep(SETTLE_SECONDS)
            if not self._find_changes():
                break
        self._output(f"restarting: {', '.join(path.name for path in sorted(self._changed))} changed")
        self._changed.clear()

    def _find_changes(self) -> bool:
        found = self._files.changed()
        self._changed.update(found)
        return bool(found)

    async def _kill_when_impatient(self, process: trio.Process) -> None:
        """Kill the server that goes on after two signals, as one whose event loop hangs does."""
        await self._impatient.wait()
        await trio.sleep(KILL_SECONDS)
        self._output(f"the server is killed: it has not ended within {KILL_SECONDS:g} s")
        process.kill()

    async def _restart_on_change(self, process: trio.Process) -> None:
        """End the server when a file changes: by `RESTART_SIGNAL`, `NO_GRACE_SIGNAL` and SIGKILL."""
        self._restarting = False
        await self._wait_for_change()
        self._restarting = True
        process.send_signal(RESTART_SIGNAL)
        await trio.sleep(GRACE_SECONDS)
        process.send_signal(NO_GRACE_SIGNAL)
        await trio.sleep(KILL_SECONDS - GRACE_SECONDS)
        process.kill()
