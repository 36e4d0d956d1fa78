"""The prose of docstrings, counted: plain technical English in the register of the field (CONTRIBUTING.md)."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest
from support.structure import NOUN_COLON, REGISTER, RELATIVE_SUBJECT, WORD, documented_of, modules_of

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "trio_ws"

PER_1000_WORDS = 0.3
"""What the best-kept libraries of the field have at most: relative clauses as subjects, personified objects."""

MAX_TEST_NAME = 60


@pytest.mark.parametrize("pattern", [RELATIVE_SUBJECT, REGISTER], ids=["relative subject", "register"])
def test_docstrings_keep_to_the_register_of_the_field(pattern: re.Pattern[str]) -> None:
    texts = [(module, text) for module in modules_of(PACKAGE) for _, text in documented_of(module)]
    words = sum(len(WORD.findall(text)) for _, text in texts)
    found = [f"{module.path}: {text.splitlines()[0]}" for module, text in texts if pattern.search(text)]
    count = sum(len(pattern.findall(text)) for _, text in texts)
    assert 1000 * count / words <= PER_1000_WORDS, "\n".join(found)


def test_no_module_docstring_begins_with_a_noun_and_a_colon() -> None:
    found = [f"{each.path}" for each in modules_of(PACKAGE) if NOUN_COLON.match(ast.get_docstring(each.tree) or "")]
    assert found == []


def test_summaries_name_the_value_that_is_returned() -> None:
    """Not "Return what it means", which needs the code to be understood."""
    vague = re.compile(r"(Return what(ever)?|Say whether|Tell|Have an?) ")
    found = [
        f"{module.path}: {text.splitlines()[0]}"
        for module in modules_of(PACKAGE)
        for _, text in documented_of(module)
        if vague.match(text)
    ]
    assert found == []


def test_names_of_tests_are_short() -> None:
    """The story of a test goes into its docstring."""
    names = [
        name
        for path in sorted((ROOT / "tests").rglob("test_*.py"))
        for name in re.findall(r"def (test_\w+)", path.read_text(encoding="utf-8"))
    ]
    assert [name for name in names if len(name) > MAX_TEST_NAME] == []
