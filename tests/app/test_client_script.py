"""`App.client_script`: the client for pages, served, typed, and run by Node.js with a clock and network of its own."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import pytest

from trio_ws import App
from trio_ws.app.browsable import CLIENT_SCRIPT

CHECKS = Path(__file__).with_name("client_script") / "checks.mjs"
NODE = shutil.which("node")
TSC = shutil.which("tsc")
PATIENCE = 120

USE = """\
import { connect } from "./trio_ws.js";
const connection = connect("/chat", { since: "id", onstate: (state, { delay }) => state === "waiting" && delay });
connection.send([1]);
const reply: Promise<unknown> = connection.request({ list: 1 });
const rest: number = connection.queued;
connection.close(4000, "enough");
connect(async () => "/chat", { again: (code) => code === 4401, onrecovered(complete) { complete === true; } });
"""
MISTAKES = [
    ('since: "id"', "since: 1"),
    ('"waiting"', '"wait"'),
    ("(4000", '("4000"'),
    ('async () => "/chat"', "5"),
]


async def test_script_is_served_as_a_module_and_revalidated() -> None:
    app = App()
    app.client_script()
    app.client_script("/static/client.js")
    async with app.test_client() as client:
        for path in ("/trio_ws.js", "/static/client.js"):
            answer = await client.get(path)
            assert (answer.status, answer.headers["content-type"]) == (200, "text/javascript; charset=utf-8")
            assert answer.body == CLIENT_SCRIPT.read_bytes()
        again = await client.get("/trio_ws.js", headers={"If-None-Match": answer.headers["etag"]})
        assert again.status == 304


def test_path_of_the_script_is_checked() -> None:
    app = App()
    app.client_script("/client.js")
    for path in ("/client.js", "client.js"):
        with pytest.raises(ValueError, match="page"):
            app.client_script(path)


def test_script_has_less_than_six_kilobytes_and_no_import() -> None:
    content = CLIENT_SCRIPT.read_text(encoding="ascii")
    assert len(content) < 6000
    assert "import" not in content


@pytest.mark.slow
@pytest.mark.skipif(NODE is None, reason="no node here: the client for pages is not tested without a browser")
def test_script_does_in_node_what_its_checks_say(tmp_path: Path) -> None:
    """One process for all checks: they have a clock of their own, so it takes a fraction of a second."""
    module = shutil.copy(CLIENT_SCRIPT, tmp_path / "trio_ws.mjs")
    assert NODE is not None
    command = [NODE, str(CHECKS), Path(module).as_uri()]
    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, check=False)
    assert done.returncode == 0, done.stderr
    results: dict[str, str | None] = json.loads(done.stdout)
    assert {name: error for name, error in results.items() if error is not None} == {}
    assert len(results) > 60


@pytest.mark.slow
@pytest.mark.skipif(TSC is None, reason="tsc is not installed: npm install -g typescript")
def test_script_has_types_that_find_mistakes(tmp_path: Path) -> None:
    assert TSC is not None
    shutil.copy(CLIENT_SCRIPT, tmp_path / "trio_ws.js")
    pages = [USE, *(USE.replace(*mistake) for mistake in MISTAKES)]
    assert len(set(pages)) == len(pages)
    for number, page in enumerate(pages):
        (tmp_path / f"page{number}.ts").write_text(page, encoding="utf-8")
    options = ["--allowJs", "--checkJs", "--noEmit", "--target", "es2022", "--module", "es2022", "--pretty", "false"]
    files = [f"page{number}.ts" for number in range(len(pages))]
    done = subprocess.run(
        [TSC, *options, *files], cwd=tmp_path, capture_output=True, text=True, timeout=PATIENCE, check=False
    )
    wrong = {line.partition("(")[0] for line in done.stdout.splitlines()}
    assert wrong == set(files[1:]), done.stdout
