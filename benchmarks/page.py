"""The results of a run as Markdown, and their insertion into the documentation."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import table
from chart import draw, panels
from table import Results
from targets import judge

DOCS: Final = Path(__file__).parent.parent / "docs"
BUSY: Final = 0.5
"""A higher load average means that other processes used the cores."""
RAW: Final = "All figures of all rounds: [figures.json](performance/figures.json)."
BEGIN, END = "<!-- figures: written by make bench -->", "<!-- end of figures -->"


def markdown(record: Mapping[str, Any]) -> str:
    """Return the tables and the conditions of a run, as recorded by `run`."""
    results: Results = record["results"]
    circumstances = [f"* {name}: {what}" for name, what in record["machine"].items()]
    parts = [
        f"Command: `{record['command']}`",
        "\n".join(circumstances),
        "### Ratios",
        table.ratios(results),
        "### Our own variants",
        table.variants(results),
        "### Targets",
        table.targets(judge(results)),
        "### Figures",
        table.absolutes(results),
        *_section("### Failures and doubts", problems(record)),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def problems(record: Mapping[str, Any]) -> list[str]:
    """Return a line for each condition that makes a run unreliable."""
    results, load = record["results"], float(record["machine"].get("load before", 0))
    busy = f"the machine was busy with other work: its load average was {load:.2f} before the run"
    pure = "`ours` ran with the pure Python codec: the compiled one is not built, or not asked for"
    general = [*([busy] if load > BUSY else []), *([pure] if "pure" in record["machine"].get("python", "") else [])]
    return [*general, *record["skipped"], *table.failures(results), *table.doubts(results)]


def _section(title: str, lines: list[str]) -> list[str]:
    return [title, "\n".join(f"* {line}" for line in lines)] if lines else []


def lines(record: Mapping[str, Any]) -> str:
    """Return a record as JSON, with one line for each round, so that diffs are readable."""
    head = json.dumps({**record, "results": {}}, indent=1)
    scenarios = [
        f"  {json.dumps(name)}: [\n" + ",\n".join(f"   {json.dumps(each)}" for each in rounds) + "\n  ]"
        for name, rounds in record["results"].items()
    ]
    return head.replace('"results": {}', '"results": {\n' + ",\n".join(scenarios) + "\n }") + "\n"


def write(record: Mapping[str, Any], directory: Path) -> None:
    """Write `table.md` and `chart.svg`."""
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "table.md").write_text(markdown(record))
    (directory / "chart.svg").write_text(draw(panels(record["results"])))


def publish(record: Mapping[str, Any], docs: Path = DOCS) -> None:
    """Write the tables into `performance.md`, between their markers, with chart and figures.

    Raises:
        RuntimeError: the page has lost its marks.
    """
    page = docs / "performance.md"
    before, begin, rest = page.read_text().partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise RuntimeError(f"{page} has no place for the figures: it needs {BEGIN!r} and {END!r}")
    image = "![The headline figures as bars](performance/chart.svg)"
    page.write_text(f"{before}{BEGIN}\n\n{image}\n\n{markdown(record)}\n{RAW}\n\n{END}{after}")
    (docs / "performance").mkdir(exist_ok=True)
    (docs / "performance" / "chart.svg").write_text(draw(panels(record["results"])))
    (docs / "performance" / "figures.json").write_text(lines(record))
