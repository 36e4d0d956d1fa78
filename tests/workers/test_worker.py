"""The worker's side of the link: what it reports, and what it does when nobody is at the other end."""

from __future__ import annotations

import os
import signal
import socket
from pathlib import Path

import pytest
import trio
from support.internals import internal

from tests.testing.responders import Routes, echo
from trio_ws import Server, WebSocketDisconnect, open_websocket
from trio_ws.cli import worker as worker_module
from trio_ws.cli.reload import NO_GRACE_SIGNAL, RESTART_SIGNAL
from trio_ws.cli.worker import serve_as_worker
from trio_ws.runtime.command import WORKER_VARIABLE
from trio_ws.testing.network import MemoryListener
from trio_ws.transport.listeners import close_listener, inherit, owned_path
from trio_ws.transport.unix_sockets import bind_unix

Worker = internal(worker_module, "_Worker")

BOUND = 120


class Link:
    """A worker in this process, and the supervisor's end of the link to it."""

    def __init__(self) -> None:
        self.listener = MemoryListener()
        self.ours, theirs = socket.socketpair()
        self._theirs = theirs.detach()
        self.server = Server(Routes({"/": echo}))
        self.rest = b""

    async def run(self) -> None:
        async def serve(*, task_status) -> None:
            await self.server.serve([self.listener], task_status=task_status)

        await serve_as_worker(serve, self._theirs)

    async def report(self) -> str:
        """Return the next report."""
        with trio.fail_after(BOUND):
            stream = trio.socket.from_stdlib_socket(self.ours.dup())
            with stream:
                while b"\n" not in self.rest:
                    self.rest += await stream.recv(1)
        line, _, self.rest = self.rest.partition(b"\n")
        return line.decode()

    def connect(self):
        return open_websocket("ws://here/", stream=self.listener.connect(), when_peer_leaves="finish")


@pytest.fixture
def link(monkeypatch):
    monkeypatch.setattr("trio_ws.cli.worker._prepare", lambda link: None)  # the process is pytest's here
    monkeypatch.setattr("trio_ws.cli.worker.HEARTBEAT_SECONDS", 0.05)
    monkeypatch.setenv(WORKER_VARIABLE, "7")
    made = Link()
    yield made
    made.ours.close()


async def test_it_reports_that_it_is_ready_and_then_that_it_is_alive(link) -> None:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(link.run)
        seen = [await link.report() for _ in range(6)]
        signal.raise_signal(signal.SIGTERM)
    assert seen.count(f"ready {link.server.max_shutdown_seconds}") == 1
    assert seen.count("alive") == 5


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, "1001"), (RESTART_SIGNAL, "1012")])
async def test_signals_mean_close_codes(link, number, code, capsys) -> None:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(link.run)
        async with link.connect() as ws:
            signal.raise_signal(number)
            with pytest.raises(WebSocketDisconnect, match=code):
                await ws.receive()
    assert capsys.readouterr().err == f"worker 7 (pid {os.getpid()}): shutting down: 1 connection\n"


async def test_once_it_shuts_down_only_one_signal_hurries_it(link, capsys) -> None:
    """A process manager may tell every process what the supervisor passes on, too."""
    began = trio.Event()

    async def stubborn(ws) -> None:
        began.set()
        await trio.sleep_forever()

    link.server = Server(Routes({"/": stubborn}, when_peer_leaves="finish"))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(link.run)
        async with link.connect() as ws:
            await began.wait()
            for number in (signal.SIGTERM, signal.SIGTERM, RESTART_SIGNAL, signal.SIGINT):
                signal.raise_signal(number)
            with pytest.raises(WebSocketDisconnect, match="1001"):
                await ws.receive()
            await trio.sleep(0.1)
            assert link.server.statistics().connections == 1
            signal.raise_signal(NO_GRACE_SIGNAL)
    assert capsys.readouterr().err.endswith(": ended by SIGUSR2\n")


async def test_signals_that_a_slow_worker_finds_at_once_have_no_order(link, capsys) -> None:
    async def stubborn(ws) -> None:
        await trio.sleep_forever()

    link.server = Server(Routes({"/": stubborn}, when_peer_leaves="finish"))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(link.run)
        async with link.connect() as ws:
            for number in (NO_GRACE_SIGNAL, signal.SIGTERM):
                signal.raise_signal(number)
            with pytest.raises(WebSocketDisconnect, match="1001"):
                await ws.receive()
    assert capsys.readouterr().err.endswith(": ended by SIGUSR2\n")


async def test_the_end_of_the_supervisor_is_a_graceful_shutdown(link, capsys) -> None:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(link.run)
        async with link.connect() as ws:
            link.ours.close()
            with pytest.raises(WebSocketDisconnect, match="1001"):
                await ws.receive()
    assert ": the supervisor has ended, shutting down\n" in capsys.readouterr().err


async def test_a_link_that_is_reset_is_the_end_of_the_supervisor_too(link, monkeypatch) -> None:
    class Reset:
        async def recv(self, size: int) -> bytes:
            raise ConnectionResetError

    killed = []
    monkeypatch.setattr("os.kill", lambda *call: killed.append(call))
    await Worker(Reset()).end_when_orphaned()
    assert killed == [(os.getpid(), signal.SIGTERM)]


async def test_a_supervisor_that_reads_nothing_is_not_waited_for(link) -> None:
    with pytest.raises(BlockingIOError):
        link.ours.setblocking(False)
        os.set_blocking(link._theirs, False)
        while True:
            os.write(link._theirs, b"x" * 1000)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(link.run)
        async with link.connect() as ws:
            await ws.send("hello")
            assert await ws.receive() == "hello"
        signal.raise_signal(signal.SIGTERM)


async def test_what_the_application_raises_is_raised(link) -> None:
    async def fail(*, task_status) -> None:
        raise LookupError("no such table")

    with pytest.raises(LookupError, match="no such table"):
        await serve_as_worker(fail, link._theirs)


# --- inherited sockets ------------------------------------------------------------------------------------------------


async def test_closing_an_inherited_unix_socket_leaves_its_path(tmp_path: Path) -> None:
    theirs = bind_unix(tmp_path / "s")
    ours = inherit(os.dup(theirs.fileno()))
    assert not ours.get_inheritable()
    owned = owned_path(theirs)
    assert owned is not None
    assert (owned_path(ours), owned.path) == (None, str(tmp_path / "s"))
    await close_listener(ours)
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(tmp_path / "s"))
    await close_listener(theirs)
    assert os.listdir(tmp_path) == []


async def test_path_of_a_later_server_is_left_alone(tmp_path: Path) -> None:
    """It has replaced that of a server which does not listen any more, and still shuts down."""
    first = bind_unix(tmp_path / "s")
    owned = owned_path(first)
    assert owned is not None
    first.shutdown(socket.SHUT_RDWR)  # it refuses connections, and is still open
    second = bind_unix(tmp_path / "s")
    await close_listener(first)
    owned.remove()
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(tmp_path / "s"))
    await close_listener(second)
    assert os.listdir(tmp_path) == []


@pytest.mark.skipif(not os.path.exists("/proc/net/unix"), reason="names without a path are Linux's")
async def test_a_unix_socket_without_a_path_has_none_to_remove() -> None:
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(f"\0trio-ws-{os.getpid()}")
        sock.listen()
        assert owned_path(sock) is None


@pytest.mark.parametrize("kind", [socket.SOCK_STREAM, socket.SOCK_DGRAM])
def test_what_does_not_listen_is_refused_and_stays_open(kind) -> None:
    with socket.socket(socket.AF_INET, kind) as sock:
        with pytest.raises(OSError, match="no listening stream socket"):
            inherit(sock.fileno())
        assert sock.getsockname()


def test_a_descriptor_that_is_none_is_refused() -> None:
    with pytest.raises(OSError, match="Bad file descriptor"):
        inherit(10**6)
