"""List the public names of the library with their signatures, one line each.

`python tools/public_api.py` prints the list, `--write` stores it in tests/public_api.txt. tests/test_public_api.py
compares the two, so that no public name changes by accident.
"""

from __future__ import annotations

import importlib
import inspect
import os
import re
import sys
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trio_ws.websocket.other_names import Hint

if TYPE_CHECKING:
    from collections.abc import Iterator

MODULES = (
    "trio_ws",
    "trio_ws.app",
    "trio_ws.rooms",
    "trio_ws.rooms.redis",
    "trio_ws.asgi",
    "trio_ws.compat.trio_websocket",
    "trio_ws.testing",
    "trio_ws.testing.plugin",
    "trio_ws.testing.machine",
    "trio_ws.testing.strategies",
)
RECORD = Path(__file__).parents[1] / "tests" / "public_api.txt"


PLAIN = (bool, int, float, str, bytes, tuple, type(None))


class Shown:
    """A default that is shown as it is written, or as "..." if its text says nothing."""

    def __init__(self, value: object) -> None:
        plain = isinstance(value, PLAIN) and not (isinstance(value, tuple) and value)
        self.text = "..." if not plain else str(value) if isinstance(value, Enum) else repr(value)

    def __repr__(self) -> str:
        return self.text


def signature_of(value: Any) -> str:
    """Return the signature as text, "(...)" if there is none to inspect."""
    if inspect.isclass(value) and issubclass(value, (Enum, BaseException)) and "__init__" not in vars(value):
        return "(...)"
    try:
        signature = inspect.signature(value)
    except (TypeError, ValueError):
        return "(...)"
    parameters = [
        each if each.default is each.empty else each.replace(default=Shown(each.default))
        for each in signature.parameters.values()
    ]
    text = str(signature.replace(parameters=parameters)).replace("'", "")
    return re.sub(r"ForwardRef\((\w+)[^)]*\)", r"\1", text)  # of a NamedTuple, where annotations are text


def kind_of(function: object) -> str:
    """Return what follows the signature of a function that has to be awaited."""
    return "  # async" if inspect.iscoroutinefunction(function) else ""


def members_of(cls: type) -> Iterator[str]:
    """Yield a line for each public member that a class of ours defines or inherits from one of ours."""
    names = {name for base in cls.__mro__ if base.__module__.startswith("trio_ws") for name in vars(base)}
    for name in sorted(names):
        if name.startswith("_"):
            continue
        value = inspect.getattr_static(cls, name)
        if isinstance(value, Hint):
            continue
        if isinstance(value, (staticmethod, classmethod)):
            yield f"{name}{signature_of(value.__func__)}"
        elif inspect.isfunction(value):
            yield f"{name}{signature_of(value)}{kind_of(value)}"
        else:
            yield name


def lines_of(module: str, name: str, value: Any) -> Iterator[str]:
    """Yield the lines of one public name."""
    if inspect.isclass(value):
        yield f"{module}.{name}{signature_of(value)}"
        yield from (f"{module}.{name}.{member}" for member in members_of(value))
    elif callable(value):
        yield f"{module}.{name}{signature_of(value)}{kind_of(value)}"
    else:
        yield f"{module}.{name}"


def listing() -> str:
    """Return the whole list."""
    os.environ["TRIO_WS_PURE_PYTHON"] = "1"  # methods in C have no annotations
    lines: list[str] = []
    for path in MODULES:
        module = importlib.import_module(path)
        for name in sorted(module.__all__):
            lines += lines_of(path, name, getattr(module, name))
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    if "--write" in sys.argv[1:]:
        RECORD.write_text(listing(), encoding="utf-8")
    else:
        sys.stdout.write(listing())
