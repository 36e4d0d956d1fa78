"""The commands, as a stranger runs them: against our server, with another library's driver, and against nothing."""

from __future__ import annotations

import contextlib
import gc
import io
import json
import re
import socket
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest
import trio
from examples.process import forked
from support.handlers import echo

from trio_ws.cli.main import main
from trio_ws.server.serve import serve_stream

from .rigs import drive, serving

ROOT = Path(__file__).parents[2]
DRIVER = ROOT / "benchmarks" / "echo" / "client_websockets.py"
"""Written as users of `websockets` write it, for Autobahn's fuzzing server."""


@contextlib.contextmanager
def no_signals(*_):
    """Stand in for a receiver of signals, which only the main thread may have."""

    async def never():
        await trio.sleep_forever()
        yield

    yield never()


async def run(*arguments):
    """Run the command in a thread beside the server, and return its status, standard output and standard error."""
    with (
        pytest.MonkeyPatch.context() as patch,
        contextlib.redirect_stdout(io.StringIO()) as out,
        contextlib.redirect_stderr(io.StringIO()) as err,
    ):
        patch.setattr(trio, "open_signal_receiver", no_signals)
        status = await trio.to_thread.run_sync(main, arguments)
    return status, out.getvalue(), err.getvalue()


async def answering(data):
    """Start a server that answers each connection with bytes, and return its port."""
    nursery = trio.lowlevel.current_task().parent_nursery

    async def answer(stream):
        if data is None:
            await trio.sleep_forever()
        await stream.receive_some()
        await stream.send_all(data)

    listeners = await nursery.start(partial(trio.serve_tcp, answer, 0, host="127.0.0.1"))
    return listeners[0].socket.getsockname()[1]


@pytest.mark.slow
async def test_our_server_passes_and_the_report_is_there(tmp_path):
    async with serving(host="127.0.0.1", port=0) as server:
        url = f"ws://127.0.0.1:{server.port}/"
        status, out, err = await run(
            "conform", "server", url, "--only", "1,5,20.2", "--report", str(tmp_path), "--agent", "ours"
        )
    assert (status, err) == (0, "")
    assert "65 cases ran. Failed: none." in out
    assert json.loads((tmp_path / "server-ours.json").read_text())["agent"] == "ours"
    assert (tmp_path / "index.html").exists()


@pytest.mark.slow
async def test_a_server_that_fails_gives_the_status_of_the_level(tmp_path):
    """The baseline that the first run writes makes the second one pass."""

    async def deaf_to_empty(websocket):
        async for message in websocket:
            if message:
                await websocket.send(message)

    known = str(tmp_path / "known.txt")
    async with serving(deaf_to_empty, host="127.0.0.1", port=0) as server:
        common = ["conform", "server", f"ws://127.0.0.1:{server.port}/", "--only", "1.1.1,1.1.2", "--timeout", "2"]
        first = await run(*common, "--write-baseline", known)
        second = await run(*common, "--baseline", known)
    assert first[0] == 1
    assert "1.1.1    FAILED text message of 0 bytes" in first[2]
    assert second[0] == 0
    assert "Failed: none; 1 known." in second[1]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("data", "complaint"),
    [
        (
            b"HTTP/1.1 404 Not Found\r\n\r\n",
            "refuses the opening handshake: HTTP/1.1 404 Not Found (is the path right?",
        ),
        (b"\x00garbage\r\n\r\n", "does not speak WebSocket: no status line"),
        (None, "no answer to the opening handshake within 1 s"),
        (b"", "ends the connection without an answer"),
    ],
    ids=["a page", "garbage", "silence", "nothing"],
)
async def test_what_is_no_echo_server_is_named(data, complaint):
    async with trio.open_nursery() as nursery:

        async def look():
            port = await answering(data)
            status, out, err = await run("conform", "server", f"ws://127.0.0.1:{port}/", "--timeout", "1")
            assert (status, out) == (2, "")
            assert complaint in err
            nursery.cancel_scope.cancel()

        nursery.start_soon(look)


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["conform", "server", "ws://127.0.0.1:9/"], "is the server running"),
        (["conform", "server", "http://127.0.0.1/"], "ws"),
        (["conform", "server", "ws://127.0.0.1:9/", "--only", "99"], "no case of a server matches '99'"),
        (["conform", "server", "ws://127.0.0.1:9/", "--header", "x"], "a header looks like"),
        (["conform", "server", "ws://127.0.0.1:9/", "--baseline", "/none"], "cannot read the baseline"),
        (["conform", "server", "wss://127.0.0.1:9/", "--cafile", "/none"], "cannot load the certificates"),
        (["conform", "server", "ws://127.0.0.1:9/", "--only", "28", "--level", "must"], "no case is left"),
        (["conform", "client", "--listen", "nonsense:x"], "cannot listen on nonsense:x"),
        (["conform", "client", "--ssl-certfile", "/none"], "cannot load the certificate"),
        (["conform", "client", "--ssl-keyfile", "/none"], "--ssl-keyfile needs --ssl-certfile"),
        (["fuzz", "ws://192.0.2.1/"], "not on the loopback interface"),
        (["fuzz", "ws://127.0.0.1:9/"], "is the server running"),
    ],
)
def test_what_cannot_run_says_why(arguments, complaint, capsys):
    assert main(arguments) == 2
    assert complaint in capsys.readouterr().err


def test_cases_can_be_listed(capsys):
    assert main(["conform", "client", "--list", "--only", "21.1"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 13
    assert lines[0].split() == ["21.1.1", "MUST", "RFC", "6455", "4.1", "GET", "with", "HTTP/1.1"]


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


async def listening(port):
    """Wait until something listens."""
    while True:
        try:
            stream = await trio.open_tcp_stream("127.0.0.1", port)
        except OSError:
            await trio.sleep(0.05)
        else:
            await stream.aclose()
            return


@pytest.mark.slow
async def test_a_driver_for_the_published_suite_runs_unchanged(tmp_path):
    """It has at most 30 lines, names no library but `websockets`, and finds the suite by its URL."""
    assert len([line for line in DRIVER.read_text().splitlines() if line.strip()]) <= 30
    port = free_port()
    cases = ["--only", "1,7.3,21.3", "--skip", "21.3.3"]  # a 503, after which it would try again for ten seconds
    arguments = ["conform", "client", "--listen", f"127.0.0.1:{port}", "--once", *cases]
    async with forked(["trio-ws", *arguments, "--report", str(tmp_path)], tmp_path) as suite:
        await listening(port)
        async with forked([str(DRIVER), f"ws://127.0.0.1:{port}", "websockets"], tmp_path) as driver:
            assert await driver.ended() == 0
        await suite.ended()
    report = json.loads((tmp_path / "client-websockets.json").read_text())
    verdicts = {each["id"]: each["verdict"] for each in report["cases"]}
    assert len(verdicts) == 16 + 6 + 18
    assert verdicts["1.1.1"] == verdicts["7.3.3"] == verdicts["21.3.11"] == "OK"


@pytest.mark.slow
async def test_an_interrupted_run_reports_what_ran(tmp_path):
    """Ctrl-C after the first case: the summary and the report are there."""
    port = free_port()
    arguments = ["conform", "client", "--listen", f"127.0.0.1:{port}", "--only", "1", "--report", str(tmp_path)]
    async with forked(["trio-ws", *arguments], tmp_path) as suite:
        await listening(port)
        await drive(f"ws://127.0.0.1:{port}/runCase?case=2&agent=ours")
        status = {"behavior": "UNKNOWN"}

        async def answer(websocket):
            status.update(json.loads(await websocket.receive()))

        while status == {"behavior": "UNKNOWN"}:  # until the suite's end has ended, too
            await drive(f"ws://127.0.0.1:{port}/getCaseStatus?case=2&agent=ours", answer)
        assert status == {"behavior": "OK"}
        await suite.interrupt()
    assert re.search(r"1 cases ran; 15 did not run\. Failed: none\.", suite.output)
    assert (tmp_path / "client-ours.json").exists()


@pytest.mark.slow
async def test_report_that_cannot_be_written_fails_the_run_alone(tmp_path):
    """The client's suite says so in a line, and shows the summary."""
    port = free_port()
    arguments = ["conform", "client", "--listen", f"127.0.0.1:{port}", "--only", "1", "--once", "--report"]
    async with forked(["trio-ws", *arguments, "/dev/null/reports"], tmp_path) as suite:
        await listening(port)
        await drive(f"ws://127.0.0.1:{port}/runCase?case=2&agent=ours")
        await drive(f"ws://127.0.0.1:{port}/updateReports?agent=ours")
        assert await suite.ended() == 2
    assert "1 cases ran; 15 did not run." in suite.output
    assert "trio-ws: cannot write the report: " in suite.output
    assert "Traceback" not in suite.output


@pytest.mark.parametrize("error", [KeyboardInterrupt(), BaseExceptionGroup("", [KeyboardInterrupt()])])
def test_interrupted_fuzz_has_the_status_of_shells(error, capsys, monkeypatch):
    """Wherever the interrupt arrives: Trio puts it into a group with a nursery's other errors."""

    async def look(*_):
        return None

    def interrupted(self):
        raise error

    monkeypatch.setattr("trio_ws.cli.fuzz_run.first_look", look)
    monkeypatch.setattr("trio_ws.conformance.fuzzing.Fuzzer.run", interrupted)
    assert main(["fuzz", "ws://127.0.0.1:9/", "--seed", "1"]) == 130
    assert capsys.readouterr().out == "0 conversations, no failure (interrupted).\n"


def test_the_suite_is_imported_by_its_commands_only():
    program = "import sys, trio_ws.cli.main; print([name for name in sys.modules if 'conformance' in name])"
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.slow
async def test_tls_to_a_plain_port_is_named():
    async with serving(host="127.0.0.1", port=0) as server:
        status, _, err = await run("conform", "server", f"wss://127.0.0.1:{server.port}/", "--insecure")
    assert status == 2
    assert "TLS with 127.0.0.1:" in err
    gc.collect()  # an unclosed socket would be an error here, not in another test


@pytest.mark.slow
async def test_a_server_that_goes_away_ends_the_run():
    """Its first connections are served, and then there is nothing that listens."""
    served = 0

    async def last_words(stream):
        nonlocal served
        served += 1
        if served == 3:
            for listener in listeners:
                await listener.aclose()
        await serve_one(stream)

    async def serve_one(stream):
        await serve_stream(echo, stream)

    async with trio.open_nursery() as nursery:
        listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
        port = listeners[0].socket.getsockname()[1]
        nursery.start_soon(swallow_closed, partial(trio.serve_listeners, last_words, listeners))
        status, _, err = await run("conform", "server", f"ws://127.0.0.1:{port}/", "--only", "1", "--jobs", "1")
        nursery.cancel_scope.cancel()
    assert status == 2
    assert "the server is gone" in err


async def swallow_closed(serve):
    """Serve until the listeners are closed."""
    try:
        await serve()
    except* trio.ClosedResourceError:
        pass


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        (["--header", "no colon"], "a header looks like 'Name: value'"),
        (["--cafile", "/nowhere"], "cannot load the certificates /nowhere"),
    ],
)
def test_an_option_that_cannot_be_used_is_named(capsys, options, complaint):
    assert main(["conform", "server", "wss://127.0.0.1:1/", *options]) == 2
    assert complaint in capsys.readouterr().err
