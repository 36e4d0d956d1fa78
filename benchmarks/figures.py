"""Medians and ratios; a ratio above 1 means that ours is better."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median
from typing import Any

from scenarios import Metric

Round = dict[str, dict[str, Any]]
"""The result of `measure` for each round."""


def value(figures: dict[str, Any] | None, metric: Metric) -> float | None:
    """Return a metric of one measurement, None without a result."""
    if figures is None or "error" in figures:
        return None
    return metric.of(figures)


def middle(rounds: Sequence[Round], name: str, metric: Metric) -> float | None:
    """Return the median of a participant's figures."""
    values = [value(each.get(name), metric) for each in rounds]
    return median(present) if (present := [figure for figure in values if figure is not None]) else None


def ratio(rounds: Sequence[Round], ours: str, peer: str, metric: Metric) -> float | None:
    """Return the median of the rounds' ratios, None if no round has both figures."""
    ratios = []
    for each in rounds:
        mine, theirs = value(each.get(ours), metric), value(each.get(peer), metric)
        if mine and theirs:
            ratios.append(theirs / mine if metric.less_is_better else mine / theirs)
    return median(ratios) if ratios else None
