"""The measurements as Markdown tables, readable in a terminal too."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from figures import Round, middle, ratio
from peers import CEILING, OURS, PEERS
from scenarios import SCENARIOS, Figures, Metric, Scenario
from targets import Verdict

Results = Mapping[str, Sequence[Round]]
BUSY: Final = 0.9
"""A process with less than this share of its core waits for another one."""
SHORT: Final = {"rate": "", "latency": ", latency", "cpu": ", CPU", "user": ", user CPU", "memory": ""}


def figure(number: float | None) -> str:
    """Return a number with its significant digits."""
    if number is None:
        return "-"
    if number >= 100:
        return f"{number:,.0f}"
    return f"{number:.1f}" if number >= 10 else f"{number:.2f}"


def aligned(rows: Sequence[Sequence[str]]) -> str:
    """Return a Markdown table; the first row is its head."""
    widths = [max(3, *(len(row[column]) for row in rows)) for column in range(len(rows[0]))]
    rule = ["-" * widths[0], *("-" * (width - 1) + ":" for width in widths[1:])]

    def line(cells: Sequence[str]) -> str:
        padded = [
            cells[0].ljust(widths[0]),
            *(cell.rjust(width) for cell, width in zip(cells[1:], widths[1:], strict=True)),
        ]
        return f"| {' | '.join(padded)} |"

    return "\n".join([line(rows[0]), line(rule), *map(line, rows[1:])])


def _measured(results: Results) -> list[tuple[Scenario, Metric]]:
    return [(each, metric) for each in SCENARIOS if each.name in results for metric in each.metrics]


def _present(results: Results, variant: bool) -> list[str]:
    seen = {name for rounds in results.values() for each in rounds for name in each}
    return [
        peer.name
        for peer in PEERS
        if peer.name in seen and peer.variant == variant and peer.name != OURS and not peer.ceiling
    ]


def ratios(results: Results) -> str:
    """Return the table of ratios between ours and each peer."""
    peers = _present(results, variant=False)
    rows = [["ours is so many times better", "ours", "", *peers]]
    for scenario, metric in _measured(results):
        rounds = results[scenario.name]
        row = [scenario.title + SHORT[metric.name], figure(middle(rounds, OURS, metric)), metric.unit]
        rows.append(row + [figure(ratio(rounds, OURS, peer, metric)) for peer in peers])
    return aligned(rows)


def absolutes(results: Results) -> str:
    """Return the table of figures, as medians of the rounds."""
    names = [OURS, *_present(results, variant=True), *_present(results, variant=False), CEILING]
    rows = [["median of the rounds", "", *names]]
    for scenario, metric in _measured(results):
        row = [scenario.title + SHORT[metric.name], metric.unit]
        rows.append(row + [figure(middle(results[scenario.name], name, metric)) for name in names])
    return aligned(rows)


def variants(results: Results) -> str:
    """Return the table of our own variants, against our default settings; empty if there are none."""
    names = _present(results, variant=True)
    rows = [["so many times better than our default", *names]]
    for scenario, metric in _measured(results):
        cells = [ratio(results[scenario.name], name, OURS, metric) for name in names]
        if any(cell is not None for cell in cells):
            rows.append([scenario.title + SHORT[metric.name], *map(figure, cells)])
    return aligned(rows) if names else ""


def targets(verdicts: Sequence[Verdict]) -> str:
    """Return the table of targets, with goal, result and verdict."""
    titles = {scenario.name: scenario.title for scenario in SCENARIOS}
    rows = [["target", "against", "at least", "reached", "", "stretch", ""]]
    for verdict in verdicts:
        target = verdict.target
        who = f"{target.peer}" if target.peer else "(a figure, at most)"
        name = titles[target.scenario] + SHORT[target.metric] + (", each way" if target.share == 0.5 else "")
        if target.ours != OURS:
            name += f" ({target.ours})"
        rows.append(
            [
                name,
                who,
                figure(target.least),
                figure(verdict.reached),
                _word(verdict.met),
                figure(target.stretch),
                _word(verdict.stretch_met),
            ]
        )
    return aligned(rows)


def doubts(results: Results) -> list[str]:
    """Return a line for each measurement that had errors or was not limited by the server."""
    found = set()
    for scenario, rounds in results.items():
        for each in rounds:
            found |= {
                f"{scenario}, {name}: {doubt}" for name, figures in each.items() if (doubt := _doubt(name, figures))
            }
    return sorted(found)


def _doubt(name: str, figures: Figures) -> str:
    if figures.get("errors"):
        return f"{figures['errors']} connections ended in another way than they should"
    if name == CEILING or "load_cpu" not in figures or "server_cpu" not in figures:
        return ""
    load, server = figures["load_cpu"] / figures["seconds"], figures["server_cpu"] / figures["seconds"]
    return "the load generator was busy all the time, and the server was not" if load > BUSY > server else ""


def _word(met: bool | None) -> str:
    return "" if met is None else "yes" if met else "no"


def failures(results: Results) -> list[str]:
    """Return a line for each measurement that failed."""
    return sorted(
        {
            f"{scenario}, {name}: {figures['error']}"
            for scenario, rounds in results.items()
            for each in rounds
            for name, figures in each.items()
            if "error" in figures
        }
    )
