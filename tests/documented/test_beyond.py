"""The table in docs/index.md of what other libraries have not: pages and tests exist, cells are explained."""

from __future__ import annotations

import re

import pytest

from .test_coming_from import CELLS, ROOT, exists

PAGE = (ROOT / "docs" / "index.md").read_text(encoding="utf-8")
SECTION = PAGE.partition("## Beyond other libraries\n")[2].partition("\n## ")[0]
TABLE = [[cell.strip() for cell in CELLS.split(line)[1:-1]] for line in SECTION.splitlines() if line.startswith("|")]
ROWS = TABLE[2:]
PEERS = ["websockets", "Litestar", "Starlette", "trio-websocket", "quart-trio", "socket.io", "Phoenix"]
ANSWERS = ["yes", "partly", "n/a"]


def answers_of(cell: str) -> dict[str, str]:
    """Return the answers of a cell such as "yes: one; partly: another, a third", by the names of libraries."""
    if cell == "none":
        return {}
    groups = [part.split(": ") for part in cell.split("; ")]
    assert [answer for answer, _ in groups] == [each for each in ANSWERS if each in dict(groups)]
    return {name: answer for answer, names in groups for name in names.split(", ")}


def anchors_of(page: str) -> set[str]:
    """Return the anchors of a page's headings."""
    headings = re.findall(r"^#+ (.*)$", page, re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_the_table_is_found() -> None:
    assert TABLE[0] == ["here", "others", "shown by"]
    assert len(ROWS) > 12


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row[0][:40])
def test_each_row_has_a_page_answers_of_others_and_a_test(row: list[str]) -> None:
    what, others, shown_by = row
    (target,) = re.findall(r"\]\(([^)]+)\)", what)
    file, _, anchor = target.partition("#")
    page = (ROOT / "docs" / file).read_text(encoding="utf-8")
    assert not anchor or anchor in anchors_of(page)
    answers = answers_of(others)
    assert set(answers) <= set(PEERS)
    assert list(answers.values()).count("yes") < len(PEERS)
    (node_id,) = re.findall(r"^`(tests/[^`]+)`$", shown_by)
    assert exists(node_id)


def test_each_test_named_below_the_table_exists() -> None:
    named = re.findall(r"\(`(tests/[^`]+)`\)", SECTION)
    assert named
    assert [node_id for node_id in named if not exists(node_id)] == []


@pytest.mark.parametrize("peer", PEERS)
def test_what_another_has_is_explained(peer: str) -> None:
    answers = [answers_of(row[1]).get(peer, "no") for row in ROWS]
    assert (f"\n- **{peer}**: " in SECTION) == any(answer in ("yes", "partly") for answer in answers)
    assert re.search(rf"{re.escape(peer)} \d+\.\d+", SECTION), "its version is named"
