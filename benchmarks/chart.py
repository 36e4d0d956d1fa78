"""A bar chart as SVG, with a panel for each headline scenario."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final
from xml.sax.saxutils import escape

import attrs
from figures import middle
from peers import CEILING, OURS, PEERS
from scenarios import SCENARIOS, Metric
from table import Results, figure

HEADLINES: Final = (
    ("echo-100", "rate"),
    ("echo-1000", "rate"),
    ("pipelined-1", "rate"),
    ("pipelined-100", "rate"),
    ("large-64k", "rate"),
    ("broadcast", "rate"),
    ("churn", "rate"),
    ("memory-2000", "memory"),
)
COLUMNS: Final = 2
PANEL_WIDTH, BAR_LEFT, BAR_RIGHT = 490, 142, 90
ROW, BAR, TITLE, GAP = 18, 12, 26, 18
OUR_COLOUR, THEIR_COLOUR = "#c2410c", "#94a3b8"


@attrs.frozen
class Panel:
    """The results of all participants in one scenario."""

    title: str
    unit: str
    bars: tuple[tuple[str, float], ...]

    @property
    def height(self) -> int:
        return TITLE + ROW * len(self.bars) + GAP


def panels(results: Results) -> list[Panel]:
    """Return the headline scenarios that were measured, the best participant first."""
    scenarios = {scenario.name: scenario for scenario in SCENARIOS}
    found = []
    for name, metric_name in HEADLINES:
        scenario = scenarios[name]
        metric = next(each for each in scenario.metrics if each.name == metric_name)
        bars = _bars(results, name, metric)
        if bars:
            less = ", less is better" if metric.less_is_better else ""
            found.append(Panel(scenario.title, metric.unit + less, bars))
    return found


def _bars(results: Results, scenario: str, metric: Metric) -> tuple[tuple[str, float], ...]:
    figures = [
        (peer.name, middle(results.get(scenario, ()), peer.name, metric))
        for peer in PEERS
        if not peer.variant and peer.name != CEILING
    ]
    bars = [(name, number) for name, number in figures if number is not None]
    return tuple(sorted(bars, key=lambda bar: bar[1], reverse=not metric.less_is_better))


def draw(found: Sequence[Panel]) -> str:
    """Return the panels as an SVG document."""
    rows = [found[at : at + COLUMNS] for at in range(0, len(found), COLUMNS)]
    parts, top = [], GAP
    for row in rows:
        for column, panel in enumerate(row):
            parts += _panel(panel, column * PANEL_WIDTH, top)
        top += max(panel.height for panel in row)
    width = PANEL_WIDTH * COLUMNS
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{top}" viewBox="0 0 {width} {top}" '
        'font-family="sans-serif" font-size="12" role="img" aria-label="Benchmark results">'
    )
    background = f'<rect width="{width}" height="{top}" fill="#ffffff"/>'
    return "\n".join([head, background, *parts, "</svg>", ""])


def _panel(panel: Panel, left: int, top: int) -> list[str]:
    room = PANEL_WIDTH - BAR_LEFT - BAR_RIGHT
    most = max(number for _, number in panel.bars)
    parts = [_text(left + 10, top + 10, f"{panel.title} ({panel.unit})", weight="bold")]
    for number, (name, reached) in enumerate(panel.bars):
        middle_of_row = top + TITLE + number * ROW + BAR // 2
        length = max(1.0, room * reached / most)
        colour = OUR_COLOUR if name == OURS else THEIR_COLOUR
        weight = "bold" if name == OURS else "normal"
        label = "trio_ws" if name == OURS else name
        parts += [
            _text(left + BAR_LEFT - 8, middle_of_row + 4, label, anchor="end", weight=weight),
            f'<rect x="{left + BAR_LEFT}" y="{middle_of_row - BAR // 2}" '
            f'width="{length:.1f}" height="{BAR}" fill="{colour}"/>',
            _text(left + BAR_LEFT + length + 6, middle_of_row + 4, figure(reached), weight=weight),
        ]
    return parts


def _text(x: float, y: float, words: str, *, anchor: str = "start", weight: str = "normal") -> str:
    return (
        f'<text x="{x:.1f}" y="{y}" text-anchor="{anchor}" font-weight="{weight}" fill="#1f2937">{escape(words)}</text>'
    )
