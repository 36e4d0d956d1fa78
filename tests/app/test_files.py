"""Files and streamed answers: pieces with backpressure, validators, ranges, folders, and what is not shown."""

from __future__ import annotations

import os
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from datetime import UTC, datetime
from email.utils import formatdate, parsedate_to_datetime
from functools import partial
from pathlib import Path

import pytest
import trio
from asgi.test_pages import ask, living
from support.internals import internal
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
    async with source.app.test_client() as client, await client.network.connect() as stream:
        body = await asking(stream)
        await wait_all_tasks_blocked()
        assert source.asked < 30
        assert body + await rest_of(stream) == 10_000_000
        assert source.asked == 1000


async def test_client_that_reads_nothing_is_dropped_after_send_timeout(autojump_clock) -> None:
    """A client that takes nothing is dropped after send_timeout."""
    source = Source(1000)
    async with source.app.test_client() as client, await client.network.connect() as stream:
        began = trio.current_time()
        await asking(stream)
        await source.closed.wait()
        assert trio.current_time() - began == pytest.approx(30, abs=1)
        assert source.asked < 30


async def test_what_a_held_up_loop_has_not_seen_yet_counts_as_progress(mock_clock) -> None:
    """The deadline passes in the turn in which the client's reading arrives: it is looked at again."""
    source = Source(1000)
    async with source.app.test_client(timeout=1000) as client, await client.network.connect() as stream:
        body = await asking(stream)
        for _ in range(10):
            await wait_all_tasks_blocked()
            data = await stream.receive_some(30_000)
            body += len(data)
            mock_clock.jump(40)
            assert data
        mock_clock.autojump_threshold = 0
        assert body + await rest_of(stream) == 10_000_000


async def test_a_streamed_answer_whose_status_has_no_body_is_a_500(caplog: pytest.LogCaptureFixture) -> None:
    """Its bytes would stand behind an answer that ends with its head (RFC 9110 6.4.1)."""
    source = Source(1)
    source.app.page("/none", lambda _: Streamed(status=204, length=10_000, pieces=internal(source, "_pieces")))
    async with source.app.test_client() as client:
        assert (await client.get("/none")).status == 500
    async with living(source.app):
        assert (await ask(source.app, "/none"))[0] == 500
    assert source.asked == 0


async def test_a_client_that_leaves_ends_the_making(autojump_clock) -> None:
    source = Source(1000)
    async with source.app.test_client() as client:
        async with await client.network.connect() as stream:
            await asking(stream)
        with trio.fail_after(1):
            await source.closed.wait()


async def test_a_body_that_fails_ends_the_connection_before_its_end(autojump_clock, caplog) -> None:
    source = Source(1000)
    source.failing = FileChanged("shorter")
    async with source.app.test_client() as client, await client.network.connect() as stream:
        assert await asking(stream) + await rest_of(stream) <= 500_000
    assert "error in the responder" in caplog.text


async def test_a_shutdown_lets_a_body_end_within_the_grace(autojump_clock) -> None:
    for patient, whole in ((True, True), (False, False)):
        source = Source(100)
        async with source.app.test_client() as client, await client.network.connect() as stream:
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


async def test_file_that_shrinks_during_sending_is_an_error(tmp_path: Path) -> None:
    """A file that becomes shorter while it is sent is an error."""
    path = tmp_path / "large.bin"
    path.write_bytes(LARGE)
    answer = await file_answer(path, Headers(), allowed=lambda _: True)
    assert isinstance(answer, Streamed)
    async with aclosing(answer.pieces()) as pieces:
        assert len(await anext(pieces)) == PIECE_BYTES
        os.truncate(path, PIECE_BYTES)
        with pytest.raises(FileChanged, match="shorter"):
            await anext(pieces)


async def test_a_file_that_is_rewritten_while_it_is_sent_is_an_error(tmp_path: Path) -> None:
    """Half of one version and half of another, of the same length, would pass for a whole file."""
    path = tmp_path / "large.bin"
    path.write_bytes(LARGE)
    os.utime(path, (MODIFIED, MODIFIED))
    answer = await file_answer(path, Headers(), allowed=lambda _: True)
    assert isinstance(answer, Streamed)
    async with aclosing(answer.pieces()) as pieces:
        assert len(await anext(pieces)) == PIECE_BYTES
        with path.open("r+b") as file:
            file.write(LARGE[::-1])
        with pytest.raises(FileChanged, match="has changed"):
            await anext(pieces)


async def test_a_file_in_place_of_another_is_not_sent(tmp_path: Path) -> None:
    """Its size and its time are the same."""
    path, other = tmp_path / "large.bin", tmp_path / "other.bin"
    for file in (path, other):
        file.write_bytes(LARGE)
        os.utime(file, (MODIFIED, MODIFIED))
    answer = await file_answer(path, Headers(), allowed=lambda _: True)
    assert isinstance(answer, Streamed)
    other.replace(path)
    with pytest.raises(FileChanged, match="another file"):
        await anext(answer.pieces())


async def test_a_file_that_grows_is_sent_as_long_as_it_was(tmp_path: Path) -> None:
    """A log grows all the time."""
    path = tmp_path / "large.bin"
    path.write_bytes(LARGE)
    answer = await file_answer(path, Headers(), allowed=lambda _: True)
    assert isinstance(answer, Streamed)
    got = b""
    async for piece in answer.pieces():
        got += piece
        with path.open("ab") as file:
            file.write(b"more")
    assert got == LARGE


def test_what_is_put_in_a_files_place_is_not_read(tmp_path: Path) -> None:
    """A folder on the way, or the file, becomes a link out, a FIFO or a folder between the look and the opening."""
    before = len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else 0
    for number, swap in enumerate((_link_folder, _link_file, _make_fifo, _make_folder)):
        root = tmp_path / str(number)
        (root / "public").mkdir(parents=True)
        (root / "secret").mkdir()
        (root / "public" / "a.txt").write_text("public")
        (root / "secret" / "a.txt").write_text("secret")

        def allowed(real: Path, swap: Callable[[Path], None] = swap, root: Path = root) -> bool:
            assert real == root / "public" / "a.txt"
            swap(root)
            return True

        answer = trio.run(partial(file_answer, root / "public" / "a.txt", Headers(), allowed=allowed))
        assert answer is None
    if before:
        assert len(os.listdir("/proc/self/fd")) == before


def _link_folder(root: Path) -> None:
    (root / "public").rename(root / "gone")
    (root / "public").symlink_to(root / "secret")


def _link_file(root: Path) -> None:
    (root / "public" / "a.txt").unlink()
    (root / "public" / "a.txt").symlink_to(root / "secret" / "a.txt")


def _make_fifo(root: Path) -> None:
    (root / "public" / "a.txt").unlink()
    os.mkfifo(root / "public" / "a.txt")


def _make_folder(root: Path) -> None:
    (root / "public" / "a.txt").unlink()
    (root / "public" / "a.txt").mkdir()


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


@pytest.mark.parametrize("path", ["/files/a.bin", "/files/large.bin"])
async def test_a_part_of_what_has_changed_is_a_412(app: App, path: str) -> None:
    """A download that goes on says of which file it has the beginning; half of another one would be of no use."""
    async with app.test_client() as client:
        tag = (await client.get(path)).headers["etag"]
        for name, value, status in (
            ("If-Match", tag, 206),
            ("If-Match", f'"other", {tag}', 206),
            ("If-Match", "*", 206),
            ("If-Match", '"other"', 412),
            ("If-Match", f"W/{tag}", 412),
            ("If-Match", f"{tag[:-1]}0", 412),
            ("If-Unmodified-Since", formatdate(MODIFIED, usegmt=True), 206),
            ("If-Unmodified-Since", formatdate(MODIFIED - 1, usegmt=True), 412),
            ("If-Unmodified-Since", "yesterday", 206),
        ):
            answer = await client.get(path, headers={name: value, "Range": "bytes=1-2"})
            assert (answer.status, len(answer.body)) == (status, 2 if status == 206 else 0), value
        # The tag counts, the date does not (RFC 9110 13.2.2).
        headers = {"If-Match": tag, "If-Unmodified-Since": formatdate(MODIFIED - 1, usegmt=True)}
        assert (await client.get(path, headers=headers)).status == 200


async def test_a_date_without_a_zone_is_in_utc(app: App, monkeypatch: pytest.MonkeyPatch) -> None:
    """RFC 9110 5.6.7: the form of asctime has none, and the machine's has nothing to do with it."""
    with monkeypatch.context() as patch:
        for zone in ("UTC-12", "UTC+12"):
            patch.setenv("TZ", zone)
            time.tzset()
            async with app.test_client() as client:
                for seconds, status in ((0, 304), (-60, 200)):
                    date = time.asctime(time.gmtime(MODIFIED + seconds))
                    assert (await client.get("/files/a.bin", headers={"If-Modified-Since": date})).status == status
    time.tzset()


async def test_a_file_of_tomorrow_is_not_newer_than_its_answer(app: App, tmp_path: Path) -> None:
    os.utime(tmp_path / "a.bin", (4_000_000_000, 4_000_000_000))
    async with app.test_client() as client:
        modified = (await client.get("/files/a.bin")).headers["last-modified"]
    assert parsedate_to_datetime(modified) <= datetime.now(UTC)


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
        (f"bytes=1000-{2**64 - 1}", 1000, SIZE),
        (f"bytes=-{2**64}", 0, SIZE),
        ("bytes=" + "0" * 60 + "1-2", 1, 3),
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


@pytest.mark.parametrize(
    "asked", [f"bytes={SIZE}-", "bytes=99999-", "bytes=-0", f"bytes={SIZE}-{SIZE + 9}", f"bytes={2**70}-"]
)
async def test_a_range_with_nothing_of_the_file_is_a_416(app: App, asked: str) -> None:
    async with app.test_client() as client:
        answer = await client.get("/files/a.bin", headers={"Range": asked})
        assert (answer.status, answer.headers["content-range"]) == (416, f"bytes */{SIZE}")
        assert (await client.get("/files/empty.txt", headers={"Range": "bytes=0-"})).status == 416
        assert (await client.get("/files/empty.txt", headers={"Range": "bytes=-5"})).status == 200


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
        fields = [("Range", "bytes=0-9"), ("If-Range", tag), ("If-Range", '"other"')]
        assert (await client.get("/files/a.bin", headers=fields)).status == 200


async def test_head_has_the_length_and_no_body_and_no_range(app: App) -> None:
    async with app.test_client() as client:
        for path, length in (("/files/large.bin", len(LARGE)), ("/files/a.bin", SIZE)):
            async with await client.network.connect() as stream:
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
