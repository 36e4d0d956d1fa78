"""Run the benchmarks: our server and its peers one after another, round by round, and print how they compare.

`make bench` calls this in an environment that has the peers. See README.md.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import table
from build import BUILD, build
from machine import describe
from measure import Bench, Round, make_certificate
from peers import PEERS, Peer
from process import Cores
from scenarios import SCENARIOS, Scenario
from targets import judge

QUICK = {"seconds": 0.2, "rounds": 1}
"""What --quick means, with fewer connections in the memory scenarios besides."""


def arguments(words: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make bench ARGS=...", description=__doc__)
    parser.add_argument("--scenario", action="append", choices=[each.name for each in SCENARIOS], help="only this; may be repeated")
    parser.add_argument("--peer", action="append", choices=[each.name for each in PEERS], help="only this and ours; may be repeated")
    parser.add_argument("--rounds", type=int, default=3, help="how often everything is measured (default: 3)")
    parser.add_argument("--seconds", type=float, default=1.0, help="of each measurement (default: 1)")
    parser.add_argument("--quick", action="store_true", help="one round, 0.2 s each, no memory of 10,000 connections")
    parser.add_argument("--docs", action="store_true", help="write table and chart into docs/ too")
    parser.add_argument("--output", type=Path, default=BUILD, help="where to write to (default: build/bench)")
    return parser.parse_args(words)


def main(words: Sequence[str] | None = None) -> int:
    options = arguments(words)
    if options.quick:
        options.seconds, options.rounds = QUICK["seconds"], int(QUICK["rounds"])
    options.output.mkdir(parents=True, exist_ok=True)
    started = time.monotonic()
    results = measure_all(options)
    text = report(results)
    print(text)
    return 0


def chosen(options: argparse.Namespace) -> tuple[list[Scenario], list[Peer]]:
    scenarios = [each for each in SCENARIOS if not options.scenario or each.name in options.scenario]
    if options.quick and not options.scenario:
        scenarios = [each for each in scenarios if each.name != "memory-10000"]
    peers = [each for each in PEERS if not options.peer or each.name in options.peer or each.name == "ours"]
    return scenarios, peers


def measure_all(options: argparse.Namespace) -> dict[str, list[Round]]:
    load = build(BUILD)
    bench = Bench(load, Cores.of_this_machine(), options.seconds, options.output, report=lambda line: print(f"  {line}", file=sys.stderr))
    scenarios, peers = chosen(options)
    results = {}
    for scenario in scenarios:
        print(scenario.title, file=sys.stderr)
        if scenario.tls:
            make_certificate(options.output / "certificate.pem")
        results[scenario.name] = bench.measure(scenario, peers, options.rounds)
    return results


def report(results: dict[str, list[Round]]) -> str:
    return "\n\n".join(filter(None, [table.ratios(results), table.absolutes(results), table.variants(results), table.targets(judge(results)), *table.failures(results)]))


if __name__ == "__main__":
    sys.exit(main())
