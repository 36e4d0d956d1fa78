"""Logging under the command: what the application has configured stays, what it has not is configured."""

from __future__ import annotations

import importlib
import io
import json
import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import pytest

from trio_ws.cli.logging_setup import LogConfigError, configure, read
from trio_ws.cli.main import main


@contextmanager
def unconfigured() -> Iterator[io.StringIO]:
    """Take what is configured away for a block, pytest's handlers too; return what is written to standard error."""
    loggers = [logging.getLogger(name) for name in (None, "trio_ws", "chat")]
    before = [(logger, logger.level, list(logger.handlers)) for logger in loggers]
    written = io.StringIO()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "stderr", written)
        patch.setattr(logging, "_handlerList", [])  # `logging.config` closes those in it
        try:
            for logger in loggers:
                logger.handlers[:] = []
                logger.setLevel(logging.WARNING if logger.parent is None else logging.NOTSET)
            yield written
        finally:
            for logger, level, handlers in before:
                logger.handlers[:] = handlers
                logger.setLevel(level)


def record_everywhere() -> None:
    logging.getLogger("trio_ws").info("ours")
    logging.getLogger("chat").info("theirs")


def test_unconfigured_loggers_write_to_standard_error() -> None:
    with unconfigured() as written:
        configure(None, prefix="worker 2 ")
        record_everywhere()
        logging.getLogger("trio_ws").debug("too much")
        assert [line.split(" ", 2)[2] for line in written.getvalue().splitlines()] == [
            "worker 2 INFO trio_ws: ours",
            "worker 2 INFO chat: theirs",
        ]


def test_a_configured_root_keeps_its_handlers_and_its_level() -> None:
    with unconfigured() as written:
        own = io.StringIO()
        logging.basicConfig(level="ERROR", stream=own)
        handlers = list(logging.getLogger().handlers)
        configure(None)
        record_everywhere()
        assert logging.getLogger().handlers == handlers
        assert logging.getLogger().level == logging.ERROR
        assert (own.getvalue(), written.getvalue()) == ("", "")


def test_a_logger_with_a_handler_of_its_own_is_written_once() -> None:
    with unconfigured() as written:
        own = io.StringIO()
        logging.getLogger("trio_ws").addHandler(logging.StreamHandler(own))
        logging.getLogger("chat").addHandler(logging.NullHandler())
        configure("info")
        record_everywhere()
        assert own.getvalue() == "ours\n"
        assert written.getvalue().endswith("INFO chat: theirs\n")
        assert "ours" not in written.getvalue()


def test_a_level_on_the_command_line_is_the_librarys() -> None:
    with unconfigured():
        own = io.StringIO()
        logging.basicConfig(level="WARNING", stream=own, format="%(message)s")
        configure("info")
        record_everywhere()
        assert own.getvalue() == "ours\n"


def test_a_level_of_the_root_alone_is_kept() -> None:
    with unconfigured() as written:
        logging.getLogger().setLevel("DEBUG")
        configure(None)
        logging.getLogger("chat").debug("detail")
        assert "DEBUG chat: detail" in written.getvalue()


DICTIONARY = {
    "formatters": {"short": {"format": "<%(levelname)s %(message)s>"}},
    "handlers": {"err": {"class": "logging.StreamHandler", "formatter": "short"}},
    "root": {"level": "INFO", "handlers": ["err"]},
}
TOML = """
[formatters.short]
format = "<%(levelname)s %(message)s>"
[handlers.err]
class = "logging.StreamHandler"
formatter = "short"
[root]
level = "INFO"
handlers = ["err"]
"""
INI = """
[loggers]
keys=root
[handlers]
keys=err
[formatters]
keys=short
[logger_root]
level=INFO
handlers=err
[handler_err]
class=StreamHandler
formatter=short
args=()
[formatter_short]
format=<%(levelname)s %(message)s>
"""


@pytest.mark.parametrize(("name", "text"), [("a.json", json.dumps(DICTIONARY)), ("a.toml", TOML), ("a.ini", INI)])
@pytest.mark.parametrize("mark", ["", "\ufeff"], ids=["plain", "byte-order-mark"])
def test_a_file_configures_logging_and_disables_no_logger(tmp_path: Path, name: str, text: str, mark: str) -> None:
    with unconfigured() as written:
        logging.getLogger("chat")  # made before, as by an import of the application
        (tmp_path / name).write_text(mark + text, encoding="utf-8")
        configure(None, config=read(str(tmp_path / name)))
        record_everywhere()
        assert written.getvalue() == "<INFO ours>\n<INFO theirs>\n"


@pytest.mark.parametrize(
    ("name", "text", "why"),
    [
        ("a.json", "{", "cannot read"),
        ("a.json", "[]", "not a mapping"),
        ("a.json", '{"handlers": {"x": {"class": "no.such.Class"}}}', "refused: .*no"),
        ("a.json", '{"a":' * 1_000_000 + "1" + "}" * 1_000_000, "cannot read"),
        ("a.toml", "=", "cannot read"),
        ("a.ini", "no section", "refused"),
        ("a.conf", "[loggers]\nkeys=root\n", "refused"),
        ("none/a.json", None, "cannot read"),
        ("none/a.ini", None, "cannot read"),
    ],
)
def test_a_file_that_configures_nothing_is_refused(tmp_path: Path, name: str, text: str | None, why: str) -> None:
    if text is not None:
        (tmp_path / name).write_text(text)
    with pytest.raises(LogConfigError, match=why):
        configure(None, config=read(str(tmp_path / name)))


def test_yaml_without_its_library_says_what_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "yaml", None)
    (tmp_path / "a.yaml").write_text("root: {}")
    with pytest.raises(LogConfigError, match="PyYAML"):
        read(str(tmp_path / "a.yaml"))


def test_yaml_is_read_where_its_library_is_installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """JSON is YAML, and stands in for it here."""
    library = SimpleNamespace(safe_load=json.loads, YAMLError=json.JSONDecodeError)
    monkeypatch.setitem(sys.modules, "yaml", library)
    (tmp_path / "a.yml").write_text(json.dumps(DICTIONARY))
    assert read(str(tmp_path / "a.yml")) == DICTIONARY
    (tmp_path / "a.yml").write_text("{")
    with pytest.raises(LogConfigError, match="cannot read"):
        read(str(tmp_path / "a.yml"))


APP = """
import json, logging
from trio_ws import App

class AsJson(logging.Formatter):
    def format(self, record):
        return json.dumps({"message": record.getMessage()})

def configure():
    handler = logging.StreamHandler()
    handler.setFormatter(AsJson())
    logging.basicConfig(level="INFO", handlers=[handler])

app = App()
"""


async def serve_nothing(*_: object, **__: object) -> None:
    logging.getLogger("shop").info("begins")


def run(folder: Path, source: str, *options: str) -> str:
    """Have an application run, which only logs that it begins; return what is written to standard error."""
    (folder / "shop.py").write_text(source)
    with pytest.MonkeyPatch.context() as patch, unconfigured() as written:
        patch.chdir(folder)
        patch.setattr(sys, "path", list(sys.path))
        patch.setattr(importlib.import_module("trio_ws.cli.run_server"), "serve_until_signalled", serve_nothing)
        try:
            assert main(["run", "shop:app", *options]) == 0
        finally:
            del sys.modules["shop"]
        return written.getvalue()


def test_run_leaves_the_logging_of_an_application_alone(tmp_path: Path) -> None:
    assert run(tmp_path, f"{APP}\nconfigure()\n") == '{"message": "begins"}\n'


def test_run_configures_logging_if_the_application_does_not(tmp_path: Path) -> None:
    """Run configures the logging of an application that does not."""
    assert run(tmp_path, APP).split(" ", 2)[2] == "INFO shop: begins\n"


def test_run_takes_a_file_whose_classes_are_the_applications(tmp_path: Path) -> None:
    config = {**DICTIONARY, "formatters": {"short": {"()": "shop.AsJson"}}}
    (tmp_path / "log.json").write_text(json.dumps(config))
    assert run(tmp_path, APP, "--log-config", "log.json") == '{"message": "begins"}\n'


@pytest.mark.parametrize("workers", [(), ("--workers", "2")])
def test_run_says_that_a_file_is_missing(capsys: pytest.CaptureFixture[str], workers: tuple[str, ...]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["run", "shop:app", "--log-config", "log.json", *workers])
    assert ended.value.code == 1
    written = capsys.readouterr().err
    assert written.startswith("trio-ws: cannot read the logging configuration log.json: ")
    assert written.count("\n") == 1
