"""Generated conversations: our server passes them, and a server that does not gets a script that shows it."""

from __future__ import annotations

import subprocess
import sys

import pytest
import trio
import trio.testing
from hypothesis import given

from trio_ws.cli.fuzz_run import CANNOT_RUN, FOUND
from trio_ws.cli.main import main
from trio_ws.conformance import fuzzing
from trio_ws.conformance.fuzz_script import script_of, writes_of
from trio_ws.conformance.fuzzing import Fuzzer, case_of, generated_cases
from trio_ws.conformance.results import Result, Verdict
from trio_ws.conformance.server_under_test import ServerUnderTest
from trio_ws.http.url import URL
from trio_ws.testing.raw_frame import Opcode, RawFrame
from trio_ws.testing.strategies import Conversation

from .rigs import PACE, Witness, server_results, serving


def frame(opcode, payload=b"", **options):
    return RawFrame(opcode, payload, **{"masked": True, **options})


@given(case=generated_cases())
def test_our_server_passes_what_is_generated(case):
    clock = trio.testing.MockClock(autojump_threshold=0)
    (result,) = trio.run(server_results, [case], clock=clock)
    assert result.verdict.passed, (result.text, [str(step) for step in case.steps])


@pytest.mark.parametrize(
    ("frames", "answers", "ending"),
    [
        ([frame(Opcode.TEXT, b"a"), frame(Opcode.PING, b"p")], 2, "close 1000 in answer"),
        ([frame(Opcode.TEXT, b"a", fin=False), frame(Opcode.CLOSE, b"\x0f\xa0")], 0, "close 4000 in answer"),
        ([frame(Opcode.CLOSE)], 0, "an empty close frame in answer"),
        ([frame(Opcode.TEXT, b"\xff")], 0, "fails with close 1007"),
        ([frame(Opcode.BINARY, masked=False)], 0, "fails with close 1002"),
    ],
)
def test_the_model_says_what_comes_back(frames, answers, ending):
    case = case_of(Conversation(tuple(frames)))
    assert len(case.answers) == answers
    assert ending in str(case.ending)
    assert [each.ending.codes for each in case.also] == [(1002, 1007)] * ("fails" in ending)


async def test_a_server_that_loses_messages_is_found(autojump_clock):
    async def lossy(websocket):
        async for message in websocket:
            if message:
                await websocket.send(message)

    case = case_of(Conversation((frame(Opcode.TEXT, b"a"), frame(Opcode.TEXT))))
    (result,) = await server_results([case], Witness(lossy))
    assert result.verdict is Verdict.FAILED


def test_the_writes_are_the_bytes_of_the_frames():
    case = case_of(Conversation((frame(Opcode.TEXT, b"a", mask=bytes(4)), frame(Opcode.PING, mask=bytes(4)))), 3)
    assert b"".join(writes_of(case)) == bytes.fromhex("8181 00000000 61 8980 00000000")
    assert {len(each) for each in writes_of(case)} == {3, 1}


@pytest.mark.slow
async def test_the_script_repeats_the_conversation(tmp_path):
    """It needs nothing but Python, and prints what came back."""
    from .rigs import serving

    async with serving(host="127.0.0.1", port=0) as server:
        target = ServerUnderTest(URL.parse(f"ws://127.0.0.1:{server.port}/"))
        case = case_of(Conversation((frame(Opcode.TEXT, b"a"), frame(Opcode.TEXT, b"\xff"))))
        path = tmp_path / "script.py"
        path.write_text(script_of(case, target, 'failed with "quotes" and \\'))
        done = await trio.run_process([sys.executable, str(path)], capture_stdout=True, stderr=subprocess.STDOUT)
    output = done.stdout.decode()
    assert "HTTP/1.1 101" in output
    assert " 03 ef " in output.partition("received: ")[2]  # 1007


async def exaggerate(websocket):
    async for message in websocket:
        await websocket.send(message)
        if isinstance(message, bytes):
            await websocket.send("!")


async def fuzz(capsys, handler, *options):
    """Run the command in a thread against a server, and return its status and what it printed."""
    async with serving(handler, host="127.0.0.1", port=0) as server:
        arguments = ["fuzz", f"ws://127.0.0.1:{server.port}/", "--timeout", "5", *options]
        status = await trio.to_thread.run_sync(main, arguments)
    return status, capsys.readouterr().out


async def honest(websocket):
    async for message in websocket:
        await websocket.send(message)


def honest_once():
    """Return a handler that is honest in the first look, and then closes at once: the shortest conversation fails."""
    first = iter([honest])

    async def handler(websocket):
        for handle in first:
            await handle(websocket)

    return handler


async def test_a_run_without_a_failure_counts_its_conversations(capsys):
    status, out = await fuzz(capsys, honest, "--budget", "0.5")
    assert status == 0
    assert out.endswith("conversations, no failure.\n")


@pytest.mark.parametrize("to_file", [True, False])
async def test_a_run_shrinks_the_failure_it_finds_to_one_message(capsys, tmp_path, to_file):
    script = tmp_path / "repeat.py"
    handler, options = (exaggerate, ["--script", str(script)]) if to_file else (honest_once(), [])
    status, out = await fuzz(capsys, handler, "--seed", "1", "--budget", "60", *options)
    assert status == FOUND
    assert "the smallest that fails (--seed " in out
    assert "wrong     " in out
    source = script.read_text() if to_file else out
    assert "import socket" in source


async def test_a_script_that_cannot_be_written_is_named(capsys, tmp_path):
    status, out = await fuzz(capsys, honest_once(), "--seed", "1", "--budget", "60", "--script", str(tmp_path))
    assert status == CANNOT_RUN
    assert "the smallest that fails" in out


class SteppedTime:
    """A clock that goes on by a second at each look."""

    def __init__(self):
        self.now = 0.0

    def monotonic(self):
        self.now += 1
        return self.now


class Reachable:
    """A target that a judge in its place needs no connection to."""

    async def connect(self, seconds):
        await trio.lowlevel.checkpoint()

    def context(self):
        return None


def test_a_failure_at_the_end_of_the_budget_is_shrunk(monkeypatch):
    """The time for the smallest conversation begins with the failure."""
    monkeypatch.setattr(fuzzing, "time", SteppedTime())
    monkeypatch.setattr(fuzzing, "SHRINK_SECONDS", 200)
    fuzzer = Fuzzer(Reachable(), seed=1, budget=6, pace=PACE)

    async def judge(case, stream, **options):
        await trio.lowlevel.checkpoint()
        return Result(case, Verdict.OK if fuzzer.count < 5 else Verdict.FAILED)

    monkeypatch.setattr(fuzzing, "judge", judge)
    assert fuzzer.run() is not None
    assert 6 < fuzzer.count <= 6 + 201
