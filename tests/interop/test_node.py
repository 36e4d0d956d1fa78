"""Interoperation with `ws`, the server and client of Node.js; npm fetches it, and without npm this is skipped."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import trio
from support.handlers import Ends, echo, serve

from .cases import SETTINGS, SIZES, check_echo, similar_texts, text_of

PEER = Path(__file__).with_name("node_peer.js")
PATIENCE = 120
"""Seconds for npm and for a conversation: a registry that does not answer shall not hold up the tests."""


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The environment in which Node.js finds `ws`."""
    npm = shutil.which("npm")
    if npm is None or shutil.which("node") is None:
        pytest.skip("no npm here: not tested with Node.js")
    folder = tmp_path_factory.mktemp("node")
    install = [npm, "install", "--no-audit", "--no-fund", "--prefix", str(folder), "ws@8"]
    try:
        subprocess.run(install, check=True, capture_output=True, timeout=PATIENCE)
    except (OSError, subprocess.SubprocessError) as error:
        pytest.skip(f"npm cannot fetch ws: not tested with Node.js ({error})")
    return {**os.environ, "NODE_PATH": str(folder / "node_modules")}


@pytest.fixture(scope="module")
def theirs(node: dict[str, str]) -> Iterator[str]:
    command = ["node", str(PEER), "serve"]
    with subprocess.Popen(command, env=node, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        yield f"ws://127.0.0.1:{int(process.stdout.readline())}/"
        process.stdin.close()


@pytest.mark.parametrize("compression", SETTINGS)
async def test_messages_to_their_server_come_back(theirs, poller, compression):
    await check_echo(theirs, poller=poller, compression=compression)


@pytest.mark.parametrize("compression", SETTINGS)
async def test_messages_of_their_client_come_back(nursery, node, tmp_path, poller, compression):
    ends = Ends()
    server = await serve(nursery, echo, on_disconnect=ends, compression=compression, poller=poller)
    texts = tmp_path / "texts.json"
    texts.write_text(json.dumps([*similar_texts(), *map(text_of, SIZES)]))
    command = ["node", str(PEER), "talk", server.urls[0], str(texts)]
    with trio.fail_after(PATIENCE):
        done = await trio.run_process(command, env=node, capture_stdout=True, check=False)
    assert done.returncode == 0
    assert done.stdout.strip() == (b"permessage-deflate" if compression else b"")
    assert await ends.first() == 1000
