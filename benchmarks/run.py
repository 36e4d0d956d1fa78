"""Run the benchmarks of our server and its peers, round by round, and print the comparison.

`make bench` calls this in an environment that has the peers. See README.md.
"""

from __future__ import annotations

import argparse
import json
import shlex
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import page
from figures import Round
from load import BUILD, build
from machine import describe
from measure import Bench, make_certificate
from peers import OURS, PEERS, Peer
from process import Cores
from scenarios import SCENARIOS, Scenario

QUICK_SECONDS = 0.15
QUICK_CONNECTIONS = 1000
SLOW = ("memory-10000", "crowd", "large-1m")
"""Scenarios that --quick skips unless they are selected."""


def arguments(words: Sequence[str] | None = None) -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(prog="make bench ARGS=...", description=(__doc__ or "").splitlines()[0])
    names, scenarios = [each.name for each in PEERS], [each.name for each in SCENARIOS]
    parser.add_argument("--scenario", action="append", choices=scenarios, metavar="NAME", help=", ".join(scenarios))
    parser.add_argument(
        "--peer", action="append", choices=names, metavar="NAME", help=f"beside ours: {', '.join(names)}"
    )
    parser.add_argument(
        "--rounds", type=_positive(int), default=3, help="how often everything is measured (default: 3)"
    )
    parser.add_argument("--seconds", type=_positive(float), default=0.8, help="of each measurement (default: 0.8)")
    parser.add_argument("--connections", type=int, metavar="N", help="at most so many, for a small machine")
    parser.add_argument(
        "--quick",
        action="store_true",
        help=f"one round of {QUICK_SECONDS} s, at most {QUICK_CONNECTIONS} connections, without {', '.join(SLOW)}",
    )
    parser.add_argument("--docs", action="store_true", help="put tables and chart into docs/ too")
    parser.add_argument("--output", type=Path, default=BUILD, help="directory for the results (default: build/bench)")
    parser.add_argument(
        "--render", type=Path, metavar="JSON", help="measure nothing, show these results of an earlier run"
    )
    options = parser.parse_args(words)
    if options.quick:
        options.seconds, options.rounds = QUICK_SECONDS, 1
        options.connections = options.connections or QUICK_CONNECTIONS
    return options


def _positive(kind: type[int] | type[float]) -> Any:
    def parse(text: str) -> float:
        number = kind(text)
        if not 0 < number <= 60:
            raise argparse.ArgumentTypeError(f"{text} is not between 0 and 60")
        return number

    return parse


def main(words: Sequence[str] | None = None) -> int:
    """Measure, print and write; return 1 if a measurement failed, else 0."""
    options = arguments(words)
    if options.render:
        record = json.loads(options.render.read_text())
    else:
        record = measure(options)
        (options.output / "figures.json").write_text(page.lines(record))
    page.write(record, options.output)
    if options.docs:
        page.publish(record)
    print(page.markdown(record))
    failed = any(
        "error" in figures for rounds in record["results"].values() for each in rounds for figures in each.values()
    )
    return int(failed)


def chosen(options: argparse.Namespace) -> tuple[list[Scenario], list[Peer]]:
    """Return the selected scenarios and participants; ours always takes part."""
    wanted = options.scenario or [each.name for each in SCENARIOS if not (options.quick and each.name in SLOW)]
    peers = [each for each in PEERS if not options.peer or each.name in [OURS, *options.peer]]
    scenarios = [each for each in SCENARIOS if each.name in wanted]
    return [each.with_at_most(options.connections or each.descriptors) for each in scenarios], peers


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """Measure all selected scenarios and return the contents of `figures.json`.

    Raises:
        RuntimeError: nothing can be measured here; the message says why.
    """
    words = shlex.join(sys.argv[1:])
    options.output.mkdir(parents=True, exist_ok=True)
    bench = Bench(build(options.output), Cores.of_this_machine(), options.seconds, options.output, _tell)
    record: dict[str, Any] = {
        "command": f"make bench ARGS={shlex.quote(words)}" if words else "make bench",
        "machine": describe(),
        "results": {},
        "skipped": [],
    }
    scenarios, peers = chosen(options)
    started = time.monotonic()
    for scenario in scenarios:
        _tell(f"{time.monotonic() - started:4.0f} s  {scenario.title}")
        try:
            record["results"][scenario.name] = _rounds(bench, scenario, peers, options.rounds)
        except RuntimeError as error:
            record["skipped"].append(f"{scenario.name}: {error}")
        # What was measured so far is kept, whatever happens next.
        (options.output / "figures.json").write_text(page.lines(record))
    record["machine"]["duration"] = f"{time.monotonic() - started:.0f} s"
    return record


def _rounds(bench: Bench, scenario: Scenario, peers: Sequence[Peer], rounds: int) -> list[Round]:
    if scenario.tls:
        make_certificate(bench.directory / "certificate.pem")
    return bench.measure(scenario, peers, rounds)


def _tell(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # an exception ends the servers, a signal would not
    try:
        sys.exit(main())
    except RuntimeError as problem:
        sys.exit(f"make bench: {problem}")
