"""docs/outside.md does what it shows, with a Redis of the test's own in place of its redis://localhost."""

from __future__ import annotations

import json
import re
import shutil
from base64 import b64encode
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import trio
from support.redis import RedisServer, collects_coredis, forgives_coredis, needs_redis, redis_server

from trio_ws import App, connect_backplane
from trio_ws.rooms import RoomWatch
from trio_ws.rooms.redis.scripts import Keys
from trio_ws.rooms.topics import topic_of

from .ways import Way

pytestmark = [forgives_coredis, collects_coredis]

DOCS = Path(__file__).parents[2] / "docs"
PAGE = (DOCS / "outside.md").read_text(encoding="utf-8")
SHOP_KEY = "the-key-of-the-shop"
JOBS_SECRET = "whsec_" + b64encode(bytes(range(32))).decode()
NODE = shutil.which("node")
needs_node = pytest.mark.skipif(NODE is None, reason="no node here: publishing from another language is not tested")


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)


@pytest.fixture(scope="module")
def redis() -> Iterator[RedisServer]:
    with redis_server() as server:
        yield server


@pytest.fixture
def names(redis: RedisServer, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What the page defines."""
    monkeypatch.setenv("SHOP_KEY", SHOP_KEY)
    monkeypatch.setenv("JOBS_SECRET", JOBS_SECRET)
    names: dict[str, Any] = {"__name__": "outside"}
    for code in blocks("python"):
        exec(compile(code.replace("redis://localhost", redis.url), "docs/outside.md", "exec", dont_inherit=True), names)
    return names


async def received(messages: RoomWatch, count: int) -> list[str | bytes]:
    with trio.fail_after(60):
        return [(await anext(messages)).message for _ in range(count)]


@needs_redis
async def test_jobs_of_the_page_publish_and_read(names: dict[str, Any], redis: RedisServer) -> None:
    async with connect_backplane(redis.url) as rooms, rooms.watch("board:1") as messages:
        first = await names["finish"]("1", "write")
        assert await names["finish"]("1", "write") == first
        await names["finish"]("1", "read")
        assert await received(messages, 2) == ['{"done":"write"}', '{"done":"read"}']
        (line,) = await names["transcript"]("board:1", first, 1)
        assert line.endswith(' {"done":"read"}')


@needs_redis
async def test_blocking_code_of_the_page_publishes(names: dict[str, Any], redis: RedisServer) -> None:
    async with connect_backplane(redis.url) as rooms, rooms.watch("video:1") as video, rooms.watch("board:2") as board:
        await trio.to_thread.run_sync(names["render"], "1")
        assert await received(video, 3) == ['{"percent":0}', '{"percent":50}', '{"percent":100}']
        for text in ("one", "two"):
            await trio.to_thread.run_sync(names["save"], "2", text)
        assert await received(board, 2) == ['{"text":"one"}', '{"text":"two"}']
    assert names["rooms_of"].cache_info().misses == 1
    await trio.to_thread.run_sync(names["stack"].close)


@pytest.mark.slow
@needs_redis
@needs_node
@pytest.mark.parametrize("room", ["100%}\N{DRAGON}", "two words"])
async def test_node_publishes_as_on_the_page(room: str, redis: RedisServer, tmp_path: Path) -> None:
    """Members receive it, a repeated key sends nothing, and nothing counts as lost before messages of the library."""
    script = next(each for each in blocks("js") if each.startswith("// publish.mjs"))
    (tmp_path / "publish.mjs").write_text(script, encoding="utf-8")
    shutil.copy(DOCS / "_static" / "publish.lua", tmp_path)
    command = [str(NODE), str(tmp_path / "publish.mjs"), str(redis.socket), room]

    async def publish(*arguments: str) -> str:
        run = partial(trio.run_process, [*command, *arguments], capture_stdout=True)
        with trio.fail_after(60):
            return (await run()).stdout.decode().strip()

    lost: list[int | None] = []
    async with connect_backplane(redis.url) as rooms, rooms.watch(room, on_gap=lost.append) as messages:
        if room != "two words":  # whose stream node begins
            await rooms.publish(room, "by the library")
        first = await publish("grüße", "k")
        assert await publish("again", "k") == first == await rooms.publish(room, "and again", key="k")
        await rooms.publish(room, "end")
        expected = ["by the library", "grüße", "end"][room == "two words" :]
        assert await received(messages, len(expected)) == expected
        assert [each.id for each in await rooms.history(room)][-2] == first
    assert lost == []


def test_keys_are_named_as_on_the_page() -> None:
    keys = Keys("trio_ws")
    assert "`trio_ws:{=board:1}:messages`" in PAGE
    assert keys.stream("board:1") == "trio_ws:{=board:1}:messages"
    assert keys.message_key("board:1", "k").startswith("trio_ws:{=board:1}:key:")
    assert keys.news("board:1") == "trio_ws:{=board:1}:news"
    assert keys.stream(topic_of("%}")) == "trio_ws:{=%25%7D}:messages"
    assert topic_of("\0a") == "\0\0a"


def test_commands_of_the_page_are_complete() -> None:
    shell = next(each for each in blocks("console") if "trio-ws" in each)
    assert [line.split()[2] for line in shell.splitlines() if line.startswith("$")] == ["publish", "watch"]
    assert json.loads(shell.splitlines()[-1]) == {"done": "write"}


@pytest.mark.slow
@needs_redis
@needs_node
async def test_node_posts_as_on_the_page(names: dict[str, Any], tmp_path: Path) -> None:
    """With a signature; repeated, it is the same message."""
    (tmp_path / "post.mjs").write_text(next(each for each in blocks("js") if "post.mjs" in each), encoding="utf-8")
    app: App = names["app"]
    async with Way("poller").visit(app) as visitor:
        url = f"http://127.0.0.1:{visitor.server.port}/publish"
        answers = []
        for _ in range(2):
            command = [str(NODE), str(tmp_path / "post.mjs"), url, JOBS_SECRET, "board:1", "grüße", "job-1"]
            answers.append((await trio.run_process(command, capture_stdout=True)).stdout)
        assert answers[0] == answers[1]
        assert answers[0].startswith(b'200 {"id":')
        body = json.dumps({"room": "orders:7", "message": {"state": "sent"}}).encode()
        headers = {"Authorization": f"Bearer {SHOP_KEY}", "Content-Type": "application/json"}
        assert (await visitor.post("/publish", body, headers)).status == 200
