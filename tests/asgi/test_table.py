"""The table of docs/asgi.md, the list of differences and the tests that hold them agree with each other."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.differences import DIFFERENCES, NOT_RUN, Difference

TESTS = Path(__file__).parents[1]
PAGE = TESTS.parent / "docs" / "asgi.md"
HELD_BY = "tests/asgi/test_hypercorn.py"


def rows() -> Iterator[tuple[str, list[str]]]:
    """The name of each row, and the tests that hold it."""
    for line in PAGE.read_text(encoding="utf-8").splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if line.startswith("| ") and len(cells) == 4 and cells[0] != "row":
            yield cells[0], re.findall(r"`(?:tests/[\w/.]+::)?test_\w+`", cells[3])


def is_defined(test: str, otherwise: str = HELD_BY) -> bool:
    """Whether there is such a test."""
    path, _, name = test.strip("`").rpartition("::")
    source = (TESTS.parent / (path or otherwise)).read_text(encoding="utf-8")
    return re.search(rf"def {name}\(", source) is not None


def test_each_row_has_tests_that_exist() -> None:
    found = dict(rows())
    assert len(found) > 20
    for row, tests in found.items():
        assert tests, row
        assert [test for test in tests if not is_defined(test)] == [], row


def test_each_test_on_hypercorn_holds_a_row() -> None:
    held = {test.strip("`") for _, tests in rows() for test in tests}
    source = (TESTS.parent / HELD_BY).read_text(encoding="utf-8")
    others = {"test_the_tunnel_of_these_tests_speaks_http2"}
    assert set(re.findall(r"def (test_\w+)\(", source)) - others <= held


@pytest.mark.parametrize("difference", DIFFERENCES, ids=lambda each: each.test.rpartition("::")[2])
def test_each_difference_names_an_existing_test_and_a_row(difference: Difference) -> None:
    """Each difference is about a test that exists and has a row."""
    assert difference.row in dict(rows())
    assert is_defined(f"tests/{difference.test}")


def test_each_contract_module_runs_under_hypercorn_or_is_listed() -> None:
    modules = {path.name for path in (TESTS / "contracts").glob("test_*.py")}
    listed = {path.rpartition("/")[2] for path in NOT_RUN}
    assert listed <= modules
    assert set(NOT_RUN.values()) <= dict(rows()).keys()
    for module in sorted(modules):
        source = (TESTS / "contracts" / module).read_text(encoding="utf-8")
        takes_rig = re.search(r"def test_\w+\([^)]*\b(?:rig|server)\b[,:)]", source) is not None
        uses_rig = takes_rig and "def rig(" not in source  # one of its own
        assert uses_rig != (module in listed), module


def test_a_difference_concerns_its_tests_and_no_other() -> None:
    difference = Difference("row", "contracts/test_x.py::test_y", ("abc",), versions=("http2",))
    assert difference.concerns("tests/contracts/test_x.py::test_y[server-http2-abc]")
    for other in (
        "tests/contracts/test_x.py::test_y[server-http1-abc]",
        "tests/contracts/test_x.py::test_y[server-http2-xyz]",
        "tests/contracts/test_x.py::test_yy[server-http2-abc]",
        "tests/contracts/test_x.py::test_y",
    ):
        assert not difference.concerns(other)
