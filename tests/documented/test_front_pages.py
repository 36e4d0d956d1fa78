"""The examples on the front pages, README.md and docs/index.md, run as they stand there."""

from __future__ import annotations

import re
from pathlib import Path

import trio
from examples.process import PATIENCE, forked, launching, output_of_forked

from trio_ws import open_websocket

ROOT = Path(__file__).parents[2]


def programs_in(page: Path) -> list[str]:
    return re.findall(r"^```python\n(.*?)^```$", page.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)


async def test_the_server_and_the_client_of_the_readme_talk(tmp_path: Path) -> None:
    server, client = programs_in(ROOT / "README.md")
    (tmp_path / "server.py").write_text(server, encoding="utf-8")
    with trio.fail_after(PATIENCE):
        async with forked(launching(tmp_path / "server.py"), tmp_path) as program:
            dialling = client.replace("localhost:8000", await program.address())
            assert dialling != client
            (tmp_path / "client.py").write_text(dialling, encoding="utf-8")
            assert await output_of_forked(["client.py"], tmp_path) == "Hello!\n"
            assert await program.interrupt() == 0


async def test_the_chat_of_the_documentation_s_home_page_works(tmp_path: Path) -> None:
    (program,) = programs_in(ROOT / "docs" / "index.md")
    (tmp_path / "chat.py").write_text(program, encoding="utf-8")
    with trio.fail_after(PATIENCE):
        async with forked(launching(tmp_path / "chat.py"), tmp_path) as chat:
            url = f"ws://{await chat.address()}/chat/tea?user=Ada"
            async with open_websocket(url, receive_type="json", send_type="json") as ws:
                await ws.send(["any", "JSON"])
                assert await ws.receive() == {"user": "Ada", "message": ["any", "JSON"]}
            assert await chat.interrupt() == 0
