"""What `trio-ws run` makes of factories, lifespans, Unix sockets and changed files, in the process of the test."""

from __future__ import annotations

import logging
import os
import stat
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.cli.test_logging_setup import unconfigured
from trio_ws import App, ConnectionRejected, WebSocket
from trio_ws.app.inclusion import LIFESPAN_NOTE
from trio_ws.cli.arguments import mode
from trio_ws.cli.lifespan import lifespan_error
from trio_ws.cli.loading import UsageError, load
from trio_ws.cli.logging_setup import configure
from trio_ws.cli.main import main
from trio_ws.cli.reload import WatchedFiles
from trio_ws.transport.unix_sockets import bind_unix

FACTORIES = """
from trio_ws import App

made = []

def create_app():
    made.append(App())
    return made[-1]

async def later():
    return App()

def needs(settings):
    return App()

def nothing():
    return None

def fails():
    raise LookupError("no settings")

class Build:
    def __call__(self):
        return create_app()

    def method(self):
        return create_app()

build = Build()
app_of_module = App()
"""


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A working directory, whose modules no other test sees."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    before = set(sys.modules)
    yield tmp_path
    for name in set(sys.modules) - before:
        if str(getattr(sys.modules[name], "__file__", "")).startswith(str(tmp_path)):
            del sys.modules[name]


def failure(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """Return the line with which the command fails."""
    with pytest.raises(SystemExit) as end:
        main(list(arguments))
    assert end.value.code == 1
    return capsys.readouterr().err


# --- factories -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("target", "factory"),
    [
        ("shop:create_app", False),
        ("shop:create_app", True),
        ("shop", False),
        ("shop", True),
        ("shop:build", True),
        ("shop:build.method", False),
        ("shop:Build.__call__.__get__", None),
    ],
)
def test_factory_is_called_once(folder: Path, target: str, factory: bool | None) -> None:
    (folder / "shop.py").write_text(FACTORIES)
    if factory is None:
        with pytest.raises(UsageError, match=r"without arguments|returned"):
            load(target)
        return
    app = load(target, factory=factory)
    assert sys.modules["shop"].made == [app]


@pytest.mark.parametrize(
    ("target", "options", "message"),
    [
        ("shop:later", [], "is async"),
        ("shop:needs", [], "is called without arguments: missing a required argument: 'settings'"),
        ("shop:nothing", [], "returned NoneType, not an App"),
        ("shop:nowhere", ["--factory"], "which is not there, or no function"),
        ("shop:app_of_module", ["--factory"], "leave --factory out"),
        ("shop:build", [], "did you mean shop:app_of_module?"),
    ],
)
@pytest.mark.parametrize("command", ["run", "routes", "asyncapi", "types"])
def test_factory_that_makes_no_application_is_an_error(  # noqa: PLR0917
    folder: Path, capsys: pytest.CaptureFixture[str], command: str, target: str, options: list[str], message: str
) -> None:
    (folder / "shop.py").write_text(FACTORIES)
    written = failure(capsys, command, target, *options)
    assert message in written
    assert written.count("\n") == 1


def test_error_in_a_factory_has_its_traceback(folder: Path) -> None:
    (folder / "shop.py").write_text(FACTORIES)
    with pytest.raises(LookupError, match="no settings"):
        main(["run", "shop:fails"])


# --- lifespans -----------------------------------------------------------------------------------------------------

FAILING = """
import os
import signal
from trio_ws import App

async def lifespan(app):
    {before}
    yield
    {after}

app = App(lifespan=lifespan)
outer = App()
outer.include(app, "/inner")
"""
CAUSED = """try:
        raise OSError("no route to\\nthe database \\x1b[2J")
    except OSError as error:
        raise RuntimeError("cannot start") from error"""


@pytest.mark.parametrize("target", ["shop:app", "shop:outer"])
@pytest.mark.parametrize(
    ("error", "line"),
    [
        (CAUSED, "RuntimeError: cannot start, because of OSError: no route to the database \\x1b[2J"),
        ("raise ExceptionGroup('several', [ValueError('one'), ValueError('two')])", "ValueError: one"),
        ("raise LookupError", "LookupError"),
        ("1 / 0", "ZeroDivisionError: division by zero"),
    ],
)
def test_error_of_a_lifespan_is_one_line(
    folder: Path, capsys: pytest.CaptureFixture[str], target: str, error: str, line: str
) -> None:
    (folder / "shop.py").write_text(FAILING.format(before=error, after="pass"))
    assert failure(capsys, "run", target, "--port=0") == (
        f"trio-ws: the lifespan of the application failed: {line} (--log-level debug shows the traceback)\n"
    )


def test_traceback_of_a_lifespan_is_shown_on_debug(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "shop.py").write_text(FAILING.format(before="1 / 0", after="pass"))
    with unconfigured() as output:
        failure(capsys, "run", "shop", "--port=0", "--log-level=debug")
    written = output.getvalue()
    assert "Traceback (most recent call last)" in written
    assert "shop.py" in written
    assert written.splitlines()[-1] == (
        "trio-ws: the lifespan of the application failed: ZeroDivisionError: division by zero"
    )


def test_error_of_a_lifespan_at_the_end_is_one_line(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    started = "app.nursery.start_soon(stop)"
    stop = "\nasync def stop():\n    import trio\n    await trio.sleep(0)\n    os.kill(os.getpid(), signal.SIGTERM)\n"
    (folder / "shop.py").write_text(FAILING.format(before=started, after="1 / 0") + stop)
    written = failure(capsys, "run", "shop", "--port=0")
    assert written.splitlines()[-1].startswith("trio-ws: the lifespan of the application failed: ZeroDivisionError")
    assert "Traceback" not in written


def test_error_of_a_lifespan_is_found_in_a_group() -> None:
    error = LookupError("nothing")
    error.add_note(LIFESPAN_NOTE)
    found = lifespan_error(ExceptionGroup("tasks", [ExceptionGroup("more", [error])]), verbose=False)
    assert found is not None
    assert "failed: LookupError: nothing" in str(found)
    assert lifespan_error(ExceptionGroup("tasks", [ValueError()]), verbose=False) is None


async def test_error_of_a_lifespan_is_raised_as_it_is() -> None:
    async def lifespan(app: App) -> Any:
        raise LookupError("nothing there")
        yield

    with pytest.raises(LookupError, match="nothing there"):
        async with App(lifespan=lifespan).test_client():
            pass


async def test_error_within_the_run_is_not_the_lifespans() -> None:
    async def lifespan(app: App) -> Any:
        yield

    error = LookupError("elsewhere")
    with pytest.raises(LookupError):
        async with App(lifespan=lifespan).lifespan_context():
            raise error
    assert not getattr(error, "__notes__", [])


# --- Unix sockets --------------------------------------------------------------------------------------------------


@pytest.mark.skipif(os.name != "posix", reason="Unix sockets")
@pytest.mark.parametrize("bits", [0o600, 0o660, 0o666])
def test_unix_socket_has_its_mode_before_it_listens(tmp_path: Path, bits: int) -> None:
    with bind_unix(tmp_path / "socket", mode=bits) as sock:
        assert stat.S_IMODE((tmp_path / "socket").stat().st_mode) == bits
        assert sock.fileno() >= 0


def test_unix_socket_whose_mode_cannot_be_set_is_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError("not yours")

    monkeypatch.setattr(os, "chmod", refuse)
    with pytest.raises(PermissionError):
        bind_unix(tmp_path / "socket", mode=0o600)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("text", "bits"), [("660", 0o660), ("0o600", 0o600), ("0777", 0o777), ("0", 0)])
def test_mode_is_octal(text: str, bits: int) -> None:
    assert mode(text) == bits


@pytest.mark.parametrize("text", ["", "rw", "888", "1000", "-1", "0x1", "\uff16\uff16\uff10", "6 6"])
def test_mode_that_is_none_is_an_invalid_argument(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        main(["run", "shop", "--uds", "x", f"--uds-mode={text}"])
    assert end.value.code == 2
    assert "octal digits" in capsys.readouterr().err


def test_options_without_what_they_belong_to_are_errors(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "shop.py").write_text(FACTORIES)
    assert "--uds-mode is for --uds PATH" in failure(capsys, "run", "shop", "--uds-mode=600")
    assert "--reload-include is for --reload" in failure(capsys, "run", "shop", "--reload-include=*.html")


# --- changed files -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "patterns", "seen"),
    [
        ("page.html", [], False),
        ("page.html", ["*.html"], True),
        ("templates/page.html", ["*.html"], True),
        ("templates/page.html", ["templates/*"], True),
        ("templates/deep/page.html", ["templates/*"], True),
        ("other/page.html", ["templates/*"], False),
        ("page.css", ["*.html", "*.css"], True),
        (".hidden/page.html", ["*.html"], False),
        ("shop.py", ["*.html"], True),
    ],
)
def test_files_of_a_pattern_are_watched(tmp_path: Path, name: str, patterns: list[str], seen: bool) -> None:
    files = WatchedFiles([tmp_path], patterns)
    (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / name).write_text("new")
    assert files.changed() == ([tmp_path / name] if seen else [])


# --- access log ----------------------------------------------------------------------------------------------------


async def visit(log: Callable[[], object]) -> None:
    """Serve a connection, a page and a refusal, after the log was configured."""
    app = App()
    app.page("/", lambda _: "page")

    @app.websocket("/echo")
    async def echo(ws: WebSocket) -> None:
        logging.getLogger("chat").info("said")
        await ws.send("hello")

    log()
    async with app.test_client() as client:
        async with client.websocket_connect("/echo?secret=1") as ws:
            await ws.receive()
        await client.get("/")
        with pytest.raises(ConnectionRejected):
            async with client.websocket_connect("/nowhere"):
                pass


@pytest.mark.parametrize(
    ("level", "plain"),
    [("info", ["INFO chat: said", "INFO trio_ws: /nowhere"]), (None, ["INFO chat", "INFO trio_ws"]), ("error", [])],
)
async def test_access_log_has_a_line_for_each_request(level: str | None, plain: list[str]) -> None:
    with unconfigured() as written:
        await visit(lambda: configure(level, prefix="worker 2 ", access=True))
    lines = [line.split(" ", 2)[2] for line in written.getvalue().splitlines()]
    texts = [line.removeprefix("worker 2 ") for line in lines]
    assert next(text for text in texts if text.startswith("/echo #")).endswith("is open")
    assert any(text.startswith("/echo #") and "closed after" in text for text in texts)
    assert any(text.startswith("/ #") and "answered with 200" in text for text in texts)
    assert sum("refused with 403" in text for text in texts) == 1
    assert all(line.startswith("worker 2 ") for line in lines)
    assert "secret" not in written.getvalue()
    others = [text for text in texts if not text.startswith("/")]
    assert all(text.startswith(start) for text, start in zip(others, plain, strict=True))


async def test_without_access_log_there_are_no_lines_of_requests() -> None:
    with unconfigured() as written:
        await visit(lambda: configure("info"))
    assert "is open" not in written.getvalue()


async def test_access_log_on_debug_has_no_line_twice() -> None:
    with unconfigured() as written:
        await visit(lambda: configure("debug", access=True))
    assert written.getvalue().count("is open") == 1
