"""docs/deploy/chat@.service: systemd understands it, and its command does, behind nginx, what it says."""

from __future__ import annotations

import configparser
import re
import shlex
import shutil
import signal
import ssl
import subprocess
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio
import trustme
from examples.process import Program, forked

from trio_ws import Timeouts, WebSocketDisconnect, open_websocket

from .nginx import DEPLOY, PATIENCE, needs_nginx, nginx, substituted

UNIT = DEPLOY / "chat@.service"
PAGE = DEPLOY.with_name("deploy.md").read_text(encoding="utf-8")
COMMAND = "/srv/chat/.venv/bin/trio-ws"
HERE = str(Path(sys.executable).with_name("trio-ws"))


def service() -> configparser.SectionProxy:
    parser = configparser.RawConfigParser()
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    parser.read_string(UNIT.read_text(encoding="utf-8"))
    return parser["Service"]


def complaints(folder: Path, changes: dict[str, str]) -> list[str]:
    """Return what systemd finds wrong with the unit after some changes."""
    (folder / UNIT.name).write_text(substituted(UNIT.read_text(encoding="utf-8"), changes), encoding="utf-8")
    instance = UNIT.name.replace("@", "@8001")
    command = ["systemd-analyze", "verify", str(folder / instance)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=PATIENCE)
    return [line for line in (done.stdout + done.stderr).splitlines() if UNIT.name in line or instance in line]


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze is not installed here")
def test_systemd_understands_it(tmp_path: Path) -> None:
    if not complaints(tmp_path, {COMMAND: HERE, "KillMode=": "KillModus="}):
        pytest.skip("systemd-analyze finds nothing wrong with anything here")
    assert complaints(tmp_path, {COMMAND: HERE}) == []


def test_it_waits_longer_than_the_defaults_need_before_it_kills() -> None:
    timeouts = Timeouts()
    needed = timeouts.shutdown_grace + timeouts.cleanup_timeout + timeouts.close_timeout
    assert float(service()["TimeoutStopSec"]) > needed


@asynccontextmanager
async def process(folder: Path) -> AsyncGenerator[tuple[Program, int], None]:
    """Run the unit's command with the application of the page, as systemd would for one instance."""
    (program,) = re.findall(r"^```python\n(# chat.py\n.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    (folder / "chat.py").write_text(program, encoding="utf-8")
    words = shlex.split(substituted(service()["ExecStart"], {COMMAND: HERE, "%i": "0"}))  # any port that is free
    assert words[0] == HERE
    async with forked(["trio-ws", *words[1:]], folder) as started:
        host, _, port = (await started.address()).partition(":")
        assert host == "127.0.0.1"
        yield started, int(port)


@needs_nginx
async def test_command_serves_behind_nginx_and_signal_closes_with_1001(
    tmp_path: Path, authority: trustme.CA, client_tls: ssl.SSLContext
) -> None:
    """Its command serves behind nginx and its signal tells every client 1001."""
    with trio.fail_after(PATIENCE):
        async with process(tmp_path) as (chat, port), nginx(tmp_path, authority, port) as front:
            url = f"wss://127.0.0.1:{front}/chat/tea?user=Ada"
            origin = f"https://127.0.0.1:{front}"
            async with open_websocket(
                url, ssl_context=client_tls, origin=origin, receive_type="json", send_type="json", caught_close_codes=()
            ) as ws:
                await ws.send("hello")
                assert await ws.receive() == {"user": "Ada", "message": "hello"}
                chat.signal(signal.Signals[service()["KillSignal"]])
                with pytest.raises(WebSocketDisconnect) as caught:
                    await ws.receive()
                assert caught.value.code == 1001
                await ws.ensure_closed()
            assert await chat.ended() == 0


async def test_each_process_shows_its_figures_on_its_own_port(tmp_path: Path) -> None:
    with trio.fail_after(PATIENCE):
        async with process(tmp_path) as (chat, port):
            async with open_websocket(f"ws://127.0.0.1:{port}/chat/tea"):
                async with await trio.open_tcp_stream("127.0.0.1", port) as stream:
                    await stream.send_all(b"GET /metrics HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
                    text = b"".join([piece async for piece in stream]).decode()
            assert "\ntrio_ws_websockets 1.0\n" in text
            chat.signal(signal.SIGTERM)
            assert await chat.ended() == 0


def test_the_ports_of_the_page_are_those_of_nginx() -> None:
    ports = re.findall(r"server 127\.0\.0\.1:(\d+);", (DEPLOY / "nginx.conf").read_text(encoding="utf-8"))
    assert re.search(r"targets: \[(.*)\]", PAGE)[1] == ", ".join(f'"127.0.0.1:{port}"' for port in ports)  # type: ignore[index]
    assert f"systemctl enable --now {' '.join(f'chat@{port}' for port in ports)} " in PAGE
