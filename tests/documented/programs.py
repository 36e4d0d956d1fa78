"""The programs of pages, each with its own server on a free port."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

DOCS = Path(__file__).parents[2] / "docs"
PYTHON = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def programs_of(page: str) -> list[str]:
    """Return the snippets of a page in Python."""
    return PYTHON.findall((DOCS / f"{page}.md").read_text(encoding="utf-8"))


def program_of(page: str, number: int = 0) -> dict[str, Any]:
    """Execute one program of a page, but for its `__main__` part, and return its names."""
    names: dict[str, Any] = {"__name__": f"page_{page.replace('-', '_')}"}
    exec(compile(programs_of(page)[number], f"docs/{page}.md", "exec"), names)
    return names
