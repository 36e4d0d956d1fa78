"""The site that `make docs` has built: its search finds pages, and its reference has all public names."""

from __future__ import annotations

import importlib
import json
import re
from functools import cache
from pathlib import Path
from typing import Any

import pytest

SITE = Path(__file__).parents[2] / "site"
pytestmark = pytest.mark.skipif(not SITE.joinpath("searchindex.js").exists(), reason="make docs has not built the site")


@cache
def index() -> dict[str, Any]:
    """Return the index that the search page uses."""
    text = (SITE / "searchindex.js").read_text(encoding="utf-8")
    return json.loads(text.removeprefix("Search.setIndex(").rstrip(";")[:-1])


def search(word: str) -> set[str]:
    """Return the pages that have a word in their text or a title, as the search page finds them."""
    stem = importlib.import_module("sphinx.search.en").SearchEnglish({}).stem(word.lower())
    numbers: set[int] = set()
    for terms in ("terms", "titleterms"):
        found = index()[terms].get(stem, [])
        numbers.update([found] if isinstance(found, int) else found)
    return {index()["docnames"][number] for number in numbers}


@pytest.mark.parametrize(
    ("word", "page"),
    [
        ("reconnect", "reconnecting"),
        ("authentication", "authentication"),
        ("cors", "authentication"),
        ("TestClient", "reference/testing"),
        ("deployment", "deploy"),
        ("observability", "seeing"),
        ("nginx", "deploy"),
        ("BusyResourceError", "faq"),
    ],
)
def test_a_word_finds_its_page(word: str, page: str) -> None:
    pytest.importorskip("sphinx")
    assert page in search(word)


@pytest.mark.parametrize("name", ["TestClient", "open_websocket", "reconnect", "WebSocket", "Limits"])
def test_a_public_name_is_found_as_one(name: str) -> None:
    objects = {entry[4] for entry in index()["objects"]["trio_ws"]}
    assert name in objects


@pytest.mark.parametrize(
    ("page", "place"),
    [
        ("reference/client.html", "https://trio.readthedocs.io/en/stable/reference-core.html#trio.Cancelled"),
        ("guide.html", "reference/settings.html#trio_ws.Timeouts.shutdown_grace"),
        ("guide.html", "decisions/0033-static-files.html"),
        ("reference/rooms.html", "#trio_ws.Room.publish"),
    ],
)
def test_a_page_links_to_the_reference(page: str, place: str) -> None:
    assert place in re.findall(r'href="(.*?)"', (SITE / page).read_text(encoding="utf-8"))
