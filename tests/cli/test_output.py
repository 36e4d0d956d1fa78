"""The command in a pipe whose reader goes, on a full disk, and without standard streams."""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from trio_ws.cli.main import main

SHOP = """
from trio_ws import App
app = App()

@app.listener("/sizes/{kind}")
async def sizes(size: float, kind: str) -> float: ...
"""
DESCRIBING = [("routes", "outlet"), ("asyncapi", "outlet"), ("types", "outlet"), ("--version",)]
CASES = ("conform", "server", "ws://localhost:1/", "--list", "--only", "1.1")
needs_full = pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no device that is full")


@pytest.fixture(autouse=True)
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A working directory with the module `outlet`, which no other test sees."""
    (tmp_path / "outlet.py").write_text(SHOP)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    yield
    sys.modules.pop("outlet", None)


def status_of(*arguments: str) -> Any:
    try:
        return main(arguments)
    except SystemExit as end:
        return end.code or 0


@pytest.mark.parametrize("arguments", [*DESCRIBING, CASES, ("--help",)])
def test_reader_that_has_gone_is_no_failure(arguments: Any, monkeypatch: Any, capfd: Any) -> None:
    """As of `trio-ws routes shop | head -1`; the end of the file, like that of the interpreter, does not fail."""
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "w") as output:
        monkeypatch.setattr(sys, "stdout", output)
        assert status_of(*arguments) == 0
    assert capfd.readouterr().err == ""


@needs_full
@pytest.mark.parametrize(("arguments", "status"), [*((each, 1) for each in DESCRIBING), (CASES, 2)])
def test_full_disk_is_one_line(arguments: Any, status: int, monkeypatch: Any, capfd: Any) -> None:
    with open("/dev/full", "w") as full:
        monkeypatch.setattr(sys, "stdout", full)
        assert status_of(*arguments) == status
    (line,) = capfd.readouterr().err.splitlines()
    assert line.startswith("trio-ws: the output cannot be written: ")


@pytest.mark.parametrize("arguments", [*DESCRIBING, ("connect", "ws://localhost:1/")])
def test_closed_standard_output_is_one_line(arguments: Any, monkeypatch: Any, capfd: Any) -> None:
    monkeypatch.setattr(sys, "stdout", None)
    assert status_of(*arguments) == 1
    assert capfd.readouterr().err == "trio-ws: there is no standard output\n"


def test_connect_with_closed_standard_input_is_one_line(monkeypatch: Any, capfd: Any) -> None:
    monkeypatch.setattr(sys, "stdin", None)
    assert status_of("connect", "ws://localhost:1/") == 1
    assert capfd.readouterr().err == "trio-ws: there is no standard input\n"


@needs_full
@pytest.mark.parametrize(("arguments", "status"), [(("routes", "nowhere"), 1), (("nothing",), 2)])
def test_full_standard_error_leaves_the_status(arguments: Any, status: int, monkeypatch: Any) -> None:
    """What it does not take is discarded: else the interpreter's last flush makes the status 120."""
    with open("/dev/full", "w", buffering=1) as full:
        monkeypatch.setattr(sys, "stderr", full)
        assert status_of(*arguments) == status
        full.flush()


@needs_full
@pytest.mark.slow
def test_application_without_room_for_errors_ends_with_status_0(tmp_path: Path) -> None:
    """Of `app.run()` after SIGTERM: process managers count any other status as a failure."""
    program = "import outlet; outlet.app.run(port=None, uds='socket')"
    with (
        open("/dev/full", "w") as full,
        subprocess.Popen([sys.executable, "-c", program], stderr=full, env=_buffered()) as process,
    ):
        while not (tmp_path / "socket").exists() and process.poll() is None:
            time.sleep(0.01)
        process.terminate()
        assert process.wait(120) == 0


def _buffered() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}


def test_characters_that_the_output_lacks_are_escaped(monkeypatch: Any, tmp_path: Path) -> None:
    (tmp_path / "outlet.py").write_text(SHOP.replace("sizes", "größen"), encoding="utf-8")
    with open("written", "w", encoding="ascii") as output:
        monkeypatch.setattr(sys, "stdout", output)
        assert status_of("routes", "outlet") == 0
    assert "/gr\\xf6\\xdfen/{kind}" in Path("written").read_text(encoding="ascii")


@pytest.mark.parametrize("name", ["", ":app", "./outlet.py", ".outlet"])
def test_reload_of_what_is_no_module_ends_at_once(name: str, monkeypatch: Any, capfd: Any) -> None:
    monkeypatch.setattr(importlib.import_module("trio_ws.cli.run_server"), "supervise", None)
    assert status_of("run", name, "--reload") == 1
    assert "is not the name of a module: give MODULE:APP" in capfd.readouterr().err


@pytest.mark.parametrize("arguments", [("routes", "outlet"), ("run", "outlet", "--reload")])
def test_removed_working_directory_is_one_line(arguments: Any, tmp_path: Path, monkeypatch: Any, capfd: Any) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    assert status_of(*arguments) == 1
    (line,) = capfd.readouterr().err.splitlines()
    assert line.startswith("trio-ws: the working directory is gone: ")


@pytest.mark.parametrize("name", ["log.ini", "log.toml", "log.json"])
def test_invalid_logging_configuration_is_one_line(name: str, tmp_path: Path, capfd: Any) -> None:
    (tmp_path / name).write_text("no section\nhere\n")
    assert status_of("run", "outlet", "--log-config", name) == 1
    (line,) = capfd.readouterr().err.splitlines()
    assert line.startswith("trio-ws: ")
