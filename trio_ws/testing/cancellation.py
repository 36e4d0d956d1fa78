"""Cancellation of a scenario at each of its checkpoints, with a look for what it leaves behind.

A task can be cancelled where it begins, where it starts to wait, and where its waiting is over but it has not run yet.
All of these are tried, until the scenario ends before the cancellation would have come.
"""

from __future__ import annotations

import inspect
import os
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from itertools import count
from typing import Any, Final, Literal, TypeAlias

import trio

from trio_ws.testing.recorder import LeakedTask, describe_task
from trio_ws.testing.timeouts import bounded_wait, check_timeout
from trio_ws.testing.wire import Recording, check_recording, recorded

__all__ = ["CancellationPoint", "LeakedDescriptor", "Moment", "cancel_everywhere", "leaves_nothing"]

Moment: TypeAlias = Literal["waits", "wakes"]
"""Where a task is cancelled: as it starts to wait, or when its waiting is over."""

DEFAULT_TIMEOUT: Final = 5.0
"""Seconds that one run may take, and that tasks and descriptors of the other side have to end."""
POLL_SECONDS: Final = 0.001
LONGEST_POLL_SECONDS: Final = 0.1
"""What ends at all ends within milliseconds: the wait for a leak need not look a thousand times a second."""


class LeakedDescriptor(Exception):  # noqa: N818 - a state, not an error of ours
    """File descriptors are open that were not before the scenario.

    Example:
        with pytest.raises(LeakedDescriptor):
            async with leaves_nothing():
                sock = trio.socket.socket()
    """


class _CancelAtStep(trio.abc.Instrument):
    """Cancels a scope when a task, or one of its children, has waited so many times."""

    def __init__(self, task: trio.lowlevel.Task, scope: trio.CancelScope, steps: int, moment: Moment) -> None:
        self._task = task
        self._scope = scope
        self._steps = steps
        self._moment = moment
        self.place: str | None = None
        """Where the task was when it was cancelled; None if it was not."""

    def after_task_step(self, task: trio.lowlevel.Task) -> None:
        if self._moment == "waits":
            self._count(task)

    def task_scheduled(self, task: trio.lowlevel.Task) -> None:
        if self._moment == "wakes":
            self._count(task)

    def _count(self, task: trio.lowlevel.Task) -> None:
        if self.place is None and self._concerns(task):
            self._steps -= 1
            if self._steps == 0:
                self.place = describe_task(task)
                self._scope.cancel(reason="cancel_everywhere")

    def _concerns(self, task: trio.lowlevel.Task) -> bool:
        while task is not self._task:
            if task.parent_nursery is None:
                return False
            task = task.parent_nursery.parent_task
        return True


class CancellationPoint:
    """Where one run of a scenario is cancelled; `with point():` marks the part that may be.

    Example:
        async def scenario(point):
            async with app.test_client() as client, client.websocket_connect("/echo") as ws:
                with point():
                    await ws.send("first")
                await ws.send("second")

    Args:
        step: how often the part has waited until then; 0 cancels before it begins.
        moment: "waits" cancels where it starts to wait, "wakes" where its waiting is over.
    """

    def __init__(self, step: int, moment: Moment) -> None:
        self.step = step
        self.moment: Moment = moment
        self.place: str | None = None
        """The task and the line that were cancelled; None if the part ended before, or was not entered."""
        self.entered: bool = False
        """True if the scenario has entered the part."""
        self.cancelled: bool = False
        """True if the part ended by it; a part that is cancelled may still come to its end."""

    @property
    def fired(self) -> bool:
        """True if the part was cancelled before its end."""
        return self.place is not None

    @contextmanager
    def __call__(self) -> Iterator[trio.CancelScope]:
        """Mark the part of the scenario that is cancelled.

        Raises:
            RuntimeError: the scenario has marked a part before.
        """
        if self.entered:
            raise RuntimeError("a scenario marks one part: `with point():` was entered twice")
        self.entered = True
        task = trio.lowlevel.current_task()
        with trio.CancelScope() as scope:
            if self.step == 0:
                self.place = describe_task(task)
                scope.cancel(reason="cancel_everywhere")
                yield scope
            else:
                instrument = _CancelAtStep(task, scope, self.step, self.moment)
                trio.lowlevel.add_instrument(instrument)
                try:
                    yield scope
                finally:
                    trio.lowlevel.remove_instrument(instrument)
                    self.place = instrument.place
        self.cancelled = scope.cancelled_caught

    def __repr__(self) -> str:
        place = "" if self.place is None else f": {self.place}"
        return f"<cancelled where step {self.step} {self.moment}{place}>"


Scenario: TypeAlias = Callable[..., Awaitable[object]]


async def cancel_everywhere(
    scenario: Scenario,
    *,
    check: Callable[[CancellationPoint], object] | None = None,
    frames: bool = True,
    max_steps: int = 1000,
    timeout: float = DEFAULT_TIMEOUT,  # noqa: ASYNC109 - of each run
) -> int:
    """Run a scenario once for each of its checkpoints, cancel it there, and look for what it leaves behind.

    After each run no task and no file descriptor is there that was not before, and no connection of a test client had
    a torn or invalid frame. An error has a note with the cancelled place, and the runs end with it. Works with real
    and with virtual time.

    Cancelling this call ends the current run, without further checks.

    Example:
        async def test_sends_are_whole():
            async def scenario(point):
                async with app.test_client() as client, client.websocket_connect("/echo") as ws:
                    with point():
                        await ws.send("first")
                    await ws.send("last")
                    assert await ws.receive() == ("last" if point.cancelled else "first")

            assert await cancel_everywhere(scenario) > 2

    Args:
        scenario: an async function that takes a `CancellationPoint` and marks a part with it, or takes nothing and is
            cancelled as a whole.
        check: called with the point after each run, `async` or not; it raises if something is wrong.
        frames: False if the scenario sends invalid frames itself.
        max_steps: checkpoints that a scenario has at most.
        timeout: seconds that one run may take, and that what belongs to it has to end.

    Returns:
        The number of runs.

    Raises:
        RuntimeError: the scenario has more checkpoints, or marks no part.
        TypeError: the scenario or the check is no such function.
        TestTimeout: a run did not end in time.
        LeakedTask: tasks are left; the message says where they wait.
        LeakedDescriptor: file descriptors are left open.
        TornFrame: a connection ended inside a frame.
        InvalidFrame: a side sent a frame that breaks a rule.
        ValueError: the timeout is invalid.
        Exception: raised by the scenario or the check.
    """
    check_timeout(timeout)
    whole = not _takes_point(scenario)
    if check is not None and not (callable(check) and _fits(check, 1)):
        raise TypeError(f"check is called with the point of each run: write def check(point), not {check!r}")
    runs = 0
    moments: tuple[Moment, ...] = ("waits", "wakes")
    for moment in moments:
        for step in count(0 if moment == "waits" else 1):
            point = CancellationPoint(step, moment)
            try:
                await _run(scenario, point, check, whole=whole, frames=frames, seconds=timeout)
            except BaseException as error:
                error.add_note(f"in {point!r}")
                raise
            runs += 1
            if not point.fired:
                break
            if step >= max_steps:
                raise RuntimeError(
                    f"the scenario has more than {max_steps} checkpoints: let it end, mark a shorter part, or raise "
                    f"max_steps (the last was {point!r})"
                )
    return runs


def _takes_point(scenario: object) -> bool:
    if inspect.iscoroutine(scenario):
        scenario.close()
        raise TypeError("a scenario runs many times: give the async function itself, without calling it")
    if not callable(scenario):
        raise TypeError(f"a scenario is an async function, not {scenario!r}")
    if not _fits(scenario, 1) and not _fits(scenario, 0):
        raise TypeError(f"a scenario takes the point, or nothing: write async def scenario(point), not {scenario!r}")
    return _fits(scenario, 1)


def _awaitable(result: Any) -> Awaitable[object]:
    if not inspect.isawaitable(result):
        raise TypeError(f"a scenario is an async function; this one returned {result!r}")
    return result


def _fits(function: Callable[..., object], count: int) -> bool:
    try:
        inspect.signature(function).bind(*[None] * count)
    except TypeError:
        return False
    return True


async def _run(
    scenario: Scenario,
    point: CancellationPoint,
    check: Callable[[CancellationPoint], object] | None,
    *,
    whole: bool,
    frames: bool,
    seconds: float,
) -> None:
    async with leaves_nothing(seconds):
        with recorded() as recordings, bounded_wait(seconds, f"the end of the scenario in {point!r}"):
            if whole:
                with point():
                    await _awaitable(scenario())
            else:
                await _awaitable(scenario(point))
    if not point.entered:
        raise RuntimeError("the scenario marks no part: write `with point():` around what is to be cancelled")
    if frames:
        _check_wires(recordings)
    if check is not None:
        checked: Any = check(point)
        if inspect.isawaitable(checked):
            await checked


def _check_wires(recordings: list[Recording]) -> None:
    for recording in recordings:
        check_recording(recording)


# --- tasks and descriptors ------------------------------------------------------------------------------------------


def _descriptors() -> frozenset[str]:
    """Return the open file descriptors of this process; none where they cannot be listed."""
    return frozenset(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else frozenset()


def _tasks() -> set[trio.lowlevel.Task]:
    root = trio.lowlevel.current_root_task()
    found: set[trio.lowlevel.Task] = set()
    waiting = [] if root is None else [root]
    while waiting:
        task = waiting.pop()
        found.add(task)
        waiting += [child for nursery in task.child_nurseries for child in nursery.child_tasks]
    return found


@asynccontextmanager
async def leaves_nothing(timeout: float = DEFAULT_TIMEOUT) -> AsyncGenerator[None, None]:  # noqa: ASYNC109 - as above
    """Check that a block leaves no task and no file descriptor behind.

    Nothing is checked if the block raises. Cancellation ends the wait at once.

    Example:
        async with leaves_nothing():
            async with open_websocket(url) as ws:
                await ws.send("hello")

    Args:
        timeout: seconds that tasks and descriptors of the other side have to end.

    Raises:
        LeakedTask: tasks are left; the message says where they wait.
        LeakedDescriptor: file descriptors are left open.
    """
    open_before, tasks_before = len(_descriptors()), _tasks()
    yield
    pause = POLL_SECONDS
    with trio.move_on_after(timeout):
        while len(_descriptors()) > open_before or _tasks() - tasks_before:
            await trio.sleep(pause)
            pause = min(2 * pause, LONGEST_POLL_SECONDS)
    left = _tasks() - tasks_before
    if left:
        raise LeakedTask(f"left by the scenario: {'; '.join(sorted(map(describe_task, left)))}")
    more = len(_descriptors()) - open_before
    if more > 0:
        raise LeakedDescriptor(f"{more} file descriptors are open that were not before the scenario")
