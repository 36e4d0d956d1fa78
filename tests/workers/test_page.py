"""docs/workers.md: its options are the command's, its times the defaults', its program and its unit do as they say."""

from __future__ import annotations

import re
import shlex
import signal
from configparser import RawConfigParser

import pytest
from support.internals import internal

from tests.testing.responders import Routes
from tests.workers.fleet import ROOT, Fleet, eventually
from trio_ws import Server, Timeouts
from trio_ws.cli import main as main_module
from trio_ws.cli.process import WorkerTimeouts

parser = internal(main_module, "_parser")

PAGE = ROOT.joinpath("docs", "workers.md").read_text(encoding="utf-8")
BOUND = Server(Routes()).max_shutdown_seconds


def block(language: str) -> str:
    """Return the one block of code in a language."""
    (text,) = re.findall(rf"^```{language}\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    return text


def test_each_option_is_one_of_the_command() -> None:
    written = dict.fromkeys(re.findall(r"`(--[a-z-]+)", PAGE), "1")
    assert {"--workers", "--worker-port", "--fd", "--drain-rate"} < written.keys()
    given = [f"{name}={value}" for name, value in written.items() if name != "--worker-timeout"]
    parser().parse_args(["run", "chat:app", "--worker-timeout=30", *given])


async def test_its_program_starts_workers(fleet: Fleet) -> None:
    program = block("python").replace("chat:app", "shop:app").replace('"8000"', '"0"').replace('"4"', '"2"')
    fleet.folder.joinpath("serve.py").write_text(program)
    await fleet.run(["serve.py"])
    fleet.url = (await fleet.said(r"listening on (ws://127\.\S+)"))[1]
    await eventually(fleet, lambda each: each.number == 2)
    fleet.process.send_signal(signal.SIGTERM)
    assert await fleet.rest() == 0
    assert "\nshutting down: 2 workers\n" in fleet.output


def test_unit_starts_a_valid_command_and_waits_for_the_end() -> None:
    """Its unit starts what the command understands and waits for the end."""
    units = RawConfigParser()
    units.optionxform = str  # type: ignore[assignment,method-assign]
    units.read_string(block("ini"))
    unit = units["Service"]
    _, *arguments = shlex.split(unit["ExecStart"])
    options = parser().parse_args(arguments)
    assert (options.workers, options.fd) == (4, [3])
    assert float(unit["TimeoutStopSec"]) > BOUND + WorkerTimeouts().end


@pytest.mark.parametrize("name", ["drain_delay", "drain_spread", "shutdown_grace", "cleanup_timeout", "close_timeout"])
def test_the_times_of_the_end_are_the_defaults(name) -> None:
    (row,) = re.findall(rf"^\| \d.* \| (.*) \| [^|]*`Timeouts\.{name}`", PAGE, re.MULTILINE)
    assert f"{getattr(Timeouts(), name):g} s" in row


def test_their_sum_and_the_patience_are_the_defaults_too() -> None:
    assert f"is the sum, {BOUND:g} seconds with the defaults" in PAGE
    assert f"is replaced ({WorkerTimeouts().alive:g}) |" in PAGE
    assert f"not ready after {WorkerTimeouts().start:g} seconds" in PAGE
    assert WorkerTimeouts().end == 10
    assert "it is killed, ten seconds after" in PAGE
