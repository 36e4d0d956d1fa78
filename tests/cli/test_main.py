"""The command: what it answers, serving with real signals over loopback, restarting on changes, and the client."""

from __future__ import annotations

import errno
import importlib
import io
import os
import platform
import runpy
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from functools import partial
from itertools import chain, repeat
from pathlib import Path
from types import ModuleType

import attrs
import pytest
import trio
from support import forked_program

import trio_ws
from tests.support.handlers import serve
from trio_ws import Timeouts, WebSocket, WebSocketDisconnect, open_websocket
from trio_ws.cli.arguments import worker_timeout
from trio_ws.cli.defaults import HEARTBEAT_SECONDS
from trio_ws.cli.loading import load
from trio_ws.cli.main import codec_name, main
from trio_ws.cli.reload import NO_GRACE_SIGNAL, RESTART_SIGNAL, SETTLE_CHECKS, WatchedFiles, folders_of, supervise
from trio_ws.cli.terminal import read_lines, run_terminal
from trio_ws.protocol.endpoint import CloseInfo
from trio_ws.testing import MemoryNetwork, RawPeer

ROOT = Path(__file__).parents[2]
RUN = importlib.import_module("trio_ws.cli.run_server")
TERMINAL = importlib.import_module("trio_ws.cli.terminal")
PATIENCE = 120
"""Seconds that a process may take for one thing; it takes less than one."""

SHOP = """
from trio_ws import App, WebSocket

app = App()

@app.websocket("/echo")
async def echo(ws: WebSocket) -> None:
    async for message in ws:
        await ws.send(message)

@app.websocket("/orders/{number:int}", name="order")
async def orders(ws: WebSocket, number: int) -> None:
    await ws.send(f"order {number}")
"""


TYPED = """
from typing import Annotated
from pydantic import BaseModel, Field
from trio_ws import App, Cookie, Header, Ok, Query

app = App()

class Question(BaseModel):
    text: str

class Door:
    def can_activate(self, context): return True

def has_key(key: str = Header("")) -> bool: return True

@app.listener("/ask/{room}", guards=[has_key, Door])
async def ask(
    data: Annotated[Question, Field()], room: str, page: Annotated[int, Query(ge=1)] = 1
) -> str | Ok | None: ...

@app.listener("/raw", encoding="bytes")
async def raw(data): ...

@app.websocket("/see", receive_type="json", sends=Question)
async def see(ws, user=Cookie()): ...
"""


@pytest.fixture
def shop(tmp_path, monkeypatch):
    """A working directory with the module `shop`, which no other test sees."""
    (tmp_path / "shop.py").write_text(SHOP)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    before = set(sys.modules)
    yield tmp_path
    for name in set(sys.modules) - before:
        if str(tmp_path) in str(getattr(sys.modules[name], "__file__", "")):
            del sys.modules[name]


class Command:
    """A running `trio-ws`, and what it writes."""

    def __init__(self, process: trio.Process | forked_program.ForkedProgram) -> None:
        self.process = process
        self.errors = b""

    async def until(self, text: str) -> str:
        """Return what was written up to the end of the first line with `text` in it."""
        with trio.fail_after(PATIENCE):
            while (end := self.errors.find(b"\n", max(self.errors.find(text.encode()), 0))) < 0 or (
                text.encode() not in self.errors
            ):
                data = await self.process.stdout.receive_some()
                assert data, f"ended without {text!r}: {self.errors.decode()}"
                self.errors += data
        written, self.errors = self.errors[: end + 1], self.errors[end + 1 :]
        return written.decode()

    async def rest(self) -> str:
        """Wait for the end; return what was written until then."""
        with trio.fail_after(PATIENCE):
            async for data in self.process.stdout:
                self.errors += data
            await self.process.wait()
        return self.errors.decode()


@asynccontextmanager
async def command(*arguments: str, cwd: Path) -> AsyncGenerator[Command, None]:
    process = await forked_program.begin(["trio-ws", *arguments], cwd, {**os.environ, "PYTHONPATH": str(ROOT)})
    try:
        yield Command(process)
    finally:
        await forked_program.end(process)
        await trio.aclose_forcefully(process.stdout)


def url_in(line: str) -> str:
    return line.split("listening on ")[1].strip()


# --- what it answers --------------------------------------------------------------------------------------------------


def test_version_names_what_a_report_of_a_bug_needs(capsys) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["--version"])
    assert ended.value.code == 0
    python = f"CPython {platform.python_version()}"
    assert capsys.readouterr().out == (
        f"trio-ws {trio_ws.__version__} ({python}, trio {trio.__version__}, {codec_name()})\n"
    )


def test_python_m_is_the_same_command(capsys, monkeypatch) -> None:
    monkeypatch.setattr(sys, "argv", ["trio-ws", "--version"])
    monkeypatch.delitem(sys.modules, "trio_ws.__main__", raising=False)
    with pytest.raises(SystemExit) as ended:
        runpy.run_module("trio_ws", run_name="__main__")
    assert ended.value.code == 0
    assert capsys.readouterr().out.startswith("trio-ws ")
    assert importlib.import_module("trio_ws.__main__").main is main  # to import it runs nothing


def test_without_a_command_it_says_which_there_are(capsys, monkeypatch) -> None:
    monkeypatch.setattr(sys, "argv", ["trio-ws"])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 2
    assert "COMMAND" in capsys.readouterr().err


@pytest.mark.parametrize("target", ["shop:app", "shop"])
def test_routes_lists_paths_and_names(shop, capsys, target) -> None:
    assert main(["routes", target]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "PATH                  NAME   MESSAGES    PARAMETERS",
        "/echo                 echo   any -> any  -",
        "/orders/{number:int}  order  any -> any  number: int",
    ]


def test_routes_shows_guards_and_types(shop, capsys) -> None:
    (shop / "typed_shop.py").write_text(TYPED)
    assert main(["routes", "typed_shop"]) == 0
    lines = [line.split("  ") for line in capsys.readouterr().out.splitlines()]
    cells = [[cell.strip() for cell in line if cell] for line in lines]
    assert cells == [
        ["PATH", "NAME", "MESSAGES", "PARAMETERS", "GUARDS"],
        [
            "/ask/{room}",
            "ask",
            "Question -> str | Ok | None",
            "room: str, page: int = 1, key: str = '' (header)",
            "has_key, Door",
        ],
        ["/raw", "raw", "bytes -> any", "-", "-"],
        ["/see", "see", "json -> Question", "user (cookie)", "-"],
    ]


def test_routes_of_an_application_without_routes_are_none(shop, capsys) -> None:
    (shop / "empty_shop.py").write_text("from trio_ws import App\napp = App()\n")
    assert main(["routes", "empty_shop"]) == 0
    assert capsys.readouterr().out == ""


def test_an_application_may_be_an_attribute_of_something(shop) -> None:
    (shop / "nested_shop.py").write_text("from shop import app\nclass holder:\n    inner = app\n")
    assert load("nested_shop:holder.inner") is load("shop:app")


@pytest.mark.parametrize(
    ("target", "complaint"),
    [
        ("shopp:app", "there is no module 'shopp', from here"),
        ("shop.sub:app", "there is no module 'shop.sub', from here"),
        ("shop:application", "there is no application 'application' in shop: did you mean shop:app?"),
        ("shop:App", "there is no application 'App' in shop: did you mean shop:app?"),
        ("shop:echo.inner", "there is no application 'echo.inner' in shop: did you mean shop:app?"),
        ("json", "there is no application 'app' in json: an application is created with App()"),
        (":app", "'' is not the name of a module: give MODULE:APP, e.g. chat.main:app for chat/main.py"),
        ("./shop.py", "'./shop.py' is not the name of a module: give MODULE:APP, "),
    ],
)
def test_what_cannot_be_loaded_is_said_in_one_line(shop, capsys, target, complaint) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["routes", target])
    assert ended.value.code == 1
    error = capsys.readouterr().err
    assert error.startswith(f"trio-ws: {complaint}")
    assert error.count("\n") == 1


@pytest.mark.parametrize(
    ("target", "meant"), [("shop.py", "shop:app"), ("shop.py:app", "shop:app"), ("a/shop.py:web", "a.shop:web")]
)
def test_the_name_of_a_file_is_not_that_of_its_module(shop, capsys, target, meant) -> None:
    with pytest.raises(SystemExit):
        main(["routes", target])
    assert capsys.readouterr().err.endswith(f": did you mean {meant}?\n")


@pytest.mark.parametrize("arguments", [["run"], ["routes"], ["run", "--port=0"]])
def test_module_that_calls_run_on_import_is_one_line(shop, capsys, arguments) -> None:
    Path("bare.py").write_text(SHOP + "\napp.run()\n")
    with pytest.raises(SystemExit) as end:
        main([*arguments, "bare"])
    assert end.value.code == 1
    printed = capsys.readouterr().err
    assert printed.count("\n") == 1
    assert "bare calls app.run() while it is imported" in printed
    assert 'if __name__ == "__main__":' in printed


@pytest.mark.parametrize("target", ["shop:app.run", "shop:serving"])
def test_name_of_what_serves_by_itself_is_one_line(shop, capsys, target) -> None:
    Path("shop.py").write_text(SHOP + "\ndef serving():\n    app.run(port=0)\n    return app\n")
    with pytest.raises(SystemExit) as end:
        main(["run", target])
    assert end.value.code == 1
    assert capsys.readouterr().err == (
        f"trio-ws: {target} serves by itself: name the App, or a function that returns it\n"
    )


def test_an_error_in_the_application_module_is_not_swallowed(shop) -> None:
    (shop / "broken_shop.py").write_text("import nowhere_to_be_found\n")
    with pytest.raises(ModuleNotFoundError, match="nowhere_to_be_found"):
        main(["routes", "broken_shop:app"])


def test_an_interrupt_that_nobody_handles_is_status_130(monkeypatch) -> None:
    def interrupted(*_args, **_options):
        raise KeyboardInterrupt

    monkeypatch.setattr("trio_ws.cli.describe.load", interrupted)
    assert main(["routes", "shop:app"]) == 130


# --- run --------------------------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize(
    ("number", "level", "said"), [(signal.SIGINT, "warning", False), (signal.SIGTERM, "info", True)]
)
async def test_run_serves_until_a_signal_and_then_says_goodbye(shop, number, level, said) -> None:
    """Its log is written from a level on."""
    options = ("--host", "127.0.0.1", "--port", "0", "--log-level", level)
    async with command("run", "shop:app", *options, cwd=shop) as running:
        url = url_in(await running.until("listening on ws://127.0.0.1:"))
        async with await trio.open_tcp_stream("127.0.0.1", int(url.rpartition(":")[2])) as stream:
            await stream.send_all(b"no HTTP\r\n\r\n")
            assert (await stream.receive_some()).startswith(b"HTTP/1.1 400 ")
        async with open_websocket(f"{url}/echo", when_peer_leaves="finish") as ws:
            await ws.send("hi")
            assert await ws.receive() == "hi"
            running.process.send_signal(number)
            with pytest.raises(WebSocketDisconnect, match="1001"), trio.fail_after(PATIENCE):
                await ws.receive()
        written = (await running.rest()).splitlines()
        (goodbye,) = [line for line in written if "INFO trio_ws: " not in line]
        assert goodbye in ("shutting down: 1 connection", "shutting down: 2 connections")  # the refused one may linger
        assert (len(written) > 1) is said
        assert running.process.returncode == 0


@pytest.mark.slow
async def test_run_serves_tls_and_says_goodbye_over_it(shop, tmp_path) -> None:
    import trustme
    from support.tls import trusting

    authority = trustme.CA()
    authority.issue_cert("127.0.0.1").private_key_and_cert_chain_pem.write_to_path(tmp_path / "both.pem")
    context = trusting(authority)
    options = ("--host", "127.0.0.1", "--port", "0", "--ssl-certfile", "both.pem")
    async with command("run", "shop:app", *options, cwd=shop) as running:
        url = url_in(await running.until("listening on wss://"))
        async with open_websocket(f"{url}/echo", when_peer_leaves="finish", ssl_context=context) as ws:
            await ws.send("hi")
            assert await ws.receive() == "hi"
            running.process.send_signal(signal.SIGTERM)
            with pytest.raises(WebSocketDisconnect, match="1001"), trio.fail_after(PATIENCE):
                await ws.receive()
        assert await running.rest() == "shutting down: 1 connection\n"


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        (["--ssl-keyfile", "key.pem"], "--ssl-keyfile needs --ssl-certfile"),
        (["--ssl-certfile", "none.pem"], "cannot load the certificate none.pem: "),
        (["--port", "70000"], "cannot listen on localhost:70000: "),
        (["--host", "x" * 64], f"cannot listen on {'x' * 64}:8000: "),
        (["--uds", "shop.py"], "cannot listen on shop.py: "),
        (["--uds", ""], "cannot listen on : [Errno 2] the path of the Unix socket is empty"),
        (["--fd", "99999"], "cannot listen on descriptor 99999: "),
        (["--fd", "-1"], "cannot listen on descriptor -1: "),
        (["--drain-delay", "-1"], "drain_delay must be a number of seconds, 0 or more, not -1.0"),
        (["--drain-rate", "0"], "drain_rate must be a number per second, more than 0, or None for no bound, not 0.0"),
        (["--worker-port", "9000"], "--worker-port is for --workers N: one server has its --port"),
        (["--workers", "2", "--port", "0", "--worker-port", "70000"], "cannot listen on localhost:70000: "),
        (["--workers", "2", "--reload"], "--reload is for one server: leave --workers out"),
        (["--workers", "2", "--ssl-certfile", "none.pem"], "cannot load the certificate none.pem: "),
    ],
)
def test_what_cannot_be_served_is_said_in_one_line(shop, capsys, options, complaint) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["run", "shop:app", *options])
    assert ended.value.code == 1
    error = capsys.readouterr().err
    assert error.startswith(f"trio-ws: {complaint}")
    assert error.count("\n") == 1


def test_a_port_that_is_taken_is_said_in_one_line(shop, capsys) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(SystemExit):
            main(["run", "shop:app", "--host", "127.0.0.1", "--port", str(port)])
    error = capsys.readouterr().err
    assert error.startswith(f"trio-ws: cannot listen on 127.0.0.1:{port}: ")
    assert error.endswith(". End the server that has it, or choose another one\n")


@pytest.mark.parametrize(
    ("number", "advice"),
    [
        (errno.EACCES, ". Choose a port from 1024 on, or a folder you may write to; "),
        (errno.EADDRNOTAVAIL, ". --host is an address of this machine, or 0.0.0.0 for all of them\n"),
    ],
)
def test_where_nobody_may_listen_it_says_what_to_do(shop, capsys, monkeypatch, number, advice) -> None:
    async def bind(*where, **_options):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(RUN, "bind", bind)
    with pytest.raises(SystemExit):
        main(["run", "shop:app"])
    assert f": [Errno {number}] {os.strerror(number)}{advice}" in capsys.readouterr().err


def test_run_listens_on_port_8000_of_localhost_by_default(shop, monkeypatch) -> None:
    asked = []

    async def bind(*where, **_options):
        asked.append(where)
        raise OSError("not today")

    monkeypatch.setattr(RUN, "bind", bind)
    with pytest.raises(SystemExit):
        main(["run", "shop:app"])
    assert asked == [("localhost", 8000, None, ())]


def test_the_command_line_has_the_last_word_on_how_it_ends(shop, monkeypatch) -> None:
    async def serve(*args, **options) -> None:
        pass

    monkeypatch.setattr(RUN, "serve_until_signalled", serve)
    main(["run", "shop:app"])
    before = load("shop:app").settings
    assert main(["run", "shop:app", "--grace", "3", "--drain-delay", "1.5", "--drain-rate", "200"]) == 0
    after = load("shop:app").settings
    assert (after.timeouts.shutdown_grace, after.timeouts.drain_delay, after.limits.drain_rate) == (3, 1.5, 200)
    main(["run", "shop:app", "--drain-rate", "100"])
    assert load("shop:app").settings.timeouts == after.timeouts
    assert load("shop:app").settings.limits == attrs.evolve(before.limits, drain_rate=100)


@pytest.mark.parametrize(
    ("option", "complaint"),
    [
        ("--workers=0", "give a number, 1 or more, not '0'"),
        ("--workers=-1", "give a number, 1 or more, not '-1'"),
        ("--workers=many", "give a number, 1 or more, not 'many'"),
        ("--worker-timeout=1", "workers report every 1 s: give at least twice that, not '1'"),
        ("--worker-timeout=nan", "workers report every 1 s: give at least twice that, not 'nan'"),
        ("--worker-timeout=soon", "workers report every 1 s: give at least twice that, not 'soon'"),
    ],
)
def test_what_workers_cannot_be_is_said(shop, capsys, option, complaint) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["run", "shop:app", option])
    assert ended.value.code == 2
    assert capsys.readouterr().err.endswith(f"argument {option.partition('=')[0]}: {complaint}\n")


def test_workers_may_report_twice_in_their_timeout() -> None:
    assert worker_timeout(str(2 * HEARTBEAT_SECONDS)) == 2 * HEARTBEAT_SECONDS


@pytest.mark.parametrize("timeout", ["0", "-1", "inf", "nan", "soon"])
def test_a_timeout_of_cases_is_a_number_of_seconds(capsys, timeout) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["conform", "server", "ws://localhost/", f"--timeout={timeout}"])
    assert ended.value.code == 2
    assert capsys.readouterr().err.endswith(f"argument --timeout: give seconds, more than 0, not '{timeout}'\n")


def test_where_there_can_be_no_workers_it_is_said_in_one_line(shop, capsys, monkeypatch) -> None:
    monkeypatch.setattr("trio_ws.cli.supervisor.AVAILABLE", False)
    with pytest.raises(SystemExit) as ended:
        main(["run", "shop:app", "--workers", "2"])
    assert ended.value.code == 1
    assert capsys.readouterr().err.startswith("trio-ws: workers need a POSIX system: ")


# --- reload -----------------------------------------------------------------------------------------------------------


@pytest.mark.slow
async def test_reload_restarts_with_1012_when_a_file_changes(shop) -> None:
    """It listens on a Unix socket alone, and removes it at its end."""
    path = shop / "s"
    async with command("run", "shop:app", "--uds", str(path), "--reload", cwd=shop) as running:
        assert url_in(await running.until("listening on")) == f"ws+unix://{path}"
        async with open_websocket("ws://localhost/echo", uds=path, when_peer_leaves="finish") as ws:
            (shop / "shop.py").write_text(SHOP.replace("order {number}", "parcel {number}"))
            with pytest.raises(WebSocketDisconnect, match="1012"), trio.fail_after(PATIENCE):
                await ws.receive()
        assert "restarting: shop.py changed\n" in await running.until("listening on")
        async with open_websocket("ws://localhost/orders/3", uds=path) as ws:
            assert await ws.receive() == "parcel 3"
        running.process.send_signal(signal.SIGINT)
        assert "shutting down: " in await running.rest()
        assert running.process.returncode == 0
    assert not path.exists()


async def test_broken_pipe_does_not_end_a_child_of_the_supervisor(shop) -> None:
    """SIGPIPE would end it without a word when Redis or a proxy goes away."""
    (shop / "shop.py").write_text(f"import os, signal\nos.kill(os.getpid(), signal.SIGPIPE)\n{SHOP}")
    async with command("run", "shop:app", "--uds", str(shop / "s"), "--reload", cwd=shop) as running:
        assert (await running.until("\n")).startswith("listening on ")


async def test_server_that_was_slow_to_restart_still_closes_with_1012(shop) -> None:
    """It finds both signals of the supervisor at once, in any order."""
    path = shop / "s"
    async with command("run", "shop:app", "--uds", str(path), "--restartable", cwd=shop) as running:
        await running.until("listening on")
        async with open_websocket("ws://localhost/echo", uds=path, when_peer_leaves="finish") as ws:
            for number in (signal.SIGSTOP, NO_GRACE_SIGNAL, RESTART_SIGNAL, signal.SIGCONT):
                running.process.send_signal(number)
            with pytest.raises(WebSocketDisconnect, match="1012"), trio.fail_after(PATIENCE):
                await ws.receive()
        assert "ended by SIGUSR" in await running.rest()


class Supervised:
    """A supervisor of small scripts, which note their starts in a file."""

    def __init__(self, folder: Path, script: str) -> None:
        self.folder = folder
        self.script = folder / "script.py"
        self.script.write_text(f"open('starts', 'a').write('x')\n{script}")
        self.lines: list[str] = []
        self.status: int | None = None

    async def run(self) -> int:
        program = f"import os; os.chdir({str(self.folder)!r}); exec(open('script.py').read())"
        self.status = await supervise(
            [sys.executable, "-S", "-c", program], [self.folder], poll_seconds=0.01, output=self.lines.append
        )
        return self.status

    async def started(self, times: int) -> None:
        with trio.fail_after(PATIENCE):
            while len(self.starts()) < times:
                await trio.sleep(0.01)

    def starts(self) -> str:
        path = self.folder / "starts"
        return path.read_text() if path.exists() else ""


IDLE = "import time; time.sleep(60)"


async def test_a_server_that_ends_without_an_error_is_not_restarted(tmp_path) -> None:
    supervised = Supervised(tmp_path, "")
    assert await supervised.run() == 0
    assert supervised.lines == []


@pytest.mark.slow
async def test_a_server_that_fails_is_started_again_at_the_next_change(tmp_path) -> None:
    supervised = Supervised(tmp_path, "raise SystemExit(3)")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(supervised.run)
        await supervised.started(1)
        with trio.fail_after(PATIENCE):
            while not supervised.lines:
                await trio.sleep(0.01)
        (tmp_path / "another.py").write_text("")
        await supervised.started(2)
        nursery.cancel_scope.cancel()
    assert supervised.lines[:2] == [
        "the server has ended with status 3: waiting for a change",
        "restarting: another.py changed",
    ]


async def test_signal_without_server_ends_supervisor_with_its_status(tmp_path) -> None:
    """A signal while no server runs ends the supervisor with its status."""
    supervised = Supervised(tmp_path, "raise SystemExit(3)")
    statuses = []

    async def run() -> None:
        statuses.append(await supervised.run())

    async with trio.open_nursery() as nursery:
        nursery.start_soon(run)
        with trio.fail_after(PATIENCE):
            while not supervised.lines:
                await trio.sleep(0.01)
        signal.raise_signal(signal.SIGTERM)
    assert statuses == [3]


@pytest.fixture
def hangup(request):
    """What SIGHUP does at the start, whoever started the tests."""
    before = signal.signal(signal.SIGHUP, request.param)
    yield
    signal.signal(signal.SIGHUP, before)


@pytest.mark.slow
@pytest.mark.parametrize("hangup", [signal.SIG_DFL], indirect=True)
async def test_the_end_of_the_terminal_is_the_end_of_the_server(tmp_path, hangup) -> None:
    supervised = Supervised(tmp_path, IDLE)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(supervised.run)
        await supervised.started(1)
        signal.raise_signal(signal.SIGHUP)
    assert supervised.status == -signal.SIGTERM


@pytest.mark.slow
@pytest.mark.parametrize("hangup", [signal.SIG_IGN], indirect=True)
async def test_with_nohup_it_is_not(tmp_path, hangup) -> None:
    supervised = Supervised(tmp_path, IDLE)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(supervised.run)
        await supervised.started(1)
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
        signal.raise_signal(signal.SIGTERM)
    assert supervised.status == -signal.SIGTERM


@pytest.mark.slow
async def test_server_that_ignores_signals_is_killed_before_restart(tmp_path, monkeypatch) -> None:
    """A server that does not listen to signals is killed before the restart."""
    monkeypatch.setattr("trio_ws.cli.reload.GRACE_SECONDS", 0.05)
    monkeypatch.setattr("trio_ws.cli.reload.KILL_SECONDS", 0.1)
    deaf = "import signal\nfor n in (signal.SIGUSR1, signal.SIGUSR2): signal.signal(n, signal.SIG_IGN)\n"
    supervised = Supervised(tmp_path, f"{deaf}open('deaf', 'w')\n{IDLE}")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(supervised.run)
        await supervised.started(1)
        with trio.fail_after(PATIENCE):
            while not (tmp_path / "deaf").exists():
                await trio.sleep(0.01)
        supervised.script.write_text(supervised.script.read_text() + "\n")
        await supervised.started(2)
        nursery.cancel_scope.cancel()
    assert supervised.lines == ["restarting: script.py changed"]


@pytest.mark.parametrize(
    ("scans", "named"),
    [
        ([[], ["b.py"], ["a.py"], ["b.py"], []], "a.py, b.py"),  # written in steps
        ([["b.py"]] * (1 + SETTLE_CHECKS), "b.py"),  # always being written
    ],
)
async def test_files_still_being_written_are_waited_for(tmp_path, monkeypatch, scans, named) -> None:
    seen = chain(scans, repeat([]))

    def changed(self: WatchedFiles) -> list[Path]:
        return [Path(name) for name in next(seen)] if supervised.starts() else []

    monkeypatch.setattr("trio_ws.cli.reload.SETTLE_SECONDS", 0.0)
    monkeypatch.setattr(WatchedFiles, "changed", changed)
    supervised = Supervised(tmp_path, f"if len(open('starts').read()) == 2: raise SystemExit\n{IDLE}")
    with trio.fail_after(PATIENCE):
        assert await supervised.run() == 0
    assert supervised.lines == [f"restarting: {named} changed"]


@pytest.mark.slow
async def test_change_found_when_the_server_fails_is_not_lost(tmp_path, monkeypatch) -> None:
    """The file was mended while the server imported the broken one, and counts as read by nobody."""

    def changed(self: WatchedFiles) -> list[Path]:
        if (tmp_path / "saved").exists():
            return []
        (tmp_path / "saved").touch()
        return [Path("mended.py")]

    monkeypatch.setattr(WatchedFiles, "changed", changed)
    monkeypatch.setattr("trio_ws.cli.reload.SETTLE_SECONDS", 1.0)
    wait = "import os, time\nwhile not os.path.exists('saved'): time.sleep(0.001)"
    once = "if len(open('starts').read()) == 2: raise SystemExit\n"
    supervised = Supervised(tmp_path, f"{once}{wait}\nraise SystemExit(3)")
    with trio.fail_after(PATIENCE):
        assert await supervised.run() == 0
    assert supervised.lines[-1] == "restarting: mended.py changed"


@pytest.mark.slow
async def test_hung_server_is_killed_after_the_second_signal(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr("trio_ws.cli.reload.KILL_SECONDS", 0.1)
    deaf = "import signal\nfor n in (signal.SIGINT, signal.SIGTERM): signal.signal(n, signal.SIG_IGN)\n"
    supervised = Supervised(tmp_path, f"{deaf}open('deaf', 'w')\n{IDLE}")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(supervised.run)
        with trio.fail_after(PATIENCE):
            while not (tmp_path / "deaf").exists():
                await trio.sleep(0.01)
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGTERM)
    assert supervised.status == -signal.SIGKILL
    assert supervised.lines == ["the server is killed: it has not ended within 0.1 s"]


@pytest.mark.slow
async def test_server_ends_when_its_reload_supervisor_is_killed(shop) -> None:
    path = shop / "s"
    async with command("run", "shop:app", "--uds", str(path), "--reload", cwd=shop) as running:
        await running.until("listening on")
        running.process.send_signal(signal.SIGKILL)
        assert "the supervisor has ended, shutting down" in await running.rest()
    assert not path.exists()


@pytest.mark.parametrize(("ended", "status"), [(-signal.SIGTERM, 143), (-signal.SIGINT, 130), (3, 3)])
def test_server_ended_by_a_signal_has_the_status_of_shells(shop, monkeypatch, ended, status) -> None:
    async def supervise(*_: object, **__: object) -> int:
        return ended

    monkeypatch.setattr(RUN, "supervise", supervise)
    assert main(["run", "shop:app", "--reload"]) == status


def test_written_created_and_removed_files_count_as_changes(tmp_path) -> None:
    """Files that are written made and removed count as changed."""
    (tmp_path / "a.py").write_text("")
    (tmp_path / "b.py").write_text("")
    files = WatchedFiles([tmp_path])
    assert files.changed() == []
    (tmp_path / "c.py").write_text("")
    (tmp_path / "b.py").unlink()
    os.utime(tmp_path / "a.py", (1, 1))
    assert [path.name for path in files.changed()] == ["a.py", "b.py", "c.py"]
    assert files.changed() == []


def test_size_and_package_behind_a_link_count_as_changes(tmp_path) -> None:
    """A copy may keep the time of its original; links may go round, and to folders that are no packages."""
    work, package, data = (tmp_path / name for name in ("work", "package", "data"))
    for folder in (work, package, data):
        folder.mkdir()
    (package / "__init__.py").touch()
    (work / "linked").symlink_to(package)
    (work / "again").symlink_to(package)
    (work / "data").symlink_to(data)
    (work / "round").symlink_to(work)
    (package / "back").symlink_to(package)
    (work / "module.py").touch()
    files = WatchedFiles([work])
    assert files.changed() == []
    time = (work / "module.py").stat().st_mtime_ns
    (work / "module.py").write_text("x = 1")
    os.utime(work / "module.py", ns=(time, time))
    assert files.changed() == [work / "module.py"]
    (package / "__init__.py").write_text("x = 1")
    (data / "module.py").touch()
    (changed,) = files.changed()
    assert changed.resolve() == package / "__init__.py"


def test_hidden_files_count_only_if_they_are_included(tmp_path) -> None:
    """Python cannot import them: editors write them for a moment."""
    files = WatchedFiles([tmp_path], [".env"])
    for name in (".tmp.py", ".#module.py", ".env"):
        (tmp_path / name).touch()
    assert files.changed() == [tmp_path / ".env"]


def test_files_of_others_do_not_count(tmp_path) -> None:
    (tmp_path / "env").mkdir()
    (tmp_path / "env" / "pyvenv.cfg").write_text("")
    for folder in ("env/lib", ".hidden", "__pycache__", "node_modules"):
        (tmp_path / folder).mkdir()
    (tmp_path / "dangling.py").symlink_to(tmp_path / "nowhere")
    files = WatchedFiles([tmp_path])
    for folder in ("env/lib", ".hidden", "__pycache__", "node_modules"):
        (tmp_path / folder / "a.py").write_text("")
    (tmp_path / "notes.txt").write_text("")
    assert files.changed() == []


def test_working_directory_and_package_folder_are_watched(shop, monkeypatch) -> None:
    """The working directory is looked at and the folder of a package elsewhere."""
    assert folders_of("shop") == [shop]
    assert folders_of("trio_ws.cli.main") == [shop, ROOT / "trio_ws"]
    assert folders_of("cgitb_is_gone_and_this_never_was") == [shop]
    assert folders_of("sys") == [shop]
    monkeypatch.setitem(sys.modules, "never_found", ModuleType("never_found"))  # as `__main__` is in a command
    assert folders_of("never_found") == [shop]
    assert folders_of("argparse") == [shop, Path(socket.__file__).parent]


# --- connect ----------------------------------------------------------------------------------------------------------


async def greet(websocket: WebSocket) -> None:
    await websocket.send("\x1b[2Jwelcome")
    await websocket.send(b"\x00")
    async for message in websocket:
        await websocket.send(message.upper())


async def refuse(websocket: WebSocket) -> None:
    await websocket.close(4000, "\x07no")


class Pipe:
    """Standard input that a test writes to."""

    def __init__(self) -> None:
        self.source, self._writer = os.pipe()

    def write(self, data: bytes) -> None:
        os.write(self._writer, data)

    def end(self) -> None:
        if self._writer is not None:
            os.close(self._writer)
        self._writer = None


@pytest.fixture
async def pipe():
    pipe = Pipe()
    yield pipe
    pipe.end()
    # A thread that was left to its reading may not have begun to: the next pipe, under the same number, is not for it.
    limiter = trio.to_thread.current_default_thread_limiter()
    while limiter.borrowed_tokens:
        await trio.sleep(0.001)
    os.close(pipe.source)


class Screen(io.StringIO):
    """Standard output that is a terminal."""

    def isatty(self) -> bool:
        return True


async def test_connect_sends_lines_and_shows_messages_until_input_ends(nursery, pipe, capsys) -> None:
    """Connect sends lines and shows messages until the input ends."""
    server = await serve(nursery, greet, subprotocols=("chat",))
    sink = io.StringIO()
    pipe.write("hello\nwörld\r\n".encode() + b"last \xff")
    pipe.end()
    url = server.urls[0]
    assert await run_terminal(url, wait=0.1, source=pipe.source, sink=sink, subprotocols=["chat"]) == 0
    assert sink.getvalue() == "\x1b[2Jwelcome\nb'\\x00'\nHELLO\nWÖRLD\nLAST \ufffd\n"
    assert capsys.readouterr().err == f"connected to {url}/ with subprotocol chat\nclosed: 1000\n"


@pytest.mark.parametrize(
    ("error", "status", "said"),
    [
        (BrokenPipeError(errno.EPIPE, "gone"), 0, ""),
        (OSError(errno.ENOSPC, "full"), 1, "messages cannot be printed: [Errno 28] full\n"),
    ],
)
async def test_connect_closes_when_its_output_takes_no_more(nursery, pipe, capsys, *, error, status, said) -> None:
    """As in `trio-ws connect ws://... | head -1`, and on a full disk."""

    class Closed(io.StringIO):
        def flush(self) -> None:
            raise error

    server = await serve(nursery, greet)
    assert await run_terminal(server.urls[0], wait=0, source=pipe.source, sink=Closed()) == status
    assert capsys.readouterr().err.endswith(f"closed: 1000\n{said}")


async def test_connect_keeps_control_characters_from_the_terminal(nursery, pipe, capsys) -> None:
    """Connect lets no control characters of the server reach a terminal."""
    server = await serve(nursery, greet)
    screen = Screen()
    pipe.end()
    await run_terminal(server.urls[0], wait=0.1, source=pipe.source, sink=screen)
    assert screen.getvalue() == "\\x1b[2Jwelcome\nb'\\x00'\n"
    refusing = await serve(nursery, refuse)
    await run_terminal(refusing.urls[0], wait=0, source=pipe.source, sink=screen)
    assert capsys.readouterr().err.endswith("closed: 4000 \\x07no\n")


@pytest.mark.parametrize("shown_on", [io.StringIO, Screen])
async def test_connect_writes_no_control_characters_to_standard_error(
    nursery, pipe, capsys, monkeypatch, shown_on
) -> None:
    """Wherever standard output leads: a reason cannot forge a line, nor colour or reorder one."""

    async def refuse_with_controls(websocket: WebSocket) -> None:
        await websocket.close(4000, "a\nclosed: 1000\r\x1b[31m\x9b\u202eé\N{THUMBS UP SIGN}")

    errors = Screen()
    monkeypatch.setattr(sys, "stderr", errors)
    refusing = await serve(nursery, refuse_with_controls)
    assert await run_terminal(refusing.urls[0], wait=0, source=pipe.source, sink=shown_on()) == 1
    assert errors.getvalue().splitlines()[1:] == [
        "closed: 4000 a\\nclosed: 1000\\r\\x1b[31m\\x9b\\u202eé\N{THUMBS UP SIGN}"
    ]


async def test_connect_shows_what_a_terminal_takes_as_it_is(nursery, pipe) -> None:
    async def speak(websocket: WebSocket) -> None:
        await websocket.send("\ttwo\nlines\xa0\N{WOMAN}\u200d\N{PERSONAL COMPUTER}\u2066\x9b")

    server = await serve(nursery, speak)
    screen = Screen()
    await run_terminal(server.urls[0], wait=0, source=pipe.source, sink=screen)
    assert screen.getvalue() == "\ttwo\nlines\xa0\N{WOMAN}\u200d\N{PERSONAL COMPUTER}\\u2066\\x9b\n"


@pytest.mark.parametrize(
    ("encoding", "shown"), [("ascii", b"\\xe9 \\u20ac\n"), ("latin-1", b"\xe9 \\u20ac\n"), ("utf-8", "é €\n".encode())]
)
async def test_connect_shows_what_an_encoding_lacks_as_escapes(nursery, pipe, encoding, shown) -> None:
    async def speak(websocket: WebSocket) -> None:
        await websocket.send("é €")

    server = await serve(nursery, speak)
    written = io.BytesIO()
    sink = io.TextIOWrapper(written, encoding)
    assert await run_terminal(server.urls[0], wait=0, source=pipe.source, sink=sink) == 0
    assert written.getvalue() == shown


async def test_a_disconnect_in_a_traceback_has_no_control_characters() -> None:
    error = WebSocketDisconnect(4000, "a\n\x1b[31mb")
    assert str(error) == "connection closed with 4000: a\\n\\x1b[31mb"
    assert str(CloseInfo(4000, error.reason, "peer")).endswith(r": 4000 a\n\x1b[31mb")
    assert error.reason == "a\n\x1b[31mb"


async def test_connect_fails_when_the_server_closes_with_an_error(nursery, pipe, capsys) -> None:
    server = await serve(nursery, refuse)
    assert await run_terminal(server.urls[0], wait=0, source=pipe.source, sink=io.StringIO()) == 1
    assert capsys.readouterr().err.endswith("closed: 4000 \\x07no\n")


async def test_a_line_for_a_server_that_has_gone_is_no_error(nursery, pipe) -> None:
    entered = trio.Event()

    async def leave(websocket: WebSocket) -> None:
        await websocket.receive()
        entered.set()

    server = await serve(nursery, leave)
    pipe.write(b"x\n" * 5000)
    assert await run_terminal(server.urls[0], wait=0, source=pipe.source, sink=io.StringIO()) == 0
    assert entered.is_set()


async def test_connect_is_ended_by_an_interrupt_with_1000(nursery, pipe, capsys) -> None:
    codes = []

    async def wait(websocket: WebSocket) -> None:
        await websocket.receive()
        signal.raise_signal(signal.SIGINT)
        with pytest.raises(WebSocketDisconnect) as end:
            await websocket.receive()
        codes.append(end.value.code)

    server = await serve(nursery, wait)
    pipe.write(b"connected\n")
    assert await run_terminal(server.urls[0], wait=0, source=pipe.source, sink=io.StringIO()) == 0
    assert codes == [1000]


async def test_lines_are_cut_wherever_the_pipe_cuts_them(pipe) -> None:
    async with trio.open_nursery() as nursery:

        async def write() -> None:
            for piece in (b"on", b"e\ntw\xc3", b"\xb6\n\n"):
                pipe.write(piece)
                await trio.testing.wait_all_tasks_blocked(0.01)
            pipe.end()

        nursery.start_soon(write)
        assert [line async for line in read_lines(pipe.source)] == ["one", "twö", ""]


def connect(*arguments: str, given: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [sys.executable, "-m", "trio_ws", "connect", *arguments],
        input=given,
        capture_output=True,
        check=False,
        cwd=ROOT,
        timeout=PATIENCE,
    )


@pytest.mark.slow
async def test_connect_works_in_a_pipe(nursery) -> None:
    seen = []

    async def look(websocket: WebSocket) -> None:
        seen.append((websocket.headers["x-key"], websocket.headers["origin"], websocket.subprotocol))
        async for message in websocket:
            await websocket.send(message)

    server = await serve(nursery, look, subprotocols=("chat",), origins="*")
    options = ("--header", "X-Key: value", "--origin", "http://here", "--subprotocol", "chat", "--wait", "0.2")
    run = partial(connect, server.urls[0], *options, given=b"one\ntwo\n")
    done = await trio.to_thread.run_sync(run)
    assert (done.returncode, done.stdout) == (0, b"one\ntwo\n")
    assert seen == [("value", "http://here", "chat")]


async def test_connect_is_ended_by_an_interrupt_before_it_is_connected(nursery, pipe) -> None:
    async def undecided(websocket: WebSocket) -> None:
        signal.raise_signal(signal.SIGINT)
        await trio.sleep_forever()

    server = await serve(nursery, undecided, auto_accept=False)
    assert await run_terminal(server.urls[0], wait=0, source=pipe.source, sink=io.StringIO()) == 130


@pytest.mark.slow
async def test_a_second_interrupt_does_not_wait_for_a_mute_server(autojump_clock, nursery, pipe) -> None:
    network = MemoryNetwork()
    listener = network.listen()
    client, server = await network.connect(), await listener.accept()

    async def interrupt_twice() -> None:
        await RawPeer(server, side="server").accept()
        await trio.testing.wait_all_tasks_blocked(0.01)
        signal.raise_signal(signal.SIGINT)
        await server.receive_some()  # the close frame
        signal.raise_signal(signal.SIGINT)

    nursery.start_soon(interrupt_twice)
    began = trio.current_time()
    patient = Timeouts(close_timeout=1000)
    options = {"stream": client, "timeouts": patient, "source": pipe.source, "sink": io.StringIO()}
    assert await run_terminal("ws://mute/", wait=0, **options) == 130
    assert trio.current_time() - began < 5


@pytest.fixture
def no_input(monkeypatch):
    with open(os.devnull) as nothing:
        monkeypatch.setattr(sys, "stdin", nothing)
        yield


@pytest.mark.usefixtures("no_input")
def test_connect_says_why_it_cannot_connect(capsys) -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))  # and does not listen
        assert main(["connect", f"ws://127.0.0.1:{silent.getsockname()[1]}/"]) == 1
    assert capsys.readouterr().err.startswith("not connected: tcp: ")
    assert main(["connect", "ftp://here"]) == 1
    assert capsys.readouterr().err.startswith("not connected: the scheme of a WebSocket URL is ws or wss")


@pytest.mark.usefixtures("no_input")
def test_a_header_without_a_colon_is_refused_in_one_line(capsys) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["connect", "ws://here", "--header", "nonsense"])
    assert ended.value.code == 1
    assert capsys.readouterr().err == "trio-ws: a header looks like 'Name: value', not 'nonsense'\n"


def test_at_a_terminal_the_end_of_the_input_closes_at_once(monkeypatch) -> None:
    waits = []

    async def remember(url, *, wait, **options) -> int:
        waits.append(wait)
        return 0

    monkeypatch.setattr(TERMINAL, "run_terminal", remember)
    for stdin in (Screen(), io.StringIO()):
        monkeypatch.setattr(sys, "stdin", stdin)
        main(["connect", "ws://here"])
    assert waits == [0, 0.5]
