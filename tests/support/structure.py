"""What tools/house.py reads from the package's source, for the tests of structure and prose."""

from __future__ import annotations

import sys
from functools import cache
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2] / "tools"))

import house
from house import (
    NOUN_COLON,
    REGISTER,
    RELATIVE_SUBJECT,
    WORD,
    Module,
    cycles_of,
    documented_of,
    imports_of,
    name_of,
    private_accesses,
    private_names,
)

__all__ = [
    "NOUN_COLON",
    "REGISTER",
    "RELATIVE_SUBJECT",
    "WORD",
    "Module",
    "cycles_of",
    "documented_of",
    "imports_of",
    "modules_of",
    "name_of",
    "private_accesses",
    "private_names",
]


@cache
def modules_of(folder: Path) -> list[Module]:
    """Read all modules below a package's folder, once in each process."""
    return house.modules_of(folder)
