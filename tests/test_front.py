"""The package's own namespace: every public name, once, and imported when it is used."""

from __future__ import annotations

import ast
import importlib
import subprocess
import sys
from pathlib import Path

import pytest

import trio_ws

SOURCE = ast.parse(Path(trio_ws.__file__).read_text())


def imported_for_types() -> dict[str, str]:
    """The module of each name below `if TYPE_CHECKING:`."""
    block = next(each for each in SOURCE.body if isinstance(each, ast.If))
    return {name.name: each.module for each in block.body for name in each.names}


def imported_when_used() -> dict[str, str]:
    """The module of each name in the table behind `__getattr__`."""
    value = next(each.value for each in SOURCE.body if isinstance(each, ast.Assign) and each.targets[0].id == "_NAMES")
    return {name: module for module, names in ast.literal_eval(value).items() for name in names.split()}


def test_the_three_lists_of_names_agree() -> None:
    assert imported_for_types() == imported_when_used()
    assert sorted(trio_ws.__all__) == sorted([*imported_when_used(), "__version__"])


@pytest.mark.parametrize("name", trio_ws.__all__)
def test_each_public_name_can_be_imported(name) -> None:
    assert getattr(trio_ws, name) is not None


def test_dir_shows_the_public_names_only() -> None:
    importlib.import_module("trio_ws.cli.main")
    assert dir(trio_ws) == sorted(trio_ws.__all__)


@pytest.mark.parametrize(("typo", "meant"), [("WebSoket", "WebSocket"), ("open_websockets", "open_websocket")])
def test_typo_is_answered_with_the_name_that_was_meant(typo, meant) -> None:
    run = [sys.executable, "-c", f"import trio_ws; trio_ws.{typo}"]
    printed = subprocess.run(run, capture_output=True, text=True, timeout=60, check=False).stderr
    assert printed.rstrip().endswith(
        f"AttributeError: module 'trio_ws' has no attribute '{typo}'. Did you mean: '{meant}'?"
    )


def test_client_imports_neither_pydantic_nor_the_test_kit() -> None:
    heavy = "pydantic", "hypothesis", "trio_ws.testing", "trio_ws.app", "prometheus_client", "coredis"
    code = f"import sys; from trio_ws import WebSocket, open_websocket; print([n for n in {heavy} if n in sys.modules])"
    printed = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True
    ).stdout
    assert printed == "[]\n"
