"""A watchdog for calls that block the event loop, for development.

An instrument of Trio's notes each step of a task; a thread of its own finds a step that takes too long while it does,
and logs the line at which it stands.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Final

import trio

from trio_ws.runtime.log import logger

if TYPE_CHECKING:
    from types import FrameType

__all__ = ["Watchdog", "check_watchdog", "watching"]

_CHECKS: Final = 4
"""Checks in the time that a step may take, so that it is found at most a quarter late."""
_LONGEST: Final = 3600.0
"""Seconds between two checks at most: what a thread can wait is bounded."""
_SHOWN: Final = 5
"""Calls that a record shows: the blocking one and those that led to it."""
_SUGGESTION: Final = "await trio.to_thread.run_sync(...), or a plain def function, lets others run"


def check_watchdog(seconds: object) -> None:
    """Check the option `watchdog=`.

    Raises:
        TypeError: it is no number of seconds, nor None.
        ValueError: it is not more than 0.
    """
    if seconds is None:
        return
    if isinstance(seconds, bool) or not isinstance(seconds, int | float):
        raise TypeError(f"watchdog takes a number of seconds, or None to turn it off, not {seconds!r}")
    if not seconds > 0:
        raise ValueError(f"watchdog must be more than 0 seconds, or None to turn it off, not {seconds!r}")


class Watchdog(trio.abc.Instrument):
    """The instrument of one run of Trio, made in the thread of that run.

    Args:
        seconds: how long a step may take.
        clock: returns the time in seconds.
    """

    def __init__(self, seconds: float, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._seconds = seconds
        self._clock = clock
        self._thread = threading.get_ident()
        self._step: tuple[trio.lowlevel.Task, float] | None = None
        self._reported: object = None
        self._in_library: object = None
        """The step that was reported while none of the application's functions was running in it."""

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        """Note the beginning of a step."""
        self._step = (task, self._clock())

    def after_task_step(self, task: trio.lowlevel.Task) -> None:
        """Report a step that held the interpreter, so that no thread could find it."""
        step, self._step = self._step, None
        if step not in (None, self._reported, self._in_library) and (took := self._clock() - step[1]) >= self._seconds:
            places = _await_places(task)
            self._report(task, took, f"before {places[-1]}" if places else "in its last step")

    def check(self) -> None:
        """Report the running step if it takes too long; any thread may call it.

        A step is reported once, and once more if the library was at work before the application's function.
        """
        step = self._step
        if step is None or step is self._reported:
            return
        took = self._clock() - step[1]
        if took < self._seconds:
            return
        frame = sys._current_frames().get(self._thread)
        places = [_place(each, each.f_lineno) for each in _own_frames(frame)]
        if self._step is step and (places or step is not self._in_library):  # else the frames are those of another step
            if places:
                self._reported = step
            else:
                self._in_library = step
            self._report(step[0], took, f"at {', called from '.join(places[:_SHOWN])}" if places else "in a library")

    def _report(self, task: trio.lowlevel.Task, took: float, where: str) -> None:
        logger.warning("task %s has blocked the event loop for %.1f s, %s: %s", task.name, took, where, _SUGGESTION)


@contextmanager
def watching(seconds: float | None) -> Iterator[None]:
    """Run a watchdog for a block of the current run of Trio.

    Args:
        seconds: how long a step may take; None for no watchdog.
    """
    if seconds is None:
        yield
        return
    watchdog, over = Watchdog(seconds), threading.Event()
    pause = min(seconds / _CHECKS, _LONGEST)
    thread = threading.Thread(target=_patrol, args=(watchdog, over, pause), name="watchdog", daemon=True)
    trio.lowlevel.add_instrument(watchdog)
    thread.start()
    try:
        yield
    finally:
        over.set()
        with suppress(KeyError):  # Trio drops an instrument that fails
            trio.lowlevel.remove_instrument(watchdog)
        thread.join()


def _patrol(watchdog: Watchdog, over: threading.Event, seconds: float) -> None:
    while not over.wait(seconds):
        watchdog.check()


def _own_frames(frame: FrameType | None) -> Iterable[FrameType]:
    """Yield the frames of the application in a step, the innermost first."""
    while frame is not None and frame.f_globals.get("__name__") != "trio._core._run":
        if _is_own(frame):
            yield frame
        frame = frame.f_back


def _await_places(task: trio.lowlevel.Task) -> list[str]:
    """Return where a task waits in the application, the innermost place last; none if it has ended."""
    with suppress(AttributeError, TypeError):  # it has no frame any more, or awaits an object that has none
        return [_place(frame, number) for frame, number in task.iter_await_frames() if _is_own(frame)]
    return []


def _is_own(frame: FrameType) -> bool:
    return not frame.f_code.co_filename.startswith(_libraries())


@cache
def _libraries() -> tuple[str, ...]:
    """Return how the file names of code that is not the application's begin."""
    import sysconfig  # noqa: PLC0415 - takes long, and a watchdog is for development

    standard = (sysconfig.get_path(name) + os.sep for name in ("stdlib", "platstdlib", "purelib", "platlib"))
    return (str(Path(__file__).parents[1]) + os.sep, *standard, "<frozen")


def _place(frame: FrameType, line: int) -> str:
    return f"{frame.f_code.co_filename}:{line} in {frame.f_code.co_qualname}"
