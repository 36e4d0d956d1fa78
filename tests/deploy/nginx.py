"""nginx on this machine, with the configuration of the documentation: only paths, ports and times are others."""

from __future__ import annotations

import socket
import subprocess
from collections.abc import AsyncGenerator, Iterable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import BinaryIO

import pytest
import trio
import trustme
from support import services

NGINX = services.NGINX.program
DEPLOY = Path(__file__).parents[2] / "docs" / "deploy"
PATIENCE = 120.0
"""Seconds for what takes much less than one."""
ATTEMPTS = 5
"""Somebody else may take the port that was free."""

needs_nginx = pytest.mark.skipif(NGINX is None, reason=services.NGINX.reason)

AROUND = """
daemon off;
master_process off;
pid {folder}/pid;
error_log {folder}/error.log;
events {{}}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    include {folder}/chat.conf;
}}
"""
"""What /etc/nginx/nginx.conf is elsewhere."""


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        port: int = sock.getsockname()[1]
        return port


def substituted(text: str, changes: dict[str, str]) -> str:
    """Return `text` with each key, which must be in it, replaced."""
    for old, new in changes.items():
        assert old in text, f"{old!r} is not in the file any more"
        text = text.replace(old, new)
    return text


def write_files(folder: Path, authority: trustme.CA, changes: dict[str, str]) -> None:
    """Write what nginx reads."""
    certificate = authority.issue_cert("localhost", "127.0.0.1")
    certificate.cert_chain_pems[0].write_to_path(folder / "fullchain.pem")
    certificate.private_key_pem.write_to_path(folder / "privkey.pem")
    text = substituted((DEPLOY / "nginx.conf").read_text(encoding="utf-8"), {"/etc/ssl/chat": str(folder), **changes})
    (folder / "chat.conf").write_text(text, encoding="utf-8")
    (folder / "nginx.conf").write_text(AROUND.format(folder=folder), encoding="utf-8")


def complaints_of(folder: Path) -> BinaryIO:
    """Open what nginx writes to until it has read its configuration."""
    return (folder / "stderr").open("wb")


def _address(upstream: int | str) -> str:
    return upstream if isinstance(upstream, str) else f"127.0.0.1:{upstream}"


@asynccontextmanager
async def nginx(
    folder: Path, authority: trustme.CA, *upstreams: int | str, read_timeout: str = "60s", without: Iterable[str] = ()
) -> AsyncGenerator[int, None]:
    """Run nginx in front of one or two servers for as long as the block runs; return its port, which is TLS's.

    Args:
        folder: for its files.
        authority: signs its certificate.
        upstreams: ports of servers, or Unix sockets as nginx writes them.
        read_timeout: another `proxy_read_timeout`.
        without: text that is taken out of the configuration, to see what it is there for.
    """
    assert NGINX is not None
    for attempt in range(ATTEMPTS):
        port = free_port()
        changes = {
            "listen 443": f"listen 127.0.0.1:{port}",
            "127.0.0.1:8001": _address(upstreams[0]),
            "127.0.0.1:8002": _address(upstreams[-1]),
            "proxy_read_timeout 60s": f"proxy_read_timeout {read_timeout}",
        }
        write_files(folder, authority, changes | dict.fromkeys(without, ""))
        command = [NGINX, "-p", str(folder), "-c", f"{folder}/nginx.conf"]
        with complaints_of(folder) as said:
            process = await trio.lowlevel.open_process(command, stdin=subprocess.DEVNULL, stderr=said)
        try:
            if await listens(process, port):
                yield port
                return
        finally:
            with trio.CancelScope(shield=True):
                process.kill()
                await process.wait()
        assert attempt < ATTEMPTS - 1, (folder / "stderr").read_text(encoding="utf-8")


async def listens(process: trio.Process, port: int) -> bool:
    """Wait until a process listens on a port; return False if it has ended instead."""
    with trio.fail_after(PATIENCE):
        while process.returncode is None:
            try:
                stream = await trio.open_tcp_stream("127.0.0.1", port)
            except OSError:
                await trio.sleep(0.01)
            else:
                await stream.aclose()
                return True
    return False
