"""Store the inventories of other projects' references, which the documentation links to, in docs/inventories.

python tools/inventories.py trio=FILE-OR-URL ...    an objects.inv of Sphinx; its Python names are kept
python tools/inventories.py pydantic                written from the list below
"""

from __future__ import annotations

import re
import sys
import urllib.request
import zlib
from pathlib import Path

FOLDER = Path(__file__).parents[1] / "docs" / "inventories"
KEPT = {"python": r"(?:collections|contextlib|contextvars|datetime|enum|logging|os|pathlib|signal|socket|ssl|typing)\b"}
"""The modules that are kept of projects with very many names; of others all are."""
BUILTINS = re.compile(r"[A-Za-z]+$")
PYDANTIC = {
    "BaseModel py:class": "api/base_model/#pydantic.BaseModel",
    "ConfigDict py:class": "api/config/#pydantic.config.ConfigDict",
    "Field py:function": "api/fields/#pydantic.fields.Field",
    "RootModel py:class": "api/root_model/#pydantic.root_model.RootModel",
    "TypeAdapter py:class": "api/type_adapter/#pydantic.type_adapter.TypeAdapter",
    "ValidationError py:exception": "api/pydantic_core/#pydantic_core.ValidationError",
}
"""Names that this library's users meet. pydantic's own inventory comes with its site only."""


def read(source: str) -> tuple[str, list[str]]:
    """Return the project's version and the entries of an inventory."""
    if "://" in source:
        with urllib.request.urlopen(source) as response:
            data = response.read()
    else:
        data = Path(source).read_bytes()
    _, _, version, _, body = data.split(b"\n", 4)
    return version.decode().rpartition(" ")[2], zlib.decompress(body).decode().splitlines()


def write(name: str, version: str, entries: list[str]) -> None:
    """Write an inventory of Sphinx's second version."""
    lines = ["Sphinx inventory version 2", f"Project: {name}", f"Version: {version}"]
    head = "".join(f"# {line}\n" for line in [*lines, "The remainder of this file is compressed using zlib."])
    body = "".join(f"{entry}\n" for entry in sorted(entries)).encode()
    (FOLDER / f"{name}.inv").write_bytes(head.encode() + zlib.compress(body, 9))


def keep(name: str, entries: list[str]) -> list[str]:
    """Return the entries that are names of Python, and those of the modules above."""
    python = [entry for entry in entries if " py:" in entry]
    if name not in KEPT:
        return python
    return [entry for entry in python if re.match(KEPT[name], entry) or BUILTINS.match(entry.split(" ")[0])]


def main(arguments: list[str]) -> None:
    """Write the inventories that are named."""
    for argument in arguments:
        name, _, source = argument.partition("=")
        if source:
            version, entries = read(source)
            write(name, version, keep(name, entries))
        else:
            write(name, "2", [f"pydantic.{key} 1 {place} -" for key, place in PYDANTIC.items()])


if __name__ == "__main__":
    main(sys.argv[1:])
