"""The architecture page names files and folders that exist."""

from __future__ import annotations

import re
from pathlib import Path

from test_imports import ORDER

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")


def test_each_file_on_the_page_exists() -> None:
    named = set(re.findall(r"`((?:trio_ws|tests|docs)/[\w/.-]+)`", PAGE))
    assert sorted(path for path in named if not (ROOT / path.rstrip("/")).exists()) == []


def test_each_module_on_the_page_exists() -> None:
    folders = "|".join(ORDER)
    named = set(re.findall(rf"\b((?:{folders})/\w+)\b(?!\.)", PAGE))
    package = ROOT / "trio_ws"
    assert sorted(path for path in named if not ((package / path).is_dir() or (package / f"{path}.py").exists())) == []


def test_the_table_of_folders_is_the_order_of_imports() -> None:
    assert tuple(re.findall(r"^\| `(\w+)/` \|", PAGE, re.MULTILINE)) == ORDER
