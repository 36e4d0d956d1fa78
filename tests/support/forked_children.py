"""Interpreters that a forked program starts are forked from it, as it is from its own parent.

`trio-ws run --workers` and `--reload` start `python -m trio_ws` again and again. Where the start of an interpreter is
not what is tested, the process that would become one runs the command instead.
"""

from __future__ import annotations

import atexit
import os
import signal
import sys
import traceback
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import trio

__all__ = ["fork_interpreters", "own_streams"]

MODULE = [sys.executable, "-m", "trio_ws"]
MAX_DESCRIPTORS = 4096
_replaced: list[object] = []
"""Streams whose descriptors belong to others by now: they are never closed."""


def fork_interpreters(execute: Callable[[list[str]], object]) -> None:
    """Let this process fork where it would start `python -m trio_ws`, if forked processes can have signals.

    Args:
        execute: runs `trio-ws` and its arguments.
    """
    if sys.version_info >= (3, 13):  # there, a process that a thread has forked sees its signals by chance
        return
    start = trio.lowlevel.open_process

    async def open_process(
        command: Sequence[str],
        *,
        pass_fds: Sequence[int] = (),
        env: Mapping[str, str] | None = None,
        **options: Any,
    ) -> trio.Process:
        own = None
        if list(command[: len(MODULE)]) == MODULE:
            own = partial(_become, execute, ["trio-ws", *command[len(MODULE) :]], dict(env or os.environ), pass_fds)
        return await start(command, pass_fds=pass_fds, env=env, preexec_fn=own, **options)

    trio.lowlevel.open_process = open_process  # type: ignore[assignment]


def own_streams() -> None:
    """Give this process standard streams over its own descriptors."""
    _replaced.extend((sys.stdin, sys.stdout, sys.stderr))
    sys.stdin = open(0, closefd=False)  # noqa: SIM115
    sys.stdout, sys.stderr = (open(number, "w", buffering=1, closefd=False) for number in (1, 2))  # noqa: SIM115


def _become(
    execute: Callable[[list[str]], object], command: list[str], environment: dict[str, str], passed: Sequence[int]
) -> None:
    """Run a command instead of an interpreter, in a child that has its descriptors 0 to 2 and its process group."""
    status = 1
    try:
        _close_others({0, 1, 2, *passed})
        own_streams()
        _forget_signals()
        os.environ.clear()
        os.environ.update(environment)
        execute(command)
        status = 0
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else 0 if end.code is None else 1
    except BaseException:
        traceback.print_exc()
    finally:
        atexit._run_exitfuncs()
        sys.stdout.flush()
        os._exit(status)


def _close_others(kept: set[int]) -> None:
    after = 0
    for number in [*sorted(kept), MAX_DESCRIPTORS]:
        if number > after:  # an empty range that begins with 0 closes all
            os.closerange(after, number)
        after = number + 1


def _forget_signals() -> None:
    """Handle signals as a new interpreter does: those of the parent have handlers of its Trio."""
    signal.set_wakeup_fd(-1)
    for number in signal.valid_signals():
        if callable(signal.getsignal(number)):
            signal.signal(number, signal.SIG_DFL)
    for ignored in (signal.SIGPIPE, signal.SIGXFSZ):  # `subprocess` has restored their defaults, which kill
        signal.signal(ignored, signal.SIG_IGN)
    signal.signal(signal.SIGINT, signal.default_int_handler)
