"""Figures: medians and ratios. A ratio is above 1 where ours is better, whichever way the metric counts."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median
from typing import Any

from scenarios import Metric

Round = dict[str, dict[str, Any]]
"""What `measure` returns for each round."""


def value(figures: dict[str, Any] | None, metric: Metric) -> float | None:
    """Return a metric of one measurement, None if it was not made or failed."""
    if figures is None or "error" in figures:
        return None
    return metric.of(figures)


def middle(rounds: Sequence[Round], name: str, metric: Metric) -> float | None:
    """Return the median of a participant's figures."""
    values = [value(each.get(name), metric) for each in rounds]
    return median(present) if (present := [figure for figure in values if figure is not None]) else None


def ratio(rounds: Sequence[Round], ours: str, peer: str, metric: Metric) -> float | None:
    """Return how many times better ours is: the median of the rounds' ratios, None if no round has both figures."""
    ratios = []
    for each in rounds:
        mine, theirs = value(each.get(ours), metric), value(each.get(peer), metric)
        if mine and theirs:
            ratios.append(theirs / mine if metric.less_is_better else mine / theirs)
    return median(ratios) if ratios else None
