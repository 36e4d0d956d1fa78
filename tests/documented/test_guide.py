"""docs/guide.md does what it shows: its files are written as they stand there, and each of its commands is run."""

from __future__ import annotations

import importlib
import importlib.metadata
import re
import shlex
import sys
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import attrs
import pytest
import trio
import trustme
from examples.browser import browse, new_page
from examples.process import PATIENCE, Program, forked, launching, output_of_forked

from trio_ws import WebSocketDisconnect

ROOT = Path(__file__).parents[2]
GUIDE = (ROOT / "docs" / "guide.md").read_text(encoding="utf-8")
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
NAME = re.compile(r"(?:# |<!-- )([\w.]+)(?:, continued)?(?: -->)?\n")
INSTALL = "python -m pip install "
PYTHON = re.compile(r"python (\w+\.py|-m \w+.*)")
CONNECT = re.compile(r"(?:echo(.*) \| )?(trio-ws connect .*?)(?: < /dev/null)?")


@attrs.frozen
class Step:
    """A command of the guide, and what it is said to write."""

    command: str
    shown: str

    @property
    def serves(self) -> bool:
        """Whether it goes on while other commands are run."""
        return self.shown.startswith("listening on ")


def files() -> dict[str, str]:
    """Return the files of the guide; one that is continued is written as a whole."""
    found: dict[str, str] = {}
    for language, body in FENCE.findall(GUIDE):
        if language != "console":
            name = NAME.match(body)
            assert name is not None, f"a file that has no name: {body}"
            found[name[1]] = found.get(name[1], "") + body + "\n\n"
    return found


def steps() -> list[Step]:
    """Return the commands of the guide in their order."""
    text = "".join(body for language, body in FENCE.findall(GUIDE) if language == "console")
    parts = [part.partition("\n") for part in re.split(r"^\$ ", text, flags=re.MULTILINE)[1:]]
    return [Step(command, shown) for command, _, shown in parts]


class Reader:
    """Somebody who follows the guide, with one terminal for servers and one for everything else.

    Args:
        folder: where they do it.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.server: Program | None = None
        self._port = ""
        self._stack = AsyncExitStack()

    async def follow(self, step: Step) -> None:
        """Run one command, and look whether it writes what is shown."""
        if step.serves:
            await self.leave()
            words = self._serving(step.command)
            self.server = await self._stack.enter_async_context(forked(words, self.folder))
            self._port = (await self.server.address()).rpartition(":")[2]
            await self.server.until(self._here(step.shown).splitlines()[-1] + "\n")
            assert self.server.output == self._here(step.shown)
            self._write()
        else:
            written = await self._output_of(self._here(step.command))
            assert _timeless(written) == self._here(_timeless(step.shown))

    async def leave(self) -> None:
        """Press Ctrl-C in the server's terminal."""
        if self.server is not None:
            assert await self.server.interrupt() == 0
            self.server = None
        await self._stack.aclose()

    async def _output_of(self, command: str) -> str:
        """Run what a command of a shell starts, without the shell, and without an interpreter for each."""
        if (program := PYTHON.fullmatch(command)) is not None:
            return await output_of_forked(shlex.split(program[1]), self.folder)
        client = CONNECT.fullmatch(command)
        assert client is not None, command
        given = " ".join(shlex.split(client[1])) + "\n" if "|" in command else ""
        return await output_of_forked(shlex.split(client[2]), self.folder, given.encode())

    def _serving(self, command: str) -> list[str]:
        """Return the command that serves as the guide's does, but on a free port of 127.0.0.1."""
        words = shlex.split(command)
        if words[0] == "python":
            return launching(self.folder / words[1])
        if "--port" in words:
            words[words.index("--port") + 1] = "0"
        else:
            words += ["--host", "127.0.0.1", "--port", "0"]
        return words

    def _here(self, text: str) -> str:
        """Return what is written in the guide with the port that the server has got."""
        text = text.replace("//localhost:8000/", f"//127.0.0.1:{self._port}/")
        return re.sub(r"(?<=\d:|t:)(8000|443)\b", self._port, text)

    def _write(self) -> None:
        """Write the client of the first server, which has the port in it; later ones watch the folder."""
        client = self.folder / "client.py"
        if not client.exists():
            client.write_text(self._here(files()["client.py"]), encoding="utf-8")


def _timeless(text: str) -> str:
    return re.sub(r"in \d+\.\d+s", "in no time", text)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the files of the guide."""
    for name, content in files().items():
        if name != "client.py":
            (tmp_path / name).write_text(content, encoding="utf-8")
    # Another plugin that is installed here for other tests must not take theirs from pytest-trio.
    # It is forked from a process that has imported plugins, which cannot be rewritten any more.
    rewritten = "-W ignore::pytest.PytestAssertRewriteWarning"
    monkeypatch.setenv("PYTEST_ADDOPTS", f"-p no:anyio -p no:cacheprovider -W error {rewritten}")
    return tmp_path


@pytest.fixture
def imported(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A function that imports one of the files."""
    monkeypatch.syspath_prepend(str(folder))
    for name in ("tour", "chat"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    yield importlib.import_module
    for name in ("tour", "chat"):
        sys.modules.pop(name, None)


@asynccontextmanager
async def reader_in(folder: Path) -> AsyncGenerator[Reader, None]:
    reader = Reader(folder)
    try:
        yield reader
    finally:
        with trio.CancelScope(shield=True):
            await reader.leave()


async def test_each_command_writes_what_is_shown(folder: Path) -> None:
    certificate = trustme.CA().issue_cert("localhost")
    certificate.private_key_pem.write_to_path(folder / "key.pem")
    certificate.cert_chain_pems[0].write_to_path(folder / "cert.pem")
    followed = [step for step in steps() if not step.command.startswith(INSTALL)]
    with trio.fail_after(3 * PATIENCE):
        async with reader_in(folder) as reader:
            for step in followed:
                await reader.follow(step)
    assert len(followed) > 10


def test_documented_requirements_are_those_installed_here() -> None:
    """What is to be installed is what these tests have installed."""
    first = steps()[0].command
    assert first.startswith(INSTALL)
    assert all(importlib.metadata.version(name) for name in first.removeprefix(INSTALL).split())
    required = importlib.metadata.metadata("trio-ws")["Requires-Python"]
    assert f"Python {required.removeprefix('>=')} or newer" in GUIDE


async def test_the_clock_stops_when_nobody_looks(imported: Any, capsys, autojump_clock) -> None:
    async with imported("tour").app.test_client() as client:
        async with client.websocket_connect("/clock") as ws:
            assert float(await ws.receive()) + 1 == float(await ws.receive())
    assert capsys.readouterr().out == "nobody looks at this clock any more\n"


async def test_a_visitor_who_left_is_noted_with_the_code(imported: Any, capsys) -> None:
    async with imported("tour").app.test_client() as client:
        async with client.websocket_connect("/support") as ws:
            await ws.receive()
            await ws.close(4000)
    assert capsys.readouterr().out == "a visitor left with 4000\n"


async def test_unexpected_error_ends_its_own_connection_with_1011(imported: Any) -> None:
    """An error that nobody foresaw ends its own connection with 1011."""
    client = imported("tour").app.test_client(raise_server_errors=False)
    async with client, client.websocket_connect("/sum") as other:
        async with client.websocket_connect("/sum") as ws:
            await ws.send("1")
            with pytest.raises(WebSocketDisconnect, match="1011"):
                await ws.receive()
        await other.send("[1]")
        assert await other.receive() == '{"sum":1}'


def test_the_page_shows_what_is_said_in_both_windows_as_text(imported: Any) -> None:
    seen: list[list[str]] = []

    def visit(running: Any, url: str) -> None:
        pages = [new_page(running) for _ in range(2)]
        for (page, _), name in zip(pages, ("Ada", "Grace"), strict=True):
            page.goto(f"{url}/?user={name}")
            page.wait_for_function("() => ws.readyState === WebSocket.OPEN")
        for (page, _), text in zip(pages, ("<b>tea</b>?", "yes"), strict=True):
            page.fill("#text", text)
            page.click("button")
            for each, _ in pages:
                each.locator("li", has_text=text).wait_for()
        seen.extend(page.locator("li").all_text_contents() for page, _ in pages)
        seen.extend(complaints for _, complaints in pages)

    browse(imported("chat").app, visit)
    said = ["Ada: <b>tea</b>?", "Grace: yes"]
    assert seen == [said, said, [], []]
