"""Files and streamed answers: pieces with backpressure, validators, ranges, folders, and what is not shown."""

from __future__ import annotations

import os
from collections.abc import AsyncGenerator
from contextlib import aclosing
from email.utils import formatdate
from pathlib import Path

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from trio_ws import App, Limits, Timeouts
from trio_ws.app.files import PIECE_BYTES, FileChanged, file_answer, type_of
from trio_ws.handler.service import Streamed
from trio_ws.headers import Headers

CONTENT = bytes(range(256)) * 4
MODIFIED = 1_700_000_000
LARGE = bytes(range(251)) * (3 * PIECE_BYTES // 251) + b"the end"


@pytest.fixture
def app(tmp_path: Path) -> App:
    (tmp_path / "deep" / "empty").mkdir(parents=True)
    (tmp_path / ".git").mkdir()
    for name, content in {
        "a.bin": CONTENT,
        "large.bin": LARGE,
        "empty.txt": b"",
        "index.html": b"top",
        "deep/index.html": b"deep",
        ".env": b"secret",
        ".git/config": b"secret",
    }.items():
        (tmp_path / name).write_bytes(content)
        os.utime(tmp_path / name, (MODIFIED, MODIFIED))
    (tmp_path / "link.txt").symlink_to(tmp_path / ".env")
    app = App()
    app.static("/files", tmp_path)
    app.page("/one", tmp_path / "a.bin")
    app.page("/dot", tmp_path / ".env")
    return app


# --- pieces ----------------------------------------------------------------------------------------------------------


async def test_a_large_file_comes_whole(app: App) -> None:
    async with app.test_client() as client:
        answer = await client.get("/files/large.bin")
        assert (answer.status, answer.body) == (200, LARGE)
        assert answer.headers["content-length"] == str(len(LARGE))


class Source:
    """Makes a page of many pieces, and counts those that were asked for."""

    def __init__(self, pieces: int, size: int = 10_000) -> None:
        self.app = App(
            limits=Limits(outbox_bytes=2 * size), timeouts=Timeouts(send_timeout=30, shutdown_grace=3, close_timeout=2)
        )
        self.app.page("/", lambda _: Streamed(length=pieces * size, pieces=self._pieces))
        self.asked = 0
        self.closed = trio.Event()
        self.failing: Exception | None = None
        self._count, self._size = pieces, size

    async def _pieces(self) -> AsyncGenerator[bytes, None]:
        try:
            for _ in range(self._count):
                self.asked += 1
                yield b"x" * self._size
                if self.failing is not None and self.asked == 50:
                    raise self.failing
        finally:
            self.closed.set()


async def asking(stream: trio.abc.Stream) -> int:
    """Ask for the page, and return how much of the body has come with the head."""
    await stream.send_all(b"GET / HTTP/1.1\r\nHost: testserver\r\n\r\n")
    got = b""
    while b"\r\n\r\n" not in got:
        data = await stream.receive_some(1000)
        assert data
        got += data
    return len(got.partition(b"\r\n\r\n")[2])


async def rest_of(stream: trio.abc.Stream) -> int:
    count = 0
    while data := await stream.receive_some(100_000):
        count += len(data)
    return count


async def test_no_more_is_made_than_the_client_takes(autojump_clock) -> None:
    source = Source(1000)
    async with source.app.test_client() as client, client._listener.connect() as stream:
        body = await asking(stream)
        await wait_all_tasks_blocked()
        assert source.asked < 30
        assert body + await rest_of(stream) == 10_000_000
        assert source.asked == 1000


async def test_a_client_that_takes_nothing_is_dropped_after_send_timeout(autojump_clock) -> None:
    source = Source(1000)
    async with source.app.test_client() as client, client._listener.connect() as stream:
        began = trio.current_time()
        await asking(stream)
        await source.closed.wait()
        assert trio.current_time() - began == pytest.approx(30, abs=1)
        assert source.asked < 30


async def test_what_a_held_up_loop_has_not_seen_yet_counts_as_progress(mock_clock) -> None:
    """The deadline passes in the turn in which the client's reading arrives: it is looked at again."""
    source = Source(1000)
    async with source.app.test_client(timeout=1000) as client, client._listener.connect() as stream:
        body = await asking(stream)
        for _ in range(10):
            await wait_all_tasks_blocked()
            data = await stream.receive_some(30_000)
            body += len(data)
            mock_clock.jump(40)
            assert data
        mock_clock.autojump_threshold = 0
        assert body + await rest_of(stream) == 10_000_000


async def test_a_client_that_leaves_ends_the_making(autojump_clock) -> None:
    source = Source(1000)
    async with source.app.test_client() as client:
        async with client._listener.connect() as stream:
            await asking(stream)
        with trio.fail_after(1):
            await source.closed.wait()


async def test_a_body_that_fails_ends_the_connection_before_its_end(autojump_clock, caplog) -> None:
    source = Source(1000)
    source.failing = FileChanged("shorter")
    async with source.app.test_client() as client, client._listener.connect() as stream:
        assert await asking(stream) + await rest_of(stream) <= 500_000
    assert "error in the responder" in caplog.text


async def test_a_shutdown_lets_a_body_end_within_the_grace(autojump_clock) -> None:
    for patient, whole in ((True, True), (False, False)):
        source = Source(100)
        async with source.app.test_client() as client, client._listener.connect() as stream:
            body = await asking(stream)
            client.server.shutdown()
            if not patient:
                await trio.sleep(10)
            body += await rest_of(stream)
            assert (body == 1_000_000) is whole
        assert source.closed.is_set()


async def test_a_file_that_changes_before_it_is_sent_is_not_sent(tmp_path: Path) -> None:
    path = tmp_path / "large.bin"
    path.write_bytes(LARGE)
    answer = await file_answer(path, Headers(), allowed=lambda _: True)
    assert isinstance(answer, Streamed)
    path.write_bytes(LARGE[1:])
    with pytest.raises(FileChanged, match="has changed"):
        await anext(answer.pieces())


async def test_a_file_that_becomes_shorter_while_it_is_sent_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "large.bin"
    path.write_bytes(LARGE)
    answer = await file_answer(path, Headers(), allowed=lambda _: True)
    assert isinstance(answer, Streamed)
    async with aclosing(answer.pieces()) as pieces:
        assert len(await anext(pieces)) == PIECE_BYTES
        os.truncate(path, PIECE_BYTES)
        with pytest.raises(FileChanged, match="shorter"):
            await anext(pieces)


# --- conditions ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/files/a.bin", "/one", "/files/large.bin"])
async def test_what_the_client_has_is_not_sent_again(app: App, path: str) -> None:
    date = formatdate(MODIFIED, usegmt=True)
    async with app.test_client() as client:
        first = await client.get(path)
        tag = first.headers["etag"]
        assert first.headers["last-modified"] == date
        for name, value, status in (
            ("If-None-Match", tag, 304),
            ("If-None-Match", f'"other", W/{tag}', 304),
            ("If-None-Match", "*", 304),
            ("If-None-Match", '"other"', 200),
            ("If-Modified-Since", date, 304),
            ("If-Modified-Since", formatdate(MODIFIED + 5, usegmt=True), 304),
            ("If-Modified-Since", formatdate(MODIFIED - 5, usegmt=True), 200),
            ("If-Modified-Since", "yesterday", 200),
            ("If-Modified-Since", "Sat, 01 Jan 999999999999 00:00:00 GMT", 200),
        ):
            answer = await client.get(path, headers={name: value})
            assert (answer.status, len(answer.body)) == (status, len(first.body) if status == 200 else 0), value
            assert answer.headers["etag"] == tag
        # The tag counts, the date does not (RFC 9110 13.2.2).
        answer = await client.get(path, headers={"If-None-Match": '"other"', "If-Modified-Since": date})
        assert answer.status == 200


async def test_a_changed_file_has_another_tag(app: App, tmp_path: Path) -> None:
    async with app.test_client() as client:
        before = (await client.get("/files/a.bin")).headers["etag"]
        (tmp_path / "a.bin").write_bytes(CONTENT[::-1])
        assert (await client.get("/files/a.bin", headers={"If-None-Match": before})).status == 200


# --- ranges ----------------------------------------------------------------------------------------------------------

SIZE = len(CONTENT)


@pytest.mark.parametrize(
    ("asked", "begin", "end"),
    [
        ("bytes=0-0", 0, 1),
        ("bytes=10-19", 10, 20),
        ("bytes=1000-", 1000, SIZE),
        ("bytes=1000-5000", 1000, SIZE),
        ("bytes=-24", SIZE - 24, SIZE),
        ("bytes=-5000", 0, SIZE),
        ("BYTES= 0-9 ", 0, 10),
    ],
)
async def test_a_range_is_a_206_with_its_bytes(app: App, asked: str, begin: int, end: int) -> None:
    async with app.test_client() as client:
        answer = await client.get("/files/a.bin", headers={"Range": asked})
        assert (answer.status, answer.body) == (206, CONTENT[begin:end])
        assert answer.headers["content-range"] == f"bytes {begin}-{end - 1}/{SIZE}"
        assert answer.headers["content-length"] == str(end - begin)


async def test_a_range_of_a_large_file_is_streamed(app: App) -> None:
    async with app.test_client() as client:
        answer = await client.get("/files/large.bin", headers={"Range": f"bytes=100-{len(LARGE) - 3}"})
        assert (answer.status, answer.body) == (206, LARGE[100:-2])


@pytest.mark.parametrize("asked", [f"bytes={SIZE}-", "bytes=99999-", "bytes=-0", f"bytes={SIZE}-{SIZE + 9}"])
async def test_a_range_with_nothing_of_the_file_is_a_416(app: App, asked: str) -> None:
    async with app.test_client() as client:
        answer = await client.get("/files/a.bin", headers={"Range": asked})
        assert (answer.status, answer.headers["content-range"]) == (416, f"bytes */{SIZE}")
        assert (await client.get("/files/empty.txt", headers={"Range": "bytes=0-"})).status == 416


@pytest.mark.parametrize(
    "asked",
    ["bytes=5-1", "bytes=a-b", "lines=1-2", "bytes=0-1,4-5", "bytes=-", "bytes=" + "9" * 5000 + "-", "bytes=٣-"],
)
async def test_a_range_that_is_none_gets_the_whole_file(app: App, asked: str) -> None:
    async with app.test_client() as client:
        header = asked.encode().decode("latin-1")
        answer = await client.get("/files/a.bin", headers={"Range": header})
        assert (answer.status, answer.body) == (200, CONTENT)


async def test_a_range_of_what_has_changed_gets_the_whole_file(app: App) -> None:
    async with app.test_client() as client:
        first = await client.get("/files/a.bin")
        tag, date = first.headers["etag"], first.headers["last-modified"]
        for value, status in ((tag, 206), (date, 206), (f"W/{tag}", 200), ('"other"', 200)):
            answer = await client.get("/files/a.bin", headers={"Range": "bytes=0-9", "If-Range": value})
            assert answer.status == status


async def test_head_has_the_length_and_no_body_and_no_range(app: App) -> None:
    async with app.test_client() as client:
        for path, length in (("/files/large.bin", len(LARGE)), ("/files/a.bin", SIZE)):
            async with client._listener.connect() as stream:
                await stream.send_all(f"HEAD {path} HTTP/1.1\r\nHost: testserver\r\nRange: bytes=0-9\r\n\r\n".encode())
                got = b""
                while data := await stream.receive_some(10_000):
                    got += data
            head, _, body = got.partition(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 200 ")
            assert f"content-length: {length}".encode() in head.lower()
            assert body == b""


# --- folders, and what is not shown ----------------------------------------------------------------------------------


async def test_a_folder_shows_its_index(app: App) -> None:
    async with app.test_client() as client:
        for path, text in (("/files/", "top"), ("/files/deep/", "deep")):
            answer = await client.get(path)
            assert (answer.status, answer.text) == (200, text)
            assert answer.headers["content-type"] == "text/html; charset=utf-8"
        for path in ("/files", "/files/deep"):
            answer = await client.get(f"{path}?a=1")
            assert (answer.status, answer.headers["location"]) == (307, f"{path}/?a=1")
        for path in ("/files/deep/empty", "/files/deep/empty/", "/files/a.bin/", "//files/deep"):
            assert (await client.get(path)).status == 404, path


async def test_names_that_begin_with_a_dot_are_not_shown(app: App) -> None:
    async with app.test_client() as client:
        for path in (".env", "%2eenv", ".git/config", "%2Egit/config", "deep/../.env", "link.txt", ".git/", ".git"):
            assert (await client.get(f"/files/{path}")).status == 404, path
        assert (await client.get("/dot")).text == "secret"  # asked for by name


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("app.js", "text/javascript; charset=utf-8"),
        ("app.mjs", "text/javascript; charset=utf-8"),
        ("app.js.gz", "application/gzip"),
        ("style.css.gz", "application/gzip"),
        ("all.tar.gz", "application/gzip"),
        ("all.tar.bz2", "application/x-bzip2"),
        ("all.tar.xz", "application/x-xz"),
        ("app.js.br", "application/octet-stream"),
        ("code.wasm", "application/wasm"),
        ("data.json", "application/json"),
        ("image.svg", "image/svg+xml"),
        ("PAGE.HTML", "text/html; charset=utf-8"),
        ("unknown", "application/octet-stream"),
    ],
)
def test_a_type_says_what_the_bytes_are(name: str, kind: str) -> None:
    assert type_of(name) == kind
