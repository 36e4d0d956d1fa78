"""The order of the folders, read from the imports of every module.

A folder may import the folders before it in `ORDER`, and the vocabulary in the top folder. A new file needs no entry.
An import that a rule forbids shows that something is in the wrong place.
"""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest
from support.structure import (
    Module,
    cycles_of,
    imports_of,
    inherited_uses,
    modules_of,
    name_of,
    nodes_of,
    private_accesses,
    statements_of,
)

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "trio_ws"

ORDER = (
    "native",
    "http",
    "protocol",
    "runtime",
    "transport",
    "connection",
    "websocket",
    "handler",
    "server",
    "client",
    "rooms",
    "blocking",
    "asgi",
    "testing",
    "app",
    "conformance",
    "compat",
    "cli",
)
VOCABULARY = ("addresses", "codes", "config", "errors", "escaping", "headers", "messages", "options", "version")
"""Modules of the top folder that every folder may import. They import only each other."""

FORBIDDEN = {
    "http": ("trio", "asyncio", "socket", "select", "selectors", "ssl", "threading", "time", "datetime", "logging"),
    "protocol": ("trio", "asyncio", "socket", "select", "selectors", "ssl", "threading", "time", "datetime", "logging"),
    "rooms": ("socket", "select", "selectors", "trio.socket"),
    "app": ("socket", "select", "selectors", "trio.socket"),
}
"""Foreign imports that a folder must not have: I/O and clocks in the protocol, sockets in applications."""

NAMES = [name_of(path, PACKAGE) for path in sorted(PACKAGE.rglob("*.py"))]


def folder_of(name: str) -> str:
    """Return the folder of a module, or its own name if it lies in the top folder."""
    return name.split(".")[1] if "." in name else ""


def rank_of(name: str) -> int:
    """Return the place of a module in the order: vocabulary first, the package itself last."""
    folder = folder_of(name)
    if folder in VOCABULARY:
        return -1
    return ORDER.index(folder) if folder in ORDER else len(ORDER)


def complaints(module: Module) -> list[str]:
    """Return a text for each import of ours that goes against the order."""
    targets = imports_of(module, set(NAMES), typing=True, lazy=True)
    return [
        f"{module.name} imports {target}, which comes after it"
        for target in sorted(targets)
        if rank_of(target) > rank_of(module.name)
    ]


def foreign_imports(module: Module) -> set[str]:
    """Return the full names that a module imports, and `trio.socket` if it is used."""
    found: set[str] = set()
    in_expressions = "trio.socket" in module.text
    for node in nodes_of(module.tree) if in_expressions else statements_of(module.tree):
        match node:
            case ast.Import(names):
                found.update(alias.name for alias in names)
            case ast.ImportFrom(str(source), names):
                found.update({source, *(f"{source}.{alias.name}" for alias in names)})
            case ast.Attribute(ast.Name("trio"), "socket"):
                found.add("trio.socket")
            case _:
                pass
    return found


def uses_of_forbidden(module: Module) -> list[str]:
    """Return a text for each foreign import that the module's folder keeps clear of."""
    imported = foreign_imports(module)
    return [
        f"{module.name} imports {name}"
        for name in FORBIDDEN.get(folder_of(module.name), ())
        if any(each == name or each.startswith(f"{name}.") for each in imported)
    ]


def test_modules_import_only_what_comes_before() -> None:
    assert [text for module in modules_of(PACKAGE) for text in complaints(module)] == []


def test_folders_keep_clear_of_what_they_must_not_use() -> None:
    assert [text for module in modules_of(PACKAGE) for text in uses_of_forbidden(module)] == []


def test_the_top_folder_holds_the_vocabulary_only() -> None:
    files = {path.stem for path in PACKAGE.glob("*.py")}
    assert files == {"__init__", "__main__", *VOCABULARY}


def test_no_two_modules_import_each_other() -> None:
    """Imports for type checking and inside functions count."""
    assert cycles_of(modules_of(PACKAGE), typing=True, lazy=True) == []


def test_private_names_are_used_in_their_module_alone() -> None:
    """That of the standard library is public by its documentation."""
    modules = modules_of(PACKAGE)
    accesses = [access for module in modules for access in private_accesses(module)]
    assert [each for each in accesses if not each.endswith("sys._current_frames")] == []
    pairs = {use.partition(":")[0] for use in inherited_uses(modules)}
    assert pairs == {"CompiledDecoder -> Decoder", "CompiledEncoder -> Encoder"}


@pytest.mark.parametrize(
    ("name", "source"),
    [
        ("trio_ws.errors", "from trio_ws.protocol import frames"),
        ("trio_ws.protocol.frames", "from trio_ws.websocket import websocket"),
        ("trio_ws.protocol.frames", "def f():\n    from trio_ws.transport import outbox"),
        ("trio_ws.http.url", "if TYPE_CHECKING:\n    from trio_ws.protocol.endpoint import Endpoint"),
        ("trio_ws.connection.inbox", "from trio_ws import App"),
        ("trio_ws.rooms.room", "from trio_ws.testing import client"),
        ("trio_ws.asgi.application", "def f():\n    from trio_ws.app import App"),
    ],
)
def test_an_import_against_the_order_is_found(name: str, source: str) -> None:
    module = Module(name, Path("x.py"), source, ast.parse(source))
    assert len(complaints(module)) == 1


@pytest.mark.slow
def test_importing_the_package_does_not_import_pydantic() -> None:
    """A program without validated bodies does not wait for pydantic to be imported."""
    program = "import sys, trio_ws; print('pydantic' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.stdout.split(), done.stderr) == (["False"], "")
