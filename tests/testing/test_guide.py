"""The guide to testing is itself tested: its files are written as they stand there, and its tests are run."""

from __future__ import annotations

import ast
import importlib
import inspect
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

from trio_ws.cli.main import main

pytest_plugins = ["pytester"]
GUIDE = Path(__file__).parents[2] / "docs" / "testing.md"
FENCE = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def files_of(text: str) -> dict[str, str]:
    """Return the files in a page, each of which begins with its name in a comment."""
    return {body.split("\n", 1)[0].removeprefix("# "): body for _, body in FENCE.findall(text)}


@contextmanager
def settings_of_the_guide() -> Iterator[None]:
    """Try few examples of each property: the strategies have tests of their own."""
    settings.register_profile("guide", settings.get_profile("trio_ws"), max_examples=2, stateful_step_count=5)
    settings.load_profile("guide")
    try:
        yield
    finally:
        settings.load_profile("trio_ws")


@pytest.fixture
def guide(pytester: pytest.Pytester, monkeypatch) -> dict[str, str]:
    """The files of the guide, which are written where the test runs."""
    files = files_of(GUIDE.read_text(encoding="utf-8"))
    for name, content in files.items():
        Path(pytester.path, name).write_text(content, encoding="utf-8")
    monkeypatch.setattr(sys, "path", [str(pytester.path), *sys.path])
    with settings_of_the_guide():
        yield files
    for name in files:
        sys.modules.pop(name.removesuffix(".py"), None)


@pytest.mark.slow
def test_each_example_of_the_guide_is_a_file_with_passing_tests(pytester: pytest.Pytester, guide) -> None:
    """Every example of the guide is a file and every test in it passes."""
    assert set(guide) >= {"chat.py", "pytest.ini", "conftest.py", "test_chat.py", "test_plainly.py"}
    tests = sum(content.count("def test_") for content in guide.values())
    result = pytester.runpytest_inprocess("-p", "no:anyio", "-p", "no:cacheprovider", "-W", "error")
    outcomes = result.parseoutcomes()
    assert outcomes.keys() == {"passed"}
    assert outcomes["passed"] >= tests  # some run for several seeds


def test_the_routes_of_the_guides_application_are_listed(guide, capsys) -> None:
    assert main(["routes", "chat:app"]) == 0
    rows = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert {"/shout", "/numbers/{last:int}", "/divide"} <= {row[0] for row in rows if row}


KIT = ("trio_ws.testing", "trio_ws.testing.strategies", "trio_ws.testing.machine")
"""The names of the plugin are fixtures, which pytest imports itself; the guide uses both."""
EXAMPLE = re.compile(r"^Example:\n((?: {4}.*\n?|\n)+)", re.MULTILINE)


def names_of_the_kit() -> Iterator[Any]:
    for module in KIT:
        for name in importlib.import_module(module).__all__:
            yield pytest.param(module, name, id=f"{module.removeprefix('trio_ws.')}.{name}")


@pytest.mark.parametrize(("module", "name"), list(names_of_the_kit()))
def test_each_public_name_has_a_docstring_and_an_example(module: str, name: str) -> None:
    """The example is in the docstring, or in a file of the guide."""
    named = getattr(importlib.import_module(module), name)
    documentation = inspect.getdoc(named) or ""
    assert documentation
    examples = EXAMPLE.findall(documentation)
    for example in examples:
        ast.parse(f"async def example():\n{example}")
    assert examples or re.search(rf"\b{name}\b", "".join(files_of(GUIDE.read_text(encoding="utf-8")).values()))
