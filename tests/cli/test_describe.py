"""The subcommands that describe an application, in the process of the test."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from trio_ws.cli.main import main

SHOP = '''
from pydantic import BaseModel
from trio_ws import App

app = App()

class Größe(BaseModel):
    """A size: ü."""
    metres: float

@app.listener("/sizes/{kind}")
async def sizes(size: Größe, kind: str) -> Größe:
    """Echo sizes."""
'''


@pytest.fixture(autouse=True)
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A working directory with the module `sizes`, which no other test sees."""
    (tmp_path / "sizes.py").write_text(SHOP, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    yield
    sys.modules.pop("sizes", None)


def test_asyncapi_prints_the_document_as_utf_8(capsysbinary: pytest.CaptureFixture[bytes]) -> None:
    options = ["--title", "Sizes", "--version", "3", "--description", "All.", "--server", "main=wss://sizes.example/x"]
    assert main(["asyncapi", "sizes", *options]) == 0
    document = json.loads(capsysbinary.readouterr().out.decode())
    assert document["info"] == {"title": "Sizes", "version": "3", "description": "All."}
    assert document["servers"]["main"]["host"] == "sizes.example"
    assert document["channels"]["sizes"]["summary"] == "Echo sizes."


def test_title_is_the_name_of_the_application(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["asyncapi", "sizes:app"]) == 0
    assert json.loads(capsys.readouterr().out)["info"] == {"title": "sizes:app", "version": "0.1.0"}


def test_types_prints_declarations(capsysbinary: pytest.CaptureFixture[bytes]) -> None:
    assert main(["types", "sizes:app"]) == 0
    written = capsysbinary.readouterr().out.decode()
    assert written.startswith("// Messages of sizes:app, written by `trio-ws types`.\n")
    assert "/** A size: ü. */\nexport interface Gr" in written
    assert '  "/sizes/{kind}": {\n' in written


@pytest.mark.parametrize(
    ("server", "message"),
    [("wss://x", "a server looks like production=wss://"), ("a=http//x", "a WebSocket URL begins")],
)
def test_server_without_a_url_is_an_error(server: str, message: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        main(["asyncapi", "sizes", "--server", server])
    assert end.value.code == 1
    assert message in capsys.readouterr().err


@pytest.mark.parametrize("command", ["asyncapi", "types", "routes"])
def test_missing_application_is_an_error(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        main([command, "nowhere:app"])
    assert end.value.code == 1
    assert "there is no module 'nowhere'" in capsys.readouterr().err
