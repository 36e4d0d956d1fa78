"""The table in docs/index.md of what other libraries have not: pages and tests exist, cells are explained."""

from __future__ import annotations

import re

import pytest

from .test_coming_from import CELLS, ROOT, exists

PAGE = (ROOT / "docs" / "index.md").read_text(encoding="utf-8")
SECTION = PAGE.partition("## Beyond other libraries\n")[2].partition("\n## ")[0]
TABLE = [[cell.strip() for cell in CELLS.split(line)[1:-1]] for line in SECTION.splitlines() if line.startswith("|")]
PEERS = TABLE[0][1:-1]
ROWS = TABLE[2:]
ANSWERS = {"yes", "partly", "no", "n/a"}


def anchors_of(page: str) -> set[str]:
    """Return the anchors of a page's headings."""
    headings = re.findall(r"^#+ (.*)$", page, re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_the_table_is_found_with_seven_others() -> None:
    expected = ["websockets", "Litestar", "Starlette", "trio-websocket", "quart-trio", "socket.io", "Phoenix"]
    assert expected == PEERS
    assert len(ROWS) > 12


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row[0][:40])
def test_each_row_has_a_page_an_answer_of_each_and_a_test(row: list[str]) -> None:
    what, *answers, shown_by = row
    (target,) = re.findall(r"\]\(([^)]+)\)", what)
    file, _, anchor = target.partition("#")
    page = (ROOT / "docs" / file).read_text(encoding="utf-8")
    assert not anchor or anchor in anchors_of(page)
    assert len(answers) == len(PEERS)
    assert set(answers) <= ANSWERS
    assert set(answers) != {"yes"}
    (node_id,) = re.findall(r"^`(tests/[^`]+)`$", shown_by)
    assert exists(node_id)


def test_each_test_named_below_the_table_exists() -> None:
    named = re.findall(r"\(`(tests/[^`]+)`\)", SECTION)
    assert named
    assert [node_id for node_id in named if not exists(node_id)] == []


@pytest.mark.parametrize("peer", PEERS)
def test_what_another_has_is_explained(peer: str) -> None:
    has = any(row[1 + PEERS.index(peer)] in ("yes", "partly") for row in ROWS)
    assert (f"\n- **{peer}**: " in SECTION) == has
    assert re.search(rf"{re.escape(peer)} \d+\.\d+", SECTION), "its version is named"
