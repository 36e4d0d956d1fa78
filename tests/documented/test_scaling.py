"""docs/scaling.md: its code runs, and its tables have every option with its default."""

from __future__ import annotations

import re
from pathlib import Path

import attrs
import pytest

from trio_ws.rooms.redis import RedisBackplane
from trio_ws.rooms.redis.options import Options

TEXT = Path(__file__).parents[2].joinpath("docs", "scaling.md").read_text(encoding="utf-8")


def test_the_code_of_the_page_runs() -> None:
    """As far as it goes without a Redis: `examples/scaled_chat` is the same with one."""
    blocks = re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL)
    assert len(blocks) == 5
    names: dict[str, object] = {}
    for block in blocks:
        exec(block, names)
    assert isinstance(names["backplane"], RedisBackplane)
    assert names["stamp"]("1-1", '{"a":1}') == '{"id":"1-1","message":{"a":1}}'


@pytest.mark.parametrize("option", attrs.fields(Options), ids=lambda option: option.name)
def test_the_page_has_each_option_with_its_default(option) -> None:
    row = re.search(rf"^\| `{option.name}` \| (.*?) \|", TEXT, re.MULTILINE)
    assert row is not None
    units = {"MiB": 1024 * 1024, "KiB": 1024, "s": 1}
    number, _, unit = row[1].partition(" ")
    said = int(number) * units[unit] if unit else row[1].strip("`")
    assert str(said) == str(option.default)


@pytest.mark.parametrize("url", re.findall(r"^\| `((?:redis|unix)[^`]*)`", TEXT, re.MULTILINE))
def test_the_urls_of_the_page_are_understood(url) -> None:
    RedisBackplane(url)
