"""What tools/house.py reads from the package's source, for the tests of structure and prose."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2] / "tools"))

from house import (
    NOUN_COLON,
    REGISTER,
    RELATIVE_SUBJECT,
    WORD,
    Module,
    cycles_of,
    documented_of,
    imports_of,
    modules_of,
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
]
