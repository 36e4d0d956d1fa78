"""The command `fuzz`."""

from __future__ import annotations

import argparse
import ipaddress
import random
import socket
from typing import TYPE_CHECKING, Final

import trio

from trio_ws.cli.conform_run import CANNOT_RUN, CannotRun, print_result, target_of
from trio_ws.cli.defaults import INTERRUPTED
from trio_ws.conformance.describe import allowed, sent
from trio_ws.conformance.fuzz_script import script_of, writes_of
from trio_ws.conformance.peer import Pace
from trio_ws.conformance.results import Result
from trio_ws.conformance.server_under_test import CannotTest, ServerUnderTest, first_look
from trio_ws.escaping import printable
from trio_ws.server.signals import print_line

if TYPE_CHECKING:
    from collections.abc import Iterator

    from trio_ws.conformance.fuzzing import Fuzzer

__all__ = ["fuzz"]

FOUND: Final = 1
SHOWN_BYTES: Final = 512
"""Bytes of a failing conversation that are printed."""


def fuzz(options: argparse.Namespace) -> int:
    """Fuzz a server; return the exit status: 0 if nothing was found, 1 if something was.

    Args:
        options: those of `cli.conform`.
    """
    try:
        return _fuzz(options, target_of(options))
    except (CannotRun, CannotTest) as error:
        print_line(f"trio-ws: {printable(str(error))}")
        return CANNOT_RUN


def _fuzz(options: argparse.Namespace, target: ServerUnderTest) -> int:
    if not options.yes_i_own_it:
        _check_loopback(target)
    number = random.randrange(10**6) if options.seed is None else options.seed
    pace = Pace(timeout=options.timeout, pause=0.02)
    try:
        from trio_ws.conformance.fuzzing import Fuzzer  # noqa: PLC0415 - needs Hypothesis
    except ImportError:
        raise CannotRun("fuzz needs Hypothesis: pip install 'trio-ws[testing]'") from None
    trio.run(first_look, target, pace)
    fuzzer = Fuzzer(target, number, options.budget, pace)
    print_line(f"seed {number}, for {options.budget:g} s")
    return _conclude(fuzzer, options, interrupted=_is_interrupted(fuzzer))


def _is_interrupted(fuzzer: Fuzzer) -> bool:
    """Run a fuzzer, and return True if Ctrl-C ended it, as it may any of its nurseries."""
    try:
        fuzzer.run()
    except KeyboardInterrupt:
        return True
    except BaseExceptionGroup as group:
        if group.split(KeyboardInterrupt)[1] is not None:
            raise
        return True
    return False


def _check_loopback(target: ServerUnderTest) -> None:
    try:
        found = {entry[4][0] for entry in socket.getaddrinfo(target.url.hostname, target.url.port)}
    except OSError as error:
        raise CannotRun(f"cannot find {target.url.hostname}: {error}") from None
    others = sorted(str(each) for each in found if not ipaddress.ip_address(str(each).partition("%")[0]).is_loopback)
    if others:
        raise CannotRun(
            f"{target.url.hostname} is {others[0]}, not on the loopback interface: fuzz only what is yours, and say so "
            "with --yes-i-own-it"
        )


def _conclude(fuzzer: Fuzzer, options: argparse.Namespace, *, interrupted: bool) -> int:
    result = fuzzer.failing
    if result is None:
        print_result(f"{fuzzer.count} conversations, no failure{' (interrupted)' if interrupted else ''}.")
        return INTERRUPTED if interrupted else 0
    found = f"{fuzzer.count} conversations, the smallest that fails (--seed {fuzzer.seed} repeats the run):\n"
    shown = "\n".join([found, *_lines_of(result)])
    script = script_of(result.case, fuzzer.target, result.text)
    if options.script is None:
        print_result(f"{shown}\n\n--- a script that repeats it (--script FILE writes it) ---\n{script}")
        return FOUND
    try:
        options.script.write_text(script, encoding="utf-8")
    except OSError as error:
        print_result(shown)
        raise CannotRun(f"cannot write the script: {error}") from None
    print_result(f"{shown}\nscript    {options.script}")
    return FOUND


def _lines_of(result: Result) -> Iterator[str]:
    data = b"".join(writes_of(result.case))
    more = f" ... {len(data)} bytes" if len(data) > SHOWN_BYTES else ""
    for label, lines in (
        ("sent", sent(result.case)),
        ("bytes", [f"{data[:SHOWN_BYTES].hex(' ')}{more}"]),
        ("allowed", allowed(result.case)),
        ("wrong", [f"{result.text} ({result.section})"]),
        ("came", [entry.text for entry in result.log if entry.direction == "received"][1:]),
    ):
        for line in lines:
            yield f"{label:10}{printable(line)}"
