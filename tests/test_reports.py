"""What a process of several reports of a test."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from support import reports


def logged(monkeypatch: pytest.MonkeyPatch, **outcomes: str) -> list[str]:
    """Return the phases that are reported of a test whose phases have these outcomes."""
    made = [SimpleNamespace(when=when, passed=outcome == "passed") for when, outcome in outcomes.items()]
    monkeypatch.setattr(reports, "runtestprotocol", lambda item, log, nextitem: made)
    found: list[str] = []
    hook = SimpleNamespace(
        pytest_runtest_logstart=lambda **_: found.append("start"),
        pytest_runtest_logreport=lambda report: found.append(report.when),
        pytest_runtest_logfinish=lambda **_: found.append("finish"),
    )
    item: Any = SimpleNamespace(config=SimpleNamespace(workerinput={}), ihook=hook, nodeid="a", location=("a", 1, "a"))
    assert reports.pytest_runtest_protocol(item, None)
    return found


@pytest.mark.parametrize(
    ("outcomes", "phases"),
    [
        ({"setup": "passed", "call": "passed", "teardown": "passed"}, ["call"]),
        ({"setup": "passed", "call": "failed", "teardown": "passed"}, ["call"]),
        ({"setup": "passed", "call": "skipped", "teardown": "passed"}, ["call"]),
        ({"setup": "failed", "teardown": "passed"}, ["setup"]),
        ({"setup": "skipped", "teardown": "passed"}, ["setup"]),
        ({"setup": "passed", "call": "passed", "teardown": "failed"}, ["call", "teardown"]),
        ({"setup": "failed", "teardown": "failed"}, ["setup", "teardown"]),
    ],
)
def test_phases_that_have_not_passed_are_reported_too(monkeypatch, outcomes, phases) -> None:
    assert logged(monkeypatch, **outcomes) == ["start", *phases, "finish"]
