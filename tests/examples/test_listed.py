"""examples/README.md lists the examples, all of them, and each has what it says."""

from __future__ import annotations

import re

from .browser import EXAMPLES


def test_the_list_names_each_example_once_and_each_has_an_app_py() -> None:
    listed = re.findall(
        r"^\| \[(\w+)\]\((\w+)\) \|", (EXAMPLES / "README.md").read_text(encoding="utf-8"), re.MULTILINE
    )
    assert all(name == target for name, target in listed)
    assert sorted(name for name, _ in listed) == sorted(path.parent.name for path in EXAMPLES.glob("*/app.py"))
