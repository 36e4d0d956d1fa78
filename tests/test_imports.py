"""Imports point downwards only: the layers of the design, read from the source of every module.

A new module goes into LAYERS. An import that a rule forbids is a sign that something is in the wrong place.
"""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = "trio_ws"

# Which layer a module is in, or a package with everything below it.
LAYERS = {
    "codes": 0,
    "config": 0,
    "errors": 0,
    "escaping": 0,
    "headers": 0,
    "messages": 0,
    "options": 0,
    "request": 0,
    "url": 0,
    "version": 0,
    "protocol": 1,
    "admission": 2,
    "awake": 2,
    "background": 2,
    "channel": 2,
    "client": 2,
    "closing": 2,
    "codec": 2,
    "connection": 2,
    "conversation": 2,
    "dial": 2,
    "direct": 2,
    "disconnect": 2,
    "download": 2,
    "draining": 2,
    "engine": 2,
    "events": 2,
    "gradual": 2,
    "handshake": 2,
    "inbox": 2,
    "instruments": 2,
    "keepalive": 2,
    "lifecycle": 2,
    "listening": 2,
    "log": 2,
    "opening": 2,
    "parts": 2,
    "pings": 2,
    "prepared": 2,
    "progress": 2,
    "reconnect": 2,
    "running": 2,
    "sending": 2,
    "server": 2,
    "service": 2,
    "serving": 2,
    "settings": 2,
    "statistics": 2,
    "tap": 2,
    "threads": 2,
    "timers": 2,
    "transport": 2,
    "unwinding": 2,
    "verdict": 2,
    "websocket": 2,
    "app": 3,
    "rooms": 3,
    "__main__": 4,
    "asgi": 4,
    "cli": 4,
    "logconfig": 4,
    "process": 4,
    "reload": 4,
    "supervisor": 4,
    "terminal": 4,
    "testing": 4,
    "worker": 4,
    "": 5,  # trio_ws/__init__.py, the face: it may name everything, and nothing of ours imports it
}


class Rule(NamedTuple):
    """What one layer may import of ours and of others, and what of the allowed it may not after all."""

    layers: set[int]
    packages: set[str]
    forbidden: set[str]


SOCKETS = {"asyncio", "select", "selectors", "socket", "trio.socket"}
CLOCKS_AND_IO = SOCKETS | {"datetime", "logging", "ssl", "threading", "time"}
VALUES = {"attrs", "typing_extensions"}
WIRE = {"h11", "wsproto"}
APPLICATION = {"anyio", "coredis", "itsdangerous", "prometheus_client", "pydantic", "pydantic_core"}

RULES = {
    0: Rule(set(), VALUES | {"idna"}, CLOCKS_AND_IO),
    1: Rule({0}, VALUES | WIRE | {"zlib_ng"}, CLOCKS_AND_IO),
    2: Rule({0, 1}, VALUES | WIRE | {"outcome", "python_socks", "trio"}, {"asyncio"}),
    3: Rule({0}, VALUES | APPLICATION | {"trio"}, SOCKETS),
    4: Rule({0, 1, 2, 3}, VALUES | WIRE | {"hypercorn", "outcome", "pydantic", "pytest", "trio", "yaml"}, set()),
    5: Rule({0, 1, 2, 3, 4}, set(), set()),
}

# The application layer sees a WebSocket and the server that runs it, never the transport underneath. Rooms offer
# prepared messages to channels, the interface that every kind of connection has.
FACES_OF_L2 = {
    "background",
    "channel",  # an interface
    "codec",
    "disconnect",
    "gradual",  # of "codec"
    "instruments",
    "prepared",
    "running",
    "server",
    "service",
    "serving",
    "settings",
    "statistics",
    "threads",
    "unwinding",
    "websocket",
}

# `app.test_client()` is a short way up that users expect, and so is the application as one of ASGI; both are imported
# when they are called.
UPWARD = {("app.application", f"{PACKAGE}.testing.TestClient"), ("app.application", f"{PACKAGE}.asgi.Bridge")}


def layer_of(name: str) -> int | None:
    """Return the layer of a module, named from below the package ("protocol.frames"), None if it has none."""
    return LAYERS.get(name.partition(".")[0])


def imports_of(tree: ast.Module, module: str, *, is_package: bool) -> set[str]:
    """Return the full names a module imports, wherever in it: under TYPE_CHECKING and in functions too."""
    found: set[str] = set()
    parents = f"{PACKAGE}.{module}".rstrip(".").split(".")
    if not is_package:
        parents.pop()
    for node in ast.walk(tree):
        match node:
            case ast.Import(names):
                found.update(alias.name for alias in names)
            case ast.ImportFrom(source, names, level):
                above = parents[: len(parents) - level + 1] if level else []
                base = ".".join([*above, *([source] if source else [])])
                found.update(f"{base}.{alias.name}" for alias in names)
            case ast.Attribute(ast.Name("trio"), "socket"):
                found.add("trio.socket")
            case _:
                pass
    return found


def within(name: str, roots: set[str]) -> bool:
    """Whether a dotted name is one of these, or lies in one of them."""
    return any(name == root or name.startswith(root + ".") for root in roots)


def complaint(module: str, layer: int, name: str) -> str | None:
    """Say what is wrong with one import, None if nothing is."""
    rule = RULES[layer]
    root, _, below = name.partition(".")
    if root != PACKAGE:
        allowed = root in sys.stdlib_module_names or root in rule.packages
        if allowed and not within(name, rule.forbidden):
            return None
        return f"{PACKAGE}.{module} is in layer {layer}, which may not import {name}"
    target = layer_of(below)
    if target is None or below == "":
        return f"{PACKAGE}.{module} imports {name}: name the module that defines it, one that is in LAYERS"
    if target == layer or target in rule.layers or (module, name) in UPWARD:
        return None
    if layer == 3 and target == 2 and within(below, FACES_OF_L2):
        return None
    return f"{PACKAGE}.{module} is in layer {layer}, which may not import {name} of layer {target}"


def complaints(source: str, module: str, *, is_package: bool = False) -> list[str]:
    """Say what is wrong with the imports of one module's source."""
    layer = layer_of(module)
    if layer is None:
        return [f"{PACKAGE}.{module} is in no layer: put it into the table LAYERS of tests/test_imports.py"]
    names = imports_of(ast.parse(source), module, is_package=is_package)
    return [text for name in sorted(names) if (text := complaint(module, layer, name)) is not None]


def module_name(path: Path) -> str:
    """Return the name below the package; an __init__ is named like its package, the top one is ""."""
    parts = path.relative_to(ROOT / PACKAGE).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


@pytest.mark.parametrize("path", sorted((ROOT / PACKAGE).rglob("*.py")), ids=module_name)
def test_a_module_imports_downwards_only(path: Path) -> None:
    source = path.read_text(encoding="utf-8")
    assert complaints(source, module_name(path), is_package=path.name == "__init__.py") == []


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("errors", "from trio_ws.protocol.frames import Frame"),
        ("errors", "import logging"),
        ("config", "import trio"),
        ("protocol.frames", "import trio"),
        ("protocol.frames", "from time import monotonic"),
        ("protocol.frames", "def f():\n    import logging"),
        ("protocol.frames", "if TYPE_CHECKING:\n    from trio_ws.websocket.websocket import WebSocket"),
        ("protocol.frames", "from ..transport import poller"),
        ("protocol.frames", "from .. import server"),
        ("protocol.frames", "import pydantic"),
        ("connection", "from trio_ws.app.routing import Route"),
        ("server", "from trio_ws import WebSocket"),
        ("connection", "import trio_ws"),
        ("transport.poller", "import pydantic"),
        ("app.routing", "import socket"),
        ("app.routing", "from trio import socket"),
        ("app.routing", "import trio\ns = trio.socket.socket()"),
        ("app.routing", "from trio_ws.transport.poller import Poller"),
        ("app.routing", "from trio_ws.connection.connection import Connection"),
        ("app.routing", "from trio_ws.protocol import frames"),
        ("rooms.room", "from trio_ws.testing import client"),
        ("rooms.room", "import h11"),
    ],
)
def test_an_import_that_a_layer_forbids_is_named(module: str, source: str) -> None:
    assert len(complaints(source, module)) == 1


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("errors", "from trio_ws.codes import CloseCode"),
        ("protocol.frames", "from . import utf8\nfrom .utf8 import Decoder\nfrom ..codes import CloseCode"),
        ("protocol.handshake", "import h11\nfrom wsproto.events import Request"),
        ("transport.poller", "import socket\nimport trio\nfrom trio_ws.protocol.frames import Frame"),
        ("app.routing", "from trio_ws.websocket.websocket import WebSocket\nfrom trio_ws.rooms.room import Room"),
        ("cli", "from trio_ws.app.application import App"),
        ("", "from trio_ws.app.application import App\nfrom trio_ws.codes import CloseCode"),
    ],
)
def test_an_import_within_a_layer_or_downwards_passes(module: str, source: str) -> None:
    assert complaints(source, module) == []


def test_relative_imports_of_a_package_start_at_the_package_itself() -> None:
    assert complaints("from .frames import Frame", "protocol", is_package=True) == []
    assert len(complaints("from ..server import Server", "protocol", is_package=True)) == 1


def test_an_unknown_module_is_told_to_go_into_the_table() -> None:
    (text,) = complaints("", "novelty")
    assert "trio_ws.novelty is in no layer" in text
    assert "put it into the table LAYERS" in text


def test_importing_the_package_does_not_import_pydantic() -> None:
    """Who validates no bodies does not wait for pydantic to be imported."""
    program = f"import sys, {PACKAGE}; print({PACKAGE}.__name__, 'pydantic' in sys.modules)"
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.stdout.split(), done.stderr) == ([PACKAGE, "False"], "")
