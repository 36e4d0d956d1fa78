"""What tools/house.py reads from the package's source, for the tests of structure and prose."""

from __future__ import annotations

import re
import sys
from functools import cache
from pathlib import Path

from support.garbage import without_collections

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
    homonyms_of,
    imports_of,
    inherited_uses,
    is_property,
    module_of,
    name_of,
    nodes_of,
    private_accesses,
    public_of,
    statements_of,
)

__all__ = [
    "NOUN_COLON",
    "REGISTER",
    "RELATIVE_SUBJECT",
    "WORD",
    "Module",
    "cycles_of",
    "documented_of",
    "homonyms_of",
    "house",
    "imports_of",
    "inherited_uses",
    "is_property",
    "module_of",
    "modules_of",
    "name_of",
    "nodes_of",
    "private_accesses",
    "public_of",
    "sentences_of",
    "statements_of",
]

_CODE = re.compile(r"```.*?```|~~~.*?~~~|`[^`\n]*`|<[^>\n]*>", re.DOTALL)
_TARGET = re.compile(r"\]\([^)\n]*\)")
_MARKUP = re.compile(r"(?m)^[\s>]*(?:[-*+]|\d+\.|#+)?\s+|[*_\[\]]")


@cache
def modules_of(folder: Path) -> list[Module]:
    """Read all modules below a package's folder, once in each process."""
    with without_collections():
        return house.modules_of(folder)


def sentences_of(page: str) -> list[str]:
    """Return the paragraphs, list items, headings and table cells of a page in Markdown, with x for code."""
    prose = _TARGET.sub("", _CODE.sub("x", page))
    blocks = re.split(r"\n\s*\n|\n(?=\s*(?:[-*+]|\d+\.|#+)\s)|\||(?<=\|)\n", prose)
    return [text for block in blocks if (text := " ".join(_MARKUP.sub("", block).split()))]
