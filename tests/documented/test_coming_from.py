"""docs/coming-from*.md name a test for everything that they promise, and the test exists."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "coming-from.md"
FURTHER_PAGES = sorted((ROOT / "docs").glob("coming-from-*.md"))
DOCUMENTS = ["Cafeto", "Bocadillo", "Ellar", "Cello"]
CELLS = re.compile(r"(?<!\\)\|")


def sections(page: Path = PAGE) -> dict[str, list[list[str]]]:
    """Return the cells of each table row, below the headings they stand under."""
    found: dict[str, list[list[str]]] = {}
    rows: list[list[str]] = []
    for line in page.read_text(encoding="utf-8").splitlines():
        if line.startswith("## "):
            rows = found.setdefault(line[3:], [])
        elif line.startswith("|"):
            rows.append([cell.strip() for cell in CELLS.split(line)[1:-1]])
    return {title: rows[2:] for title, rows in found.items()}  # without the head and its underline


@cache
def names_in(path: Path) -> set[str]:
    """Return the names of the tests that a file defines, as pytest writes them behind the file's name."""
    names = set()
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        members = node.body if isinstance(node, ast.ClassDef) else [node]
        prefix = f"{node.name}::" if isinstance(node, ast.ClassDef) else ""
        functions = (ast.FunctionDef, ast.AsyncFunctionDef)
        names |= {prefix + member.name for member in members if isinstance(member, functions)}
    return {name for name in names if name.split("::")[-1].startswith("test")}


def exists(node_id: str) -> bool:
    file, _, name = node_id.partition("::")
    path = ROOT / file
    return path.is_file() and name in names_in(path)


ROWS = [
    (document, *row) for page in (PAGE, *FURTHER_PAGES) for document, rows in sections(page).items() for row in rows
]


def test_there_is_a_section_for_each_document() -> None:
    assert list(sections()) == DOCUMENTS


@pytest.mark.parametrize("page", FURTHER_PAGES, ids=lambda page: page.stem)
def test_a_page_about_one_library_lists_what_differs(page: Path) -> None:
    assert len(sections(page)["Differences"]) > 1


@pytest.mark.parametrize("title", DOCUMENTS)
def test_a_document_that_is_tested_has_rows(title: str) -> None:
    assert sections()[title] or not Path(__file__).with_name(f"test_{title.lower()}.py").exists()


@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row[0]}-{row[1]}")
def test_each_row_says_what_and_how_and_names_tests_that_exist(row: tuple[str, ...]) -> None:
    assert len(row) == 4
    assert all(row)
    named = re.findall(r"`(tests/[^`]+)`", row[3])
    assert named
    assert [node_id for node_id in named if not exists(node_id)] == []


def test_a_test_that_does_not_exist_is_noticed() -> None:
    here = "tests/documented/test_coming_from.py"
    assert exists(f"{here}::test_a_test_that_does_not_exist_is_noticed")
    assert not exists(f"{here}::test_that_was_renamed")
    assert not exists("tests/documented/no_such_file.py::test_a")
