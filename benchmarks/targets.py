"""The performance targets of this library, which every run evaluates.

A goal with a peer is a minimum ratio between ours and the peer. A goal without one is a maximum of our figure.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import attrs
from figures import Round, middle, ratio
from peers import OURS
from scenarios import SCENARIOS, Metric

METRICS: Final = {(scenario.name, metric.name): metric for scenario in SCENARIOS for metric in scenario.metrics}


@attrs.frozen
class Target:
    """One goal of a scenario."""

    scenario: str
    metric: str
    peer: str | None
    least: float | None
    stretch: float | None
    ours: str = OURS
    share: float = 1.0
    """Factor of the figure: 0.5 if the goal is for each of two messages."""


@attrs.frozen
class Verdict:
    """A target and its result."""

    target: Target
    reached: float | None
    """The result; None if it was not measured in this run."""

    @property
    def met(self) -> bool | None:
        return self._meets(self.target.least)

    @property
    def stretch_met(self) -> bool | None:
        return self._meets(self.target.stretch)

    def _meets(self, goal: float | None) -> bool | None:
        if goal is None or self.reached is None:
            return None
        return self.reached <= goal if self.target.peer is None else self.reached >= goal


def _both(scenario: str) -> tuple[Target, ...]:
    return (
        Target(scenario, "rate", "websockets.trio", 6, None),
        Target(scenario, "rate", "trio-websocket", 6, None),
        Target(scenario, "rate", "aiohttp+uvloop", 1.0, None),
        Target(scenario, "rate", "picows+uvloop", 0.7, 1.0),
    )


TARGETS: Final = (
    *_both("echo-100"),
    *_both("echo-1000"),
    Target("pipelined-100", "rate", "trio-websocket", 30, None),
    Target("pipelined-100", "rate", "picows+uvloop", 3, 5),
    Target("pipelined-1", "rate", "picows+uvloop", 2, 3),
    Target("echo-1", "latency", "picows+uvloop", 1 / 1.2, 1.0),
    Target("large-64k", "rate", "picows+uvloop", 0.8, 1.0),
    Target("broadcast", "rate", "trio-websocket", 10, None),
    Target("broadcast", "rate", "picows+uvloop", 1.0, 1.5),
    Target("churn", "rate", "trio-websocket", 2, None),
    Target("churn", "rate", "aiohttp+uvloop", 1.0, None),
    Target("churn", "rate", "picows+uvloop", None, 1.0),
    Target("memory-2000", "memory", None, 6, 4),
    Target("memory-10000", "memory", None, 6, 4),
    Target("pipelined-100", "user", None, 3, 1, share=0.5),
    Target("echo-100", "user", None, 3, 1, share=0.5),
    Target("tls", "rate", "websockets.trio", 4, None),
    Target("tls", "rate", "websockets+uvloop", None, 1.0),
    Target("client-1", "rate", "websockets+uvloop", 1.0, None),
    Target("client-1", "rate", "trio-websocket", 3, None),
    Target("client-1", "rate", "picows+uvloop", None, 1.0),
    Target("client-64", "rate", "websockets+uvloop", 1.0, None),
    Target("client-64", "rate", "trio-websocket", 3, None),
    Target("client-64", "rate", "picows+uvloop", None, 1.0),
    Target("echo-100", "rate", "trio-websocket", 3, None, ours="ours-pure"),
    Target("echo-100", "rate", "aiohttp+uvloop", None, 1.0, ours="ours-pure"),
)


def judge(results: Mapping[str, Sequence[Round]]) -> list[Verdict]:
    """Return a verdict for each target whose scenario was measured."""
    return [
        Verdict(target, _reached(target, results[target.scenario])) for target in TARGETS if target.scenario in results
    ]


def _reached(target: Target, rounds: Sequence[Round]) -> float | None:
    metric: Metric = METRICS[target.scenario, target.metric]
    if target.peer is not None:
        return ratio(rounds, target.ours, target.peer, metric)
    figure = middle(rounds, target.ours, metric)
    return None if figure is None else figure * target.share
