"""Each public name has a line on a page of docs/reference, once."""

from __future__ import annotations

import importlib
import re
import runpy
from collections import Counter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
MODULES = runpy.run_path(str(ROOT / "tools" / "public_api.py"))["MODULES"]
TYPES = re.compile(r"^\.\. types:: ([\w.]+)\n\n((?:   \w+\n)+)", re.MULTILINE)
LINE = re.compile(r"^\.\. public:: ([\w.]+)\n\n((?:   [\w*]+\n)+)", re.MULTILINE)


def listed() -> Counter[tuple[int, str]]:
    """Return the identity and the name of each object that the pages list, with the number of its lines."""
    found: Counter[tuple[int, str]] = Counter()
    for page in (ROOT / "docs" / "reference").glob("*.md"):
        for module, names in LINE.findall(page.read_text(encoding="utf-8")):
            names_of = set(names.split()) - {"*"}
            found.update((id(getattr(importlib.import_module(module), name)), name) for name in names_of)
    return found


def catches_all(path: str) -> bool:
    """Return True if a page has a line for all names of a module that are on no other."""
    pages = (ROOT / "docs" / "reference").glob("*.md")
    blocks = [block for page in pages for block in LINE.findall(page.read_text(encoding="utf-8"))]
    return any(module == path and "*" in names.split() for module, names in blocks)


@pytest.mark.parametrize("path", MODULES)
def test_each_public_name_is_on_a_page_of_the_reference(path: str) -> None:
    """A name that is missing here gets a line in `.. public::` of the page that it belongs to."""
    module = importlib.import_module(path)
    if catches_all(path):
        return
    missing = [name for name in module.__all__ if (id(getattr(module, name)), name) not in listed()]
    assert not missing, f"on no page of docs/reference: {missing}"


def test_no_public_name_is_on_two_pages() -> None:
    assert [name for (_, name), lines in listed().items() if lines > 1] == []


def test_types_of_the_reference_are_where_it_says() -> None:
    """Their texts are read from that module's source."""
    blocks = TYPES.findall((ROOT / "docs" / "reference" / "types.md").read_text(encoding="utf-8"))
    found = [(module, name) for module, names in blocks for name in names.split()]
    assert len(found) > 20
    missing = [(module, name) for module, name in found if name not in importlib.import_module(module).__all__]
    assert missing == []
