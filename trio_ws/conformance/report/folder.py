"""A folder of reports, to which each run adds its agent."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path

from trio_ws.conformance.case import Chapter
from trio_ws.conformance.report.json_report import from_json, to_json
from trio_ws.conformance.report.junit import to_junit
from trio_ws.conformance.report.pages import case_page, overview_page
from trio_ws.conformance.results import AgentResults

__all__ = ["add_to_folder"]


def add_to_folder(folder: Path, results: AgentResults, chapters: Sequence[Chapter]) -> Path:
    """Write the JSON and the JUnit XML of an agent, and the pages of all agents whose JSON is in the folder.

    Args:
        folder: made if it is not there; an earlier report of the same agent and side is replaced.
        results: of one agent.
        chapters: all of them.

    Returns:
        The overview page.

    Raises:
        OSError: a file cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    name = f"{results.side}-{re.sub(r'[^A-Za-z0-9._-]+', '-', results.agent).strip('-.') or 'unnamed'}"
    (folder / f"{name}.json").write_text(json.dumps(to_json(results), indent=1), encoding="utf-8")
    (folder / f"{name}.xml").write_bytes(to_junit(results))
    agents = _agents_of(folder, chapters)
    for chapter in chapters:
        for case in chapter.cases:
            played = [(agent, each) for agent in agents for each in agent.results if each.case.id == case.id]
            if played:
                (folder / f"{case.id}.html").write_text(case_page(case, played), encoding="utf-8")
    overview = folder / "index.html"
    overview.write_text(overview_page(agents, chapters), encoding="utf-8")
    return overview


def _agents_of(folder: Path, chapters: Sequence[Chapter]) -> list[AgentResults]:
    """Return the results in a folder; files of others are left alone."""
    cases = [case for chapter in chapters for case in chapter.cases]
    found = []
    for path in sorted(folder.glob("*.json")):
        try:
            found.append(from_json(json.loads(path.read_text(encoding="utf-8")), cases))
        except (ValueError, KeyError, TypeError):
            continue
    return sorted(found, key=lambda each: (each.side == "client", each.agent.lower()))
