"""The report: after a run, a table of verdicts per group, and the reason of each that is not strict."""

from __future__ import annotations

from collections import Counter

import pytest

from .case import Case
from .judge import NON_STRICT, OK
from .table import GROUPS

Verdicts = dict[tuple[str, str], tuple[Case, str]]
_VERDICTS = pytest.StashKey[Verdicts]()


@pytest.fixture
def record(request):
    """`record(side, case, verdict)` puts a verdict into the report."""
    verdicts = request.config.stash.setdefault(_VERDICTS, {})

    def note(side: str, case: Case, verdict: str) -> None:
        verdicts[side, case.id] = case, verdict

    return note


def pytest_terminal_summary(terminalreporter, config):
    verdicts = config.stash.get(_VERDICTS, {})
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
    reasons: dict[str, list[str]] = {}
    for (side, number), (case, verdict) in verdicts.items():
        if verdict == NON_STRICT:
            reasons.setdefault(case.nonstrict, []).append(f"{number} ({side})")
    lines += [f"{NON_STRICT}: {', '.join(numbers)}: {reason}" for reason, numbers in reasons.items()]
    return lines


def _cell(strict: int, lenient: int) -> str:
    return f"{strict} {OK}" + (f", {lenient} {NON_STRICT}" if lenient else "")
