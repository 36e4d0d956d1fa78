"""The prose of docstrings and pages, counted: plain technical English in the field's register (CONTRIBUTING.md)."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

import pytest
from support.structure import (
    NOUN_COLON,
    REGISTER,
    RELATIVE_SUBJECT,
    WORD,
    documented_of,
    homonyms_of,
    is_property,
    module_of,
    modules_of,
    private_accesses,
    public_of,
    sentences_of,
)

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "trio_ws"

PER_1000_WORDS = 0.3
"""What the best-kept libraries of the field have at most: relative clauses as subjects, personified objects."""

MAX_TEST_NAME = 60
MAX_LINES = 400

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("pattern", [RELATIVE_SUBJECT, REGISTER], ids=["relative subject", "register"])
def test_docstrings_keep_to_the_register_of_the_field(pattern: re.Pattern[str]) -> None:
    texts = [(module, text) for module in modules_of(PACKAGE) for _, text in documented_of(module)]
    words = sum(len(WORD.findall(text)) for _, text in texts)
    found = [f"{module.path}: {text.splitlines()[0]}" for module, text in texts if pattern.search(text)]
    count = sum(len(pattern.findall(text)) for _, text in texts)
    assert 1000 * count / words <= PER_1000_WORDS, "\n".join(found)


@cache
def sentences_of_pages() -> list[tuple[Path, str]]:
    """Return the sentences of all pages, each with its page."""
    pages = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "SECURITY.md", *sorted((ROOT / "docs").rglob("*.md"))]
    return [(page, text) for page in pages for text in sentences_of(page.read_text(encoding="utf-8"))]


@pytest.mark.parametrize("pattern", [RELATIVE_SUBJECT, REGISTER], ids=["relative subject", "register"])
def test_pages_keep_to_the_register_of_the_field(pattern: re.Pattern[str]) -> None:
    texts = sentences_of_pages()
    words = sum(len(WORD.findall(text)) for _, text in texts)
    found = [f"{page.relative_to(ROOT)}: {text}" for page, text in texts if pattern.search(text)]
    count = sum(len(pattern.findall(text)) for _, text in texts)
    assert words > 30_000
    assert 1000 * count / words <= PER_1000_WORDS, "\n".join(found)


def test_sentences_of_a_page_are_its_text_without_code() -> None:
    page = "# Title\n\nA `word` and\na [link](what.md).\n- **Who** asks\n\n```python\nnobody\n```\n\n| a | whatever |\n"
    assert sentences_of(page) == ["Title", "A x and a link.", "Who asks", "x", "a", "whatever"]


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


def test_a_class_name_has_one_meaning_in_the_package() -> None:
    """The interface of trio-websocket has names of its own."""
    assert homonyms_of(modules_of(PACKAGE)) == []


def test_modules_have_at_most_400_lines() -> None:
    assert [f"{each.path}: {each.lines}" for each in modules_of(PACKAGE) if each.lines > MAX_LINES] == []


def test_every_public_definition_has_a_docstring() -> None:
    found = [
        f"{module.path}:{getattr(node, 'lineno', 1)}"
        for module in modules_of(PACKAGE)
        for node in public_of(module)
        if not is_property(node) and ast.get_docstring(node) is None
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


def test_a_thorough_test_names_a_shorter_one() -> None:
    """`make test` has to guard what a test guards that it leaves out."""
    text = "".join(path.read_text(encoding="utf-8") for path in sorted((ROOT / "tests").rglob("test_*.py")))
    marks = re.findall(r"mark\.thorough\b(?:\(\"(\w+)\"\))?", text)
    assert [name for name in marks if f"def {name}(" not in text] == []


def is_defined(name: str, text: str) -> bool:
    """Return whether a test module defines a function, a class or an attribute of `self` of this name."""
    return re.search(rf"\b(?:def|class) {name}\b|\bself\.{name}(?::[^=\n]*|(?:, [\w.]+)+)? = ", text) is not None


FOREIGN = ("interop/test_trio_websocket.py", "testing/test_plugin.py")
"""Tests that use private names of other libraries."""


USE = re.compile(r"(?<!\bself)(?<!\bcls)(?<!super\(\))\.(_[a-z]\w*)")
IMPORTED = re.compile(r"^ *from trio_ws[\w.]* import (\([^)]*\)|.*)", re.MULTILINE)
PRIVATE = re.compile(r"\b_[a-z]\w*")


def test_private_names_are_used_through_one_module() -> None:
    """`support.internals` lists those that tests need; no test uses another way."""
    package = {name for path in PACKAGE.rglob("*.py") for name in PRIVATE.findall(path.read_text(encoding="utf-8"))}
    paths = [path for path in sorted((ROOT / "tests").rglob("*.py")) if not path.as_posix().endswith(FOREIGN)]
    texts = {path: path.read_text(encoding="utf-8") for path in paths}
    used = {path: set(USE.findall(text)) & package for path, text in texts.items()}
    accesses = [
        access
        for path, names in used.items()
        if names
        for access in private_accesses(module_of(path, ROOT / "tests"))
        if access.rpartition(".")[2] in names
    ]
    own = {
        name
        for name in {access.rpartition(".")[2] for access in accesses}
        if any(is_defined(name, text) for text in texts.values())
    }
    found = [access for access in accesses if access.rpartition(".")[2] not in own]
    found += [
        f"{path} {name}"
        for path, text in texts.items()
        for names in IMPORTED.findall(text)
        for name in PRIVATE.findall(names)
        if name != "_speedups"
    ]
    assert any(used.values())
    assert found == []
