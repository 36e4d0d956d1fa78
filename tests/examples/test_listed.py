"""examples/README.md lists the examples, all of them, and each has what it says."""

from __future__ import annotations

import errno
import os
import re
import runpy
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from trio_ws.server.serve import SocketListener

from .browser import EXAMPLES

PROGRAMS = sorted(EXAMPLES.glob("*/app.py"))


def test_the_list_names_each_example_once_and_each_has_an_app_py() -> None:
    listed = re.findall(
        r"^\| \[(\w+)\]\((\w+)\) \|", (EXAMPLES / "README.md").read_text(encoding="utf-8"), re.MULTILINE
    )
    assert all(name == target for name, target in listed)
    assert sorted(name for name, _ in listed) == sorted(path.parent.name for path in EXAMPLES.glob("*/app.py"))


@pytest.mark.parametrize("program", PROGRAMS, ids=lambda program: program.parent.name)
def test_each_ends_with_one_line_on_a_taken_port(
    program: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    if program.parent.name == "telemetry":
        pytest.importorskip("opentelemetry.sdk")

    async def bind(host: str, port: int, uds: None, listeners: Sequence[SocketListener]) -> Any:
        raise OSError(errno.EADDRINUSE, os.strerror(errno.EADDRINUSE))

    monkeypatch.setattr("trio_ws.server.serve.bind", bind)
    monkeypatch.setattr("sys.argv", [str(program)])
    monkeypatch.syspath_prepend(str(program.parent))
    with pytest.raises(SystemExit) as ended:
        runpy.run_path(str(program), run_name="__main__")
    line = ended.value.code
    assert isinstance(line, str)
    assert line.startswith("cannot listen on localhost:8000: ")
    assert line.endswith(". End the server that has it, or choose another one")
    assert "\n" not in line
    assert capsys.readouterr().err == ""


PAGES = sorted(path.parent.name for path in EXAMPLES.glob("*/index.html"))


@pytest.mark.parametrize("name", PAGES)
def test_each_page_has_a_small_screenshot_in_the_docs(name: str) -> None:
    file = f"_static/example-{name.replace('_', '-')}.png"
    docs = EXAMPLES.parent / "docs"
    assert f"({file})" in (docs / "examples.md").read_text(encoding="utf-8")
    content = (docs / file).read_bytes()
    assert content.startswith(b"\x89PNG")
    assert len(content) < 60_000


@pytest.mark.parametrize("name", PAGES)
def test_each_page_has_the_shared_style_and_the_client(name: str) -> None:
    """None of them opens a WebSocket by itself, which would not come back."""
    page = (EXAMPLES / name / "index.html").read_text(encoding="utf-8")
    assert 'href="/shared/style.css"' in page
    assert 'import { connect } from "/trio_ws.js"' in page
    assert "new WebSocket" not in page
    assert "innerHTML" not in page
