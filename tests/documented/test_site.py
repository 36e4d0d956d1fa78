"""The site that `make docs` builds: its search finds pages, its pages link to each other, and what is broken fails."""

from __future__ import annotations

import importlib
import json
import re
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

import attrs
import pytest

SITE = Path(__file__).parents[2] / "site"
built = pytest.mark.skipif(not SITE.joinpath("searchindex.js").exists(), reason="make docs has not built the site")


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


@built
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


@built
@pytest.mark.parametrize("name", ["TestClient", "open_websocket", "reconnect", "WebSocket", "Limits"])
def test_a_public_name_is_found_as_one(name: str) -> None:
    objects = {entry[4] for entry in index()["objects"]["trio_ws"]}
    assert name in objects


@built
@pytest.mark.parametrize(
    ("page", "place"),
    [
        ("reference/client.html", "https://trio.readthedocs.io/en/stable/reference-core.html#trio.Cancelled"),
        ("guide.html", "reference/settings.html#trio_ws.Timeouts.shutdown_grace"),
        ("guide.html", "https://docs.pydantic.dev/latest/api/base_model/#pydantic.BaseModel"),
        ("guide.html", "https://www.attrs.org/en/stable/api.html#attrs.define"),
        ("guide.html", "decisions/0033-static-files.html"),
        ("reference/rooms.html", "#trio_ws.Room.publish"),
    ],
)
def test_a_page_links_to_the_reference(page: str, place: str) -> None:
    assert place in re.findall(r'href="(.*?)"', (SITE / page).read_text(encoding="utf-8"))


@attrs.frozen
class Badly:
    """A class."""

    bare: int
    explained: int
    """Below."""

    def silent(self) -> None: ...

    def told(self) -> None:
        """Do nothing."""


def test_what_has_no_docstring_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("sphinx")
    for folder in ("tools", "docs/_ext"):
        monkeypatch.syspath_prepend(str(SITE.parent / folder))
    monkeypatch.setattr(Badly, "__module__", "trio_ws.badly")
    monkeypatch.setitem(sys.modules, "trio_ws.badly", sys.modules[__name__])
    public_names = importlib.import_module("public_names")
    found = list(public_names.undocumented(Badly, "trio_ws.Badly"))
    assert found == ["trio_ws.Badly.bare", "trio_ws.Badly.silent"]


BROKEN = """# Broken

[a](nothing.md) [b](other.md#no-such) [c](#nowhere) [d](files/none.txt) ![e](none.svg)

```{toctree}
other
```
"""


@pytest.mark.slow
def test_a_broken_page_fails_the_build(tmp_path: Path) -> None:
    """A link to nowhere, a lost page and a public name that is on no page are errors, each with its own message."""
    pytest.importorskip("sphinx")
    for name in ("tools", "trio_ws"):
        (tmp_path / name).symlink_to(SITE.parent / name)
    docs = tmp_path / "docs"
    docs.mkdir()
    for name in ("conf.py", "_ext", "_static", "inventories"):
        (docs / name).symlink_to(SITE.parent / "docs" / name)
    for name, text in {"index": BROKEN, "other": "# Other\n", "lost": "# Lost\n"}.items():
        (docs / f"{name}.md").write_text(text, encoding="utf-8")
    command = [
        sys.executable,
        "-m",
        "sphinx",
        "--fail-on-warning",
        "--keep-going",
        "--quiet",
        str(docs),
        str(tmp_path / "out"),
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    for complaint in (
        "'nothing.md'",
        "local id not found in doc 'other': 'no-such'",
        "'nowhere'",
        "'files/none.txt'",
        "image file not readable: none.svg",
        "lost.md: WARNING: document isn't included in any toctree",
        "trio_ws.open_websocket is public, but on no page",
    ):
        assert complaint in done.stderr
