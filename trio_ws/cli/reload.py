"""Reload: runs a server in a child process, and starts it anew when a Python file changes. For development only."""

from __future__ import annotations

import importlib.util
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import trio

from trio_ws.server.signals import END_SIGNALS, print_line, terminal_end_signals

__all__ = ["DETACHED", "RESTART_SIGNAL", "PythonFiles", "folders_of", "supervise"]

RESTART_SIGNAL: Final[signal.Signals] = getattr(signal, "SIGUSR1", signal.SIGTERM)
"""What the child is told when it will be back; Windows ends it at once, whatever the signal."""
LOOK_SECONDS: Final = 0.5
"""Between two looks at the files."""
GRACE_SECONDS: Final = 1.0
"""What the handlers of the old server have: who develops waits for the new one."""
KILL_SECONDS: Final = 10.0
"""What the old server has in all."""

_NOT_OURS: Final = frozenset({"__pycache__", "node_modules", "site-packages"})
# A group of its own: Ctrl-C at the terminal is for the supervisor, which passes it on, once.
DETACHED: Final[dict[str, Any]] = {"stdin": subprocess.DEVNULL} | ({"process_group": 0} if os.name == "posix" else {})
"""How a process is started that a supervisor looks after."""


def folders_of(module: str) -> list[Path]:
    """Return the folders that hold an application's code: the working directory, and its package's if elsewhere."""
    here = Path.cwd()
    folders = [here]
    sys.path.insert(0, str(here))
    spec = importlib.util.find_spec(module.partition(".")[0])
    if spec is not None:
        alone = [str(Path(spec.origin).parent)] if spec.origin is not None and spec.has_location else []
        places = spec.submodule_search_locations or alone
        folders.extend(place for place in map(Path, places) if not place.is_relative_to(here))
    return folders


class PythonFiles:
    """The Python files below some folders, and when they were changed.

    Args:
        folders: where to look; environments, caches and what is hidden are left out.
    """

    def __init__(self, folders: Iterable[Path]) -> None:
        self._folders = list(folders)
        self._seen = self._look()

    def changed(self) -> list[Path]:
        """Return the files that were written, made or removed since the last call."""
        before, self._seen = self._seen, self._look()
        return sorted({path for path, _ in before.items() ^ self._seen.items()})

    def _look(self) -> dict[Path, int]:
        return dict(times for folder in self._folders for times in _times(folder))


def _times(folder: Path) -> Iterator[tuple[Path, int]]:
    for place, folders, files in os.walk(folder):
        if "pyvenv.cfg" in files:
            folders.clear()
            continue
        folders[:] = [name for name in folders if name not in _NOT_OURS and not name.startswith(".")]
        for name in files:
            if name.endswith(".py"):
                path = Path(place, name)
                try:
                    yield path, path.stat().st_mtime_ns
                except OSError:  # it was removed meanwhile
                    continue


async def supervise(
    command: Sequence[str],
    folders: Iterable[Path],
    *,
    look_seconds: float = LOOK_SECONDS,
    say: Callable[[str], None] = print_line,
) -> int:
    """Run a server until SIGINT or SIGTERM, and restart it when a Python file changes; return its last exit status.

    The end of the terminal (SIGHUP) is that of the server, too, which does not hear of it; unless it was started to
    ignore that, with `nohup`.

    A server that fails is started again at the next change; one that ends without an error is not.

    Args:
        command: starts the server, which takes `RESTART_SIGNAL` for a farewell.
        folders: where to look for changes.
        look_seconds: how often.
        say: called with each line for the person at the terminal.

    Raises:
        OSError: the command cannot be started.
        RuntimeError: this is not the main thread.
        trio.Cancelled: the server was killed.
    """
    supervisor = _ReloadSupervisor(command, PythonFiles(folders), look_seconds, say)
    with trio.open_signal_receiver(*END_SIGNALS, *terminal_end_signals()) as signals:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(supervisor.pass_on, signals)
            await supervisor.run()
            nursery.cancel_scope.cancel(reason="the server has ended")
    return supervisor.status


class _ReloadSupervisor:
    """The servers that come one after another, and the signals that are for the present one."""

    def __init__(
        self, command: Sequence[str], files: PythonFiles, look_seconds: float, say: Callable[[str], None]
    ) -> None:
        self._command = list(command)
        self._files = files
        self._look_seconds = look_seconds
        self._say = say
        self._process: trio.Process | None = None
        self._scope = trio.CancelScope()
        self._ending = False
        self._restarting = False
        self.status = 0
        """What the last server ended with."""

    async def pass_on(self, signals: AsyncIterator[int]) -> None:
        """Tell the server what we are told; end at once if there is none."""
        async for number in signals:
            self._ending = True
            if self._process is None:
                self._scope.cancel(reason=signal.Signals(number).name)
            else:
                self._process.send_signal(number if number in END_SIGNALS else signal.SIGTERM)

    async def run(self) -> None:
        """Run servers until one ends that need not be replaced."""
        with self._scope:
            again = True
            while again:
                again = await self._run_one()

    async def _run_one(self) -> bool:
        self._process = process = await trio.lowlevel.open_process(self._command, **DETACHED)
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._restart_on_change, process)
                self.status = await process.wait()
                nursery.cancel_scope.cancel(reason="the server has ended")
        finally:
            self._process = None
            with trio.CancelScope(shield=True):
                if process.returncode is None:
                    process.kill()
                await process.wait()
        if self._ending:
            return False
        if self._restarting:
            return True
        if self.status == 0:
            return False
        self._say(f"the server has ended with status {self.status}: waiting for a change")
        await self._change()
        return True

    async def _change(self) -> None:
        """Wait for a change, and say what it was."""
        while not (changed := self._files.changed()):  # noqa: ASYNC110 - files do not tell
            await trio.sleep(self._look_seconds)
        self._say(f"restarting: {', '.join(path.name for path in changed)} changed")

    async def _restart_on_change(self, process: trio.Process) -> None:
        """End the server when a file changes: politely, then firmly, then for good."""
        self._restarting = False
        await self._change()
        self._restarting = True
        process.send_signal(RESTART_SIGNAL)
        await trio.sleep(GRACE_SECONDS)
        process.terminate()
        await trio.sleep(KILL_SECONDS - GRACE_SECONDS)
        process.kill()
