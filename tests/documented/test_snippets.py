"""Every snippet of the documentation compiles, and names only what there is; the links of README.md lead somewhere."""

from __future__ import annotations

import ast
import importlib
import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGES = sorted(page.relative_to(ROOT).as_posix() for page in [*DOCS.rglob("*.md"), ROOT / "README.md"])
README = (ROOT / "README.md").read_text(encoding="utf-8")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def snippets(page: str) -> list[str]:
    text = (ROOT / page).read_text(encoding="utf-8")
    return re.findall(r"^```python\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


WITH_SNIPPETS = [page for page in PAGES if snippets(page)]


@pytest.mark.parametrize("page", WITH_SNIPPETS)
def test_each_name_that_a_snippet_imports_exists(page: str) -> None:
    for snippet in snippets(page):
        for node in ast.walk(ast.parse(snippet)):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("trio_ws"):
                module = importlib.import_module(node.module)
                assert [alias.name for alias in node.names if not hasattr(module, alias.name)] == []


def test_snippets_are_found() -> None:
    assert len(WITH_SNIPPETS) > 10


def test_each_link_of_the_readme_is_absolute() -> None:
    links = re.findall(r"\]\((.*?)\)", README)
    assert [link for link in links if not link.startswith("https://")] == []


def test_each_page_that_the_readme_links_to_exists() -> None:
    home = PROJECT["urls"]["Documentation"]
    pages = [link.removeprefix(home) for link in re.findall(r"\]\((.*?)\)", README) if link.startswith(home)]
    assert len(pages) > 5
    assert [page for page in pages if page and not (DOCS / page).with_suffix(".md").exists()] == []


def test_each_file_that_the_readme_links_to_exists() -> None:
    repository = PROJECT["urls"]["Repository"].replace("github.com", r"(?:raw\.githubusercontent|github)\.com")
    paths = re.findall(rf"\]\({repository}/(?:tree/|blob/)?main/(.*?)\)", README)
    assert paths
    assert [path for path in paths if not (ROOT / path).exists()] == []


@pytest.mark.parametrize("page", ["README.md", "docs/index.md"])
def test_a_front_page_runs_nothing_when_it_is_imported(page: str) -> None:
    """`trio-ws run` and workers import the file: a bare `app.run()` would listen in their place."""
    for snippet in snippets(page):
        exec(compile(snippet.replace("trio.run(main)", ""), page, "exec"), {"__name__": "imported"})
