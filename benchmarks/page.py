"""Page: everything that one run found out, as one piece of Markdown, and its place in the documentation."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import table
from chart import draw, panels
from peers import PEERS
from table import Results
from targets import judge

DOCS: Final = Path(__file__).parent.parent / "docs"
BEGIN, END = "<!-- figures: written by make bench -->", "<!-- end of figures -->"


def markdown(record: Mapping[str, Any]) -> str:
    """Return tables and circumstances of a run, as `run` records it."""
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
        *_section(
            "### What failed or is in doubt", [*record["skipped"], *table.failures(results), *table.doubts(results)]
        ),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _section(title: str, lines: list[str]) -> list[str]:
    return [title, "\n".join(f"* {line}" for line in lines)] if lines else []


def participants() -> str:
    """Return the list of who takes part."""
    return "\n".join(f"* {peer.name}: {peer.note}" for peer in PEERS)


def write(record: Mapping[str, Any], directory: Path) -> None:
    """Write `table.md` and `chart.svg`."""
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "table.md").write_text(markdown(record))
    (directory / "chart.svg").write_text(draw(panels(record["results"])))


def publish(record: Mapping[str, Any], docs: Path = DOCS) -> None:
    """Put the tables into `performance.md`, between their marks, and the chart beside it.

    Raises:
        RuntimeError: the page has lost its marks.
    """
    page = docs / "performance.md"
    before, begin, rest = page.read_text().partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise RuntimeError(f"{page} has no place for the figures: it needs {BEGIN!r} and {END!r}")
    page.write_text(f"{before}{BEGIN}\n\n{markdown(record)}\n{END}{after}")
    (docs / "performance").mkdir(exist_ok=True)
    (docs / "performance" / "chart.svg").write_text(draw(panels(record["results"])))
