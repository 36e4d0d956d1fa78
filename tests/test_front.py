"""The package's own namespace: every public name, once, and imported when it is used."""

from __future__ import annotations

import ast
import importlib
import os
import re
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
def test_typo_is_answered_with_the_name_that_was_meant(capsys, typo, meant) -> None:
    with pytest.raises(AttributeError) as caught:
        getattr(trio_ws, typo)
    sys.__excepthook__(caught.type, caught.value, caught.tb)  # which asks, as where a program ends
    words = re.escape(f"AttributeError: module 'trio_ws' has no attribute '{typo}'. Did you mean")
    assert re.search(rf"{words}:? '\.?{meant}'", capsys.readouterr().err.splitlines()[-1])  # 3.15 asks in other words


# --- what is imported ------------------------------------------------------------------------------------------------

LISTED = """
import os, sys
import trio
before = set(sys.modules)
for code in sys.argv[1:]:
    if os.fork() == 0:
        exec(code)
        print(*sorted(set(sys.modules) - before))
        break
    os.wait()
"""
"""Prints a line of modules for each argument, executed where Trio alone has been imported."""
USES = {
    "import trio_ws": 2,
    "from trio_ws import WebSocket, open_websocket, reconnect": 112,
    "from trio_ws import serve_websocket": 125,
    "from trio_ws import App, Ok, Query, Controller; App()": 129,
}
"""What a program uses, and how many modules of ours that takes at most."""
SLOW = {"asyncio", "datetime", "difflib", "email", "http", "mimetypes", "sysconfig", "urllib.request"}
"""Modules of the standard library that take a millisecond or more."""


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="a program of its own for each would take seconds")
def test_import_brings_what_is_used_alone() -> None:
    """No pydantic, h11, wsproto, zlib-ng, prometheus or email before they are used; time is not measured here."""
    run = [sys.executable, "-c", LISTED, *USES]
    lines = subprocess.run(run, capture_output=True, text=True, timeout=60, check=True).stdout.splitlines()
    for (code, most), line in zip(USES.items(), lines, strict=True):
        modules = line.split()
        foreign = {name for name in modules if name.partition(".")[0] not in {"trio_ws", *sys.stdlib_module_names}}
        assert foreign == set(), code
        assert SLOW.isdisjoint(modules), code
        assert 0 < len([name for name in modules if name.startswith("trio_ws")]) <= most, code


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_first_connection_imports_nothing() -> None:
    """What is imported late is there when a server listens, a test client is entered, or ASGI's startup is over."""
    run = [sys.executable, str(Path(__file__).parent / "support" / "first_connection.py")]
    printed = subprocess.run(run, capture_output=True, text=True, timeout=120, check=True).stdout
    assert printed.splitlines() == ["served", "tested", "under_asgi"]


def test_names_of_rare_parts_are_imported_when_used() -> None:
    app, rooms = importlib.import_module("trio_ws.app"), importlib.import_module("trio_ws.rooms")
    assert app.PublishKey is importlib.import_module("trio_ws.app.publish_keys").PublishKey
    assert app.Sessions is importlib.import_module("trio_ws.app.sessions").Sessions
    for name in rooms.__all__:
        assert getattr(rooms, name) is not None
    for module in (app, rooms):
        with pytest.raises(AttributeError, match="no attribute 'Missing'"):
            module.Missing  # noqa: B018
