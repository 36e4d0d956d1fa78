"""The documentation of settings: `help(Limits)` explains each field, with its default."""

from __future__ import annotations

import inspect
import math
import re

import attrs
import pytest

from trio_ws import BackoffSettings, Compression, Limits, Timeouts

UNITS = {"s": 1, "bytes": 1, "KiB": 1024, "MiB": 1024 * 1024, "": 1}
CLASSES = [Limits, Timeouts, Compression, BackoffSettings]
FIELDS = [(cls, field) for cls in CLASSES for field in attrs.fields(cls)]


def entry(cls: type, name: str) -> str:
    """What the class's docstring says of a field."""
    found = re.search(rf"^    {name}: (.*\n(?:        .*\n)*)", inspect.getdoc(cls), re.MULTILINE)
    return " ".join(found[1].split())


def documented_default(text: str) -> object:
    """The default that a field's documentation ends with."""
    value, unit = re.search(r"Default: (\S+?)(?: (s|bytes|KiB|MiB))?\.$", text).groups()
    known = {"None": None, "True": True, "False": False}
    return known[value] if value in known else float(value.replace(",", "")) * UNITS[unit or ""]


@pytest.mark.parametrize(("cls", "field"), FIELDS, ids=lambda each: getattr(each, "name", None))
def test_help_of_a_setting_has_each_field_and_its_default(cls, field) -> None:
    if isinstance(field.default, attrs.Factory):
        assert entry(cls, field.name).endswith("by default.")
    else:
        default = None if field.default == math.inf else field.default
        assert documented_default(entry(cls, field.name)) == default
