"""The supervisor alone, over workers that are scripts of a few lines: what it demands of them, and when it gives up."""

from __future__ import annotations

import os
import signal
import socket
import sys
import time
from functools import partial
from itertools import count
from pathlib import Path

import pytest
import trio
import trio.testing
from support.internals import internal

from trio_ws.cli import supervisor as supervisor_module
from trio_ws.cli.process import WorkerProcess, WorkerTimeouts
from trio_ws.cli.supervisor import WorkersUnavailable, run_workers
from trio_ws.cli.worker import Assignment
from trio_ws.transport.listeners import inherit
from trio_ws.transport.unix_sockets import bind_unix

Supervisor = internal(supervisor_module, "_Supervisor")

BOUND = 120
"""Seconds that one step may take on a busy machine; it takes some hundredths."""
PROGRAM = """
import os, signal, sys, time
link = int(sys.argv[2].partition(":")[0])
number = os.environ["TRIO_WS_WORKER"]

def report(line):
    os.write(link, line.encode() + b"\\n")

def deaf(*numbers):
    for each in numbers:
        signal.signal(each, signal.SIG_IGN)

exec(open({script!r}).read())
"""
SERVE = "report('ready 0')\nsignal.pause()\n"
"""Serves until some signal ends it."""


class Kept:
    """Workers that run a script, and what is said about them."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.script = folder / "script.py"
        self.lines: list[str] = []
        self.status: int | None = None
        self.listeners = [socket.create_server(("127.0.0.1", 0))]
        self._command = [sys.executable, "-S", "-c", PROGRAM.format(script=str(self.script))]

    async def run(self, script: str, workers: int = 2, **patience: float) -> None:
        self.script.write_text(script)
        self.status = await run_workers(
            self._command,
            self.listeners,
            workers=workers,
            urls=["ws://here"],
            timeouts=WorkerTimeouts(**{"abort": 0.1, **patience}),
            output=self.lines.append,
        )

    def listen_on(self, listener: socket.socket) -> None:
        self.listeners.pop().close()
        self.listeners.append(listener)

    def exists(self, name: str) -> bool:
        return self._folder.joinpath(name).exists()

    def read(self, name: str) -> str:
        """What the workers have written into a file, nothing if there is none."""
        return self._folder.joinpath(name).read_text() if self.exists(name) else ""

    def touch(self, name: str) -> None:
        self._folder.joinpath(name).touch()

    def remove(self, name: str) -> None:
        self._folder.joinpath(name).unlink()

    async def said(self, text: str, times: int = 1) -> None:
        """Wait until so many lines hold a text."""
        with trio.fail_after(BOUND):
            while sum(text in line for line in self.lines) < times:
                await trio.sleep(0.005)

    async def until(self, condition) -> None:
        with trio.fail_after(BOUND):
            while not condition():
                await trio.sleep(0.005)


@pytest.fixture
def kept(tmp_path, monkeypatch):
    monkeypatch.setattr("trio_ws.cli.process.HEARTBEAT_SECONDS", 0.05)
    monkeypatch.chdir(tmp_path)
    workers = Kept(tmp_path)
    yield workers
    for listener in workers.listeners:
        listener.close()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_ends_all_workers_and_the_sockets(kept, number) -> None:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(kept.run, SERVE)
        await kept.said("listening on ws://here")
        signal.raise_signal(number)
    assert kept.status == 0
    assert kept.lines == ["listening on ws://here", "shutting down: 2 workers"]
    assert kept.listeners[0].fileno() == -1


async def test_a_signal_before_the_first_is_ready_ends_it(kept) -> None:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(kept.run, "open('began', 'w').close()\nsignal.pause()")
        await kept.until(lambda: kept.exists("began"))
        signal.raise_signal(signal.SIGTERM)
    assert kept.status == 0
    assert kept.lines == ["shutting down: 1 worker"]


async def test_cancelled_it_kills_the_workers(kept) -> None:
    async with trio.open_nursery() as nursery:
        script = "deaf(signal.SIGTERM)\nopen(number, 'w').write(str(os.getpid()))\n" + SERVE
        nursery.start_soon(kept.run, script)
        await kept.until(lambda: kept.read("2"))
        nursery.cancel_scope.cancel()
    for number in "12":
        with pytest.raises(ProcessLookupError):
            os.kill(int(kept.read(number)), 0)


@pytest.mark.parametrize(
    ("script", "outcome"),
    [
        ("sys.exit(3)", "ended with status 3"),
        ("sys.exit(0)", "ended with status 0"),
        ("os.kill(os.getpid(), signal.SIGKILL)", "was ended by SIGKILL"),
        ("os.kill(os.getpid(), signal.SIGRTMIN + 1)", f"was ended by signal {getattr(signal, 'SIGRTMIN', 34) + 1}"),
    ],
)
async def test_a_first_worker_that_is_never_ready_is_the_end(kept, script, outcome) -> None:
    with trio.fail_after(BOUND):
        await kept.run(script)
    assert kept.status == 1
    (line,) = kept.lines
    assert f"{outcome} before it was ready: nothing is served." in line


async def test_a_first_worker_that_takes_too_long_is_the_end(kept) -> None:
    before = signal.signal(signal.SIGABRT, signal.SIG_IGN)  # which it inherits, however late it begins
    try:
        with trio.fail_after(BOUND):
            await kept.run("signal.pause()", start=0.5)
    finally:
        signal.signal(signal.SIGABRT, before)
    assert kept.status == 1
    assert "is killed: it was not ready within 0.5 s (--worker-timeout)" in kept.lines[0]
    assert "was ended by SIGKILL before it was ready" in kept.lines[1]


async def test_worker_that_cannot_be_started_counts_as_never_ready(kept) -> None:
    """A worker that cannot be started is one that was never ready."""
    internal(kept, "_command")[0] = "/nowhere/python"
    with trio.fail_after(BOUND):
        await kept.run("")
    assert kept.status == 1
    assert kept.lines[0].startswith("worker 1 cannot be started: [Errno 2] ")


async def test_a_worker_that_ends_is_replaced_and_its_number_kept(kept) -> None:
    script = (
        "report('ready 0')\nif number == '2' and not os.path.exists('x'): open('x', 'w'); sys.exit(5)\n"
        "open('again' + number, 'w')\nsignal.pause()"
    )
    async with trio.open_nursery() as nursery:
        nursery.start_soon(kept.run, script)
        await kept.said(" ended with status 5: restart in 0.")
        assert kept.lines[1].startswith("worker 2 (pid ")
        await kept.until(lambda: kept.exists("again2"))
        signal.raise_signal(signal.SIGTERM)
    assert kept.lines[-1] == "shutting down: 2 workers"


async def test_one_that_ends_again_and_again_is_waited_with(kept, monkeypatch) -> None:
    delays = []

    class Recorded:
        def __init__(self, settings) -> None:
            self.settings = settings

        def lived(self, seconds: float) -> None:
            assert seconds < self.settings.stable_after

        def next(self) -> float:
            delays.append(0)
            return 0.01

    monkeypatch.setattr("trio_ws.cli.supervisor.Backoff", Recorded)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(kept.run, "report('ready 0')\nif number == '2': sys.exit(5)\nsignal.pause()")
        await kept.said("worker 2 ", times=4)
        signal.raise_signal(signal.SIGTERM)
    assert len(delays) >= 4


async def test_silent_worker_is_killed_and_reporting_one_is_not(kept) -> None:
    """A worker that does not report is killed and one that does is not."""
    script = "report('ready 0')\nwhile number == '1': time.sleep(0.05); report('alive')\nsignal.pause()"
    async with trio.open_nursery() as nursery:
        nursery.start_soon(partial(kept.run, script, alive=2.0))
        await kept.said("is killed: it has not reported for 2 s")
        await kept.said("was ended by SIGABRT: restart")
        signal.raise_signal(signal.SIGTERM)
    assert not [line for line in kept.lines if line.startswith("worker 1")]


async def test_a_worker_that_does_not_end_is_killed_which_is_a_failure(kept) -> None:
    async with trio.open_nursery() as nursery:
        script = "deaf(signal.SIGTERM)\nreport('ready 0.25')\nsignal.pause()"
        nursery.start_soon(partial(kept.run, script, workers=1, end=0.25))
        await kept.said("listening on")
        signal.raise_signal(signal.SIGTERM)
        with trio.fail_after(BOUND):
            await kept.until(lambda: kept.status is not None)
    assert kept.status == 1
    assert "is killed: it has not ended within 0.5 s" in kept.lines[-1]


async def test_a_second_signal_is_passed_on(kept) -> None:
    script = (
        "report('ready 60')\nheard = []\n"
        "def hear(*_): heard.append(1); open(f'{number}.{len(heard)}', 'w')\n"
        "for each in (signal.SIGTERM, signal.SIGUSR2): signal.signal(each, hear)\n"
        "open('heard' + number, 'w')\nwhile len(heard) < 2: time.sleep(0.005)\n"
    )
    async with trio.open_nursery() as nursery:
        nursery.start_soon(kept.run, script)
        await kept.until(lambda: kept.exists("heard1") and kept.exists("heard2"))
        signal.raise_signal(signal.SIGTERM)
        await kept.until(lambda: kept.exists("1.1") and kept.exists("2.1"))
        signal.raise_signal(signal.SIGINT)
        await kept.until(lambda: kept.status is not None)
    assert kept.status == 0
    assert kept.lines[1:] == ["shutting down: 2 workers"]


def wait_for(condition) -> None:
    """Wait while the supervisor, which is in this process, does nothing."""
    while not condition():
        time.sleep(0.005)


async def test_report_that_waits_to_be_read_is_in_time(kept, mock_clock) -> None:
    """The supervisor was stopped for longer than a worker may take to start."""
    mock_clock.rate = 1
    late = (
        "open('began' + number, 'w')\nwhile number != '1' and not os.path.exists('go'): time.sleep(0.005)\n"
        "report('ready 0')\nopen('said' + number, 'w')\nsignal.pause()"
    )
    async with trio.open_nursery() as nursery:
        nursery.start_soon(partial(kept.run, late, workers=5, start=600, alive=9000))  # as what is read first is chance
        await kept.until(lambda: all(kept.exists(f"began{number}") for number in "12345"))
        kept.touch("go")
        wait_for(lambda: all(kept.exists(f"said{number}") for number in "12345"))
        mock_clock.jump(601)
        await trio.testing.wait_all_tasks_blocked(0.05)
        assert kept.lines == ["listening on ws://here"]
        signal.raise_signal(signal.SIGTERM)


async def test_worker_that_ended_unnoticed_is_not_called_killed(kept, mock_clock) -> None:
    """The supervisor was stopped for longer than a worker may take to end."""
    mock_clock.rate = 1
    script = (
        "signal.signal(signal.SIGTERM, lambda *_: open('told', 'w'))\nreport('ready 600')\n"
        "while not os.path.exists('go'): time.sleep(0.005)\nopen('over', 'w')\n"
    )
    async with trio.open_nursery() as nursery:
        nursery.start_soon(partial(kept.run, script, workers=1, end=0))
        await kept.said("listening on")
        signal.raise_signal(signal.SIGTERM)
        await kept.until(lambda: kept.exists("told"))
        kept.touch("go")
        wait_for(lambda: kept.exists("over"))
        mock_clock.jump(601)
        mock_clock.rate = 0
    assert kept.status == 0
    assert kept.lines == ["listening on ws://here", "shutting down: 1 worker"]


# --- replacing --------------------------------------------------------------------------------------------------------

NOTE = "open('log', 'a').write(f'{number} began\\n')\nsignal.signal(signal.SIGUSR1, lambda *_: sys.exit(0))\n"
SERVE_AND_NOTE = (
    f"import atexit\natexit.register(lambda: open('log', 'a').write(f'{{number}} ended\\n'))\n{NOTE}{SERVE}"
)


async def test_sighup_replaces_workers_one_by_one_when_ready(kept) -> None:
    """SIGHUP replaces each when the new one is ready one after another."""
    async with trio.open_nursery() as nursery:
        nursery.start_soon(kept.run, SERVE_AND_NOTE)
        await kept.until(lambda: kept.read("log").count("began") == 2)
        signal.raise_signal(signal.SIGHUP)
        await kept.said("restarted")
        signal.raise_signal(signal.SIGTERM)
    log = kept.read("log").splitlines()
    assert log[2:6] == ["1 began", "1 ended", "2 began", "2 ended"]
    assert kept.lines[1:3] == ["restarting the workers one by one", "restarted"]


async def test_if_a_new_one_is_never_ready_the_old_ones_go_on(kept) -> None:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(kept.run, SERVE_AND_NOTE)
        await kept.until(lambda: kept.read("log").count("began") == 2)
        kept.script.write_text("sys.exit(4)")
        signal.raise_signal(signal.SIGHUP)
        await kept.said("ended with status 4 before it was ready: the old workers continue.")
        assert "ended" not in kept.read("log")
        kept.script.write_text(SERVE_AND_NOTE)
        signal.raise_signal(signal.SIGHUP)
        await kept.said("restarted")
        signal.raise_signal(signal.SIGTERM)
    assert kept.status == 0


async def test_a_signal_while_workers_are_replaced_ends_them_all(kept) -> None:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(kept.run, "deaf(signal.SIGUSR1)\n" + NOTE.splitlines()[0] + "\n" + SERVE)
        await kept.until(lambda: kept.read("log").count("began") == 2)
        signal.raise_signal(signal.SIGHUP)
        await kept.until(lambda: kept.read("log").count("began") == 3)
        await trio.sleep(0.1)
        signal.raise_signal(signal.SIGTERM)
        await kept.said("shutting down: 3 workers")
        signal.raise_signal(signal.SIGTERM)  # the one that was told to end before, too
    assert kept.status == 0


async def test_worker_ending_during_its_replacement_is_replaced_once(kept, monkeypatch) -> None:
    """Another one was being started when the replacement became ready: it is ended again."""
    launch, numbers = internal(Supervisor, "_launch"), count(1)
    supervisors, reached, go_on = [], trio.Event(), trio.Event()

    async def gated(self, number: int) -> WorkerProcess:
        supervisors.append(self)
        worker = await launch(self, number)
        if next(numbers) == 3:
            reached.set()
            await go_on.wait()
        return worker

    monkeypatch.setattr(Supervisor, "_launch", gated)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(kept.run, "open('pid', 'w').write(str(os.getpid()))\n" + SERVE, 1)
        await kept.said("listening on")
        kept.script.write_text("while not os.path.exists('go'): time.sleep(0.005)\n" + SERVE)
        signal.raise_signal(signal.SIGHUP)
        await kept.until(lambda: len(supervisors) == 2)
        os.kill(int(kept.read("pid")), signal.SIGKILL)
        await reached.wait()
        kept.touch("go")
        await kept.said("restarted")
        go_on.set()
        await kept.until(lambda: len(internal(supervisors[0], "_live")) == 1)
        signal.raise_signal(signal.SIGTERM)
    assert kept.lines[-1] == "shutting down: 1 worker"


async def test_worker_replaced_in_its_restart_delay_starts_once(kept, monkeypatch) -> None:
    """One that is waited with when it is replaced is not started again."""
    async with trio.open_nursery() as nursery:
        clock = _Stopped()
        monkeypatch.setattr("trio_ws.cli.supervisor.trio", clock)
        nursery.start_soon(kept.run, "open('pid', 'w').write(str(os.getpid()))\n" + SERVE_AND_NOTE, 1)
        await kept.said("listening on")
        os.kill(int(kept.read("pid")), signal.SIGKILL)
        await kept.said("restart in")
        signal.raise_signal(signal.SIGHUP)
        await kept.said("restarted")
        clock.go_on.set()
        await trio.testing.wait_all_tasks_blocked()
        signal.raise_signal(signal.SIGTERM)
    assert kept.lines[-1] == "shutting down: 1 worker"
    assert kept.read("log").count("began") == 2


async def test_replacement_requested_before_first_is_ready_comes_later(kept) -> None:
    """A replacement that is wanted before the first is ready comes afterwards."""
    async with trio.open_nursery() as nursery:
        nursery.start_soon(kept.run, "while not os.path.exists('go'): time.sleep(0.005)\n" + SERVE_AND_NOTE, 1)
        await trio.testing.wait_all_tasks_blocked()
        signal.raise_signal(signal.SIGHUP)
        kept.touch("go")
        await kept.said("restarted")
        signal.raise_signal(signal.SIGTERM)
    assert kept.status == 0
    assert kept.lines[:2] == ["listening on ws://here", "restarting the workers one by one"]
    assert kept.read("log").splitlines()[:3] == ["1 began", "1 began", "1 ended"]


async def test_a_signal_while_the_only_worker_is_waited_with_ends_it(kept, monkeypatch) -> None:
    async with trio.open_nursery() as nursery:
        monkeypatch.setattr("trio_ws.cli.supervisor.trio", _Stopped())
        nursery.start_soon(kept.run, "open('pid', 'w').write(str(os.getpid()))\n" + SERVE, 1)
        await kept.said("listening on")
        os.kill(int(kept.read("pid")), signal.SIGKILL)
        await kept.said("restart in")
        signal.raise_signal(signal.SIGTERM)
    assert kept.status == 0
    assert kept.lines[-1] == "shutting down: 0 workers"


class _Stopped:
    """Trio, but for its sleep, which takes until the test says so."""

    def __init__(self) -> None:
        self.go_on = trio.Event()

    def __getattr__(self, name: str):
        return getattr(trio, name)

    async def sleep(self, seconds: float) -> None:
        await self.go_on.wait()


# --- what it needs ----------------------------------------------------------------------------------------------------


async def test_where_there_can_be_no_workers_that_is_said(monkeypatch) -> None:
    monkeypatch.setattr("trio_ws.cli.supervisor.AVAILABLE", False)
    with pytest.raises(WorkersUnavailable, match="workers need a POSIX system"):
        await run_workers([], [], workers=1)


async def test_the_path_of_a_unix_socket_is_removed_at_the_end_once(kept) -> None:
    kept.listen_on(bind_unix("s"))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(kept.run, SERVE)
        await kept.said("listening on")
        signal.raise_signal(signal.SIGHUP)
        await kept.said("restarted")
        assert kept.exists("s")
        signal.raise_signal(signal.SIGTERM)
    assert not kept.exists("s")


async def test_a_path_that_is_gone_already_is_no_error(kept) -> None:
    kept.listen_on(bind_unix("s"))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(kept.run, SERVE)
        await kept.said("listening on")
        kept.remove("s")
        signal.raise_signal(signal.SIGTERM)
    assert kept.status == 0


async def test_what_was_inherited_is_others_to_remove(kept) -> None:
    theirs = bind_unix("s")
    kept.listen_on(inherit(os.dup(theirs.fileno())))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(kept.run, SERVE)
        await kept.said("listening on")
        signal.raise_signal(signal.SIGTERM)
    assert kept.exists("s")
    theirs.close()


async def test_one_that_could_not_be_started_may_be_told_to_end() -> None:
    worker = WorkerProcess(3, ["/nowhere/python"], [], WorkerTimeouts(), print)
    await worker.run()
    worker.end(signal.SIGTERM)
    assert worker.stopping
    assert (worker.name, worker.ready, worker.ended.is_set()) == ("worker 3", False, True)


def test_an_assignment_is_read_as_it_is_written() -> None:
    assignment = Assignment(7, (3, 4))
    assert str(assignment) == "7:3,4"
    assert Assignment.parse("7:3,4") == assignment
