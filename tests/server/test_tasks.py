"""Names of tasks: a dump of Trio's task tree says whose each task is."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import trio
from support.handlers import serve

from trio_ws import App, WebSocket, open_websocket
from trio_ws.runtime.log import MOST_SHOWN

PAGE = Path(__file__).parents[2] / "docs" / "seeing.md"
PATIENCE = 20.0


@pytest.fixture
def dump_all() -> Any:
    """The function of the documentation that writes the task tree."""
    (program,) = re.findall(r"^```python\n(# dump.py\n.*?)^```$", PAGE.read_text("utf-8"), re.MULTILINE | re.DOTALL)
    made: dict[str, Any] = {}
    exec(program, made)
    return made["dump_all"]


async def sleep(*_: object) -> None:
    await trio.sleep_forever()


async def greet_and_work(ws: WebSocket) -> None:
    ws.nursery.start_soon(sleep, name="work")
    await ws.send("hello")
    await ws.receive()


@pytest.mark.parametrize("poller", [True, False], ids=["poller", "stream"])
async def test_connection_task_is_named_by_path_and_holds_its_tasks(nursery, dump_all, poller):
    """A connection's task has its path and number and its own tasks below."""
    app = App()
    app.websocket("/chat/{room}")(greet_and_work)
    server = await nursery.start(lambda task_status: app.serve("127.0.0.1", 0, poller=poller, task_status=task_status))
    url = f"ws://127.0.0.1:{server.port}"
    async with open_websocket(f"{url}/chat/42?token=secret") as one, open_websocket(f"{url}/chat/43") as two:
        await one.receive()
        await two.receive()
        lines = dump_all().splitlines()
    for name in ("/chat/42 #1", "/chat/43 #2"):
        at = next(index for index, line in enumerate(lines) if line.strip() == name)
        assert lines[at + 1] == " " * (len(lines[at]) - len(name) + 2) + "work"
    assert "secret" not in "".join(lines)


async def test_before_there_is_a_request_it_has_the_address(nursery, dump_all):
    server = await serve(nursery, poller=False)
    async with await trio.open_tcp_stream("127.0.0.1", server.port) as stream:
        host, port = stream.socket.getsockname()
        with trio.fail_after(PATIENCE):
            for part in ("", " transport", " reader", " writer"):
                while f"{host}:{port} #1{part}\n" not in f"{dump_all()}\n":
                    await trio.sleep(0.001)


async def test_what_the_client_chose_is_cut_and_stays_on_one_line(nursery, dump_all):
    server = await serve(nursery, greet_and_work)
    async with open_websocket(f"{server.urls[0]}/{'x' * 500}%0A'\"") as ws:
        await ws.receive()
        (line,) = [line.strip() for line in dump_all().splitlines() if "xxx" in line]
    assert line == "/" + "x" * (MOST_SHOWN - 1) + "... #1"
