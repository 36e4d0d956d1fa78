"""The report: after a run, a table of verdicts per group, and the reason of each that is not strict."""

from __future__ import annotations

from collections import Counter

import pytest

from .case import Case
from .judge import NON_STRICT, OK
from .table import CASES, GROUPS

Verdicts = dict[tuple[str, str], tuple[Case, str]]
_PROPERTY = "conformance"
_BY_ID = {case.id: case for case in CASES}


@pytest.fixture
def record(request):
    """`record(side, case, verdict)` puts a verdict into the report."""

    def note(side: str, case: Case, verdict: str) -> None:
        # Properties of a test travel with its report from the worker process that ran it.
        request.node.user_properties.append((_PROPERTY, (side, case.id, verdict)))

    return note


def pytest_terminal_summary(terminalreporter):
    found = (
        value
        for reports in terminalreporter.stats.values()
        for report in reports
        if isinstance(report, pytest.TestReport) and report.when == "call"
        for name, value in report.user_properties
        if name == _PROPERTY
    )
    verdicts: Verdicts = {(side, number): (_BY_ID[number], verdict) for side, number, verdict in found}
    if not verdicts:
        return
    terminalreporter.section("conformance")
    for line in report(verdicts):
        terminalreporter.line(line)


def report(verdicts: Verdicts) -> list[str]:
    """Return the lines of the report."""
    counts = Counter((side, case.group, verdict) for (side, _), (case, verdict) in verdicts.items())
    sides = sorted({side for side, _ in verdicts})
    lines = ["| group | " + " | ".join(sides) + " |", "|---" * (len(sides) + 1) + "|"]
    for group, name in GROUPS.items():
        cells = [_cell(counts[side, group, OK], counts[side, group, NON_STRICT]) for side in sides]
        lines.append(f"| {group} {name} | " + " | ".join(cells) + " |")
    return lines + _reasons(verdicts, sides)


def _reasons(verdicts: Verdicts, sides: list[str]) -> list[str]:
    """Return a line for each reason: the cases, with the sides where these are not all, and the reason."""
    found: dict[str, dict[str, list[str]]] = {}
    for (side, number), (case, verdict) in verdicts.items():
        if verdict == NON_STRICT:
            found.setdefault(case.nonstrict, {}).setdefault(number, []).append(side)
    lines = []
    for reason, numbers in found.items():
        named = [
            each if len(where) == len(sides) else f"{each} ({', '.join(where)})" for each, where in numbers.items()
        ]
        lines.append(f"{NON_STRICT}: {', '.join(named)}: {reason}")
    return lines


def _unless_all(where: list[str], sides: list[str]) -> str:
    return "" if len(where) == len(sides) else f" ({', '.join(where)})"


def _cell(strict: int, lenient: int) -> str:
    return f"{strict} {OK}" + (f", {lenient} {NON_STRICT}" if lenient else "")
