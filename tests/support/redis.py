"""A Redis, or a Valkey, of a test's own: on a Unix socket, with its data in a folder of its own, killed at the end."""

from __future__ import annotations

import gc
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import pytest
import trio

from support import services

PROGRAM = os.environ.get("TRIO_WS_REDIS_SERVER") or services.REDIS.program
"""What the tests start; the variable names another one, to run all of them on that."""
VALKEY = shutil.which("valkey-server")
needs_redis = pytest.mark.skipif(PROGRAM is None, reason=services.REDIS.reason)

# A connection that coredis could not establish is left to the garbage collector with its memory streams open, and under
# `-W error` that is an error in whatever test runs then. Nothing of ours is among them. So modules in which connections
# fail let these warnings pass, and see that they come before the tests of the next module.
forgives_coredis = pytest.mark.filterwarnings(
    "ignore:Unclosed <MemoryObject:ResourceWarning",
    "ignore:Exception ignored in. <function MemoryObject:pytest.PytestUnraisableExceptionWarning",
)
collects_coredis = pytest.mark.usefixtures("coredis_is_collected")


@pytest.fixture(scope="module")
def coredis_is_collected() -> Iterator[None]:
    """Collect garbage when the module, and all that its tests hold, is over."""
    yield
    gc.collect()


class RedisServer:
    """Start it with `start`.

    Args:
        options: of the command line, beside those that are always given; `--port 0` among the latter.
        configuration: a file to read, which a Sentinel needs.
        program: that of Redis, or of what speaks like it.
    """

    def __init__(self, *options: str, configuration: Path | None = None, program: str | None = PROGRAM) -> None:
        self._program = program
        self._configuration = [] if configuration is None else [str(configuration)]
        self.folder = Path(tempfile.mkdtemp(prefix="trio-ws-redis-"))
        self.socket = self.folder / "socket"
        self.url = f"unix://{self.socket}"
        self.options: list[str] = [*options]
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it, and wait until it answers; skip the test that asks for it where there is none."""
        if self._program is None:
            pytest.skip(services.REDIS.reason)
        always = [
            "--port",
            "0",
            "--unixsocket",
            str(self.socket),
            "--dir",
            str(self.folder),
            "--save",
            "",
            *self.options,
        ]
        log = (self.folder / "log").open("ab")
        with log:
            self._process = subprocess.Popen([self._program, *self._configuration, *always], stdout=log, stderr=log)
        deadline = time.monotonic() + 20
        while True:
            try:
                answer = self.ask("PING")
            except OSError:
                answer = ""
            if answer.startswith(("+PONG", "-NOAUTH")):
                return
            if time.monotonic() > deadline or self._process.poll() is not None:
                raise RuntimeError(f"{self._program} did not start: {(self.folder / 'log').read_text()}")
            time.sleep(0.02)

    def kill(self) -> None:
        """End it with SIGKILL."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None
            self.socket.unlink(missing_ok=True)

    def stop(self) -> None:
        """Let it do nothing until `go_on`, as on a machine that is too busy. It may be killed meanwhile."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def go_on(self) -> None:
        """Let it run again after `stop`."""
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    def ask(self, command: str) -> str:
        """Send one command in its inline form, and return what comes first."""
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(20)
            connection.connect(str(self.socket))
            connection.sendall(command.encode() + b"\r\n")
            return connection.recv(65536).decode()

    @contextmanager
    def command(self, command: str) -> Iterator[None]:
        """Send one command in its inline form, whose answer comes during the block or later, and is not waited for."""
        with socket.socket(socket.AF_UNIX) as connection:
            connection.connect(str(self.socket))
            connection.sendall(command.encode() + b"\r\n")
            yield

    def close(self) -> None:
        self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)


@contextmanager
def redis_server(
    *options: str, configuration: Path | None = None, program: str | None = PROGRAM
) -> Iterator[RedisServer]:
    """Run a Redis for a block."""
    server = RedisServer(*options, configuration=configuration, program=program)
    try:
        server.start()
        yield server
    finally:
        server.close()


class Line:
    """A line to a Redis, which can be cut: connections end, and further ones are refused, or are silent."""

    def __init__(self, server: RedisServer, path: Path) -> None:
        self._server = server
        self._path = path
        self.url = f"unix://{path}"
        self._connections = trio.CancelScope()
        self._flows = trio.Event()
        self._flows.set()
        self.cut = False
        self.delay = 0.0
        self.deaf = False
        """Whether what Redis says is dropped, while it hears everything."""
        self.stuck = False
        """Whether connections carry nothing more once somebody subscribes to a channel over them."""

    def cut_off(self) -> None:
        """End all connections, and let no other be made."""
        self.cut = True
        self._connections.cancel()

    def mend(self) -> None:
        self.cut = False

    def hold(self) -> None:
        """Let nothing through, without a word."""
        self._flows = trio.Event()

    def let_go(self) -> None:
        self._flows.set()

    async def serve(self, *, task_status: trio.TaskStatus[None]) -> None:
        listener = trio.socket.socket(trio.socket.AF_UNIX)
        with listener:
            await listener.bind(str(self._path))
            listener.listen(100)
            task_status.started()
            while True:
                with trio.CancelScope() as self._connections:
                    async with trio.open_nursery() as nursery:
                        while True:
                            connection, _ = await listener.accept()
                            if self.cut:
                                connection.close()
                            else:
                                nursery.start_soon(self._carry, trio.SocketStream(connection))

    async def _carry(self, near: trio.SocketStream) -> None:
        async with near:
            try:
                far = await trio.open_unix_socket(str(self._server.socket))
            except OSError:
                return
            async with far, trio.open_nursery() as nursery:
                nursery.start_soon(self._copy, near, far, nursery.cancel_scope, False)
                nursery.start_soon(self._copy, far, near, nursery.cancel_scope, True)

    async def _copy(
        self, source: trio.SocketStream, sink: trio.SocketStream, over: trio.CancelScope, answers: bool
    ) -> None:
        try:
            async for data in source:
                await trio.sleep(self.delay)
                await self._flows.wait()
                if self.stuck and b"SUBSCRIBE" in data:
                    await trio.sleep_forever()
                if not (answers and self.deaf):
                    await sink.send_all(data)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            pass
        over.cancel()


@asynccontextmanager
async def line_to(server: RedisServer) -> AsyncIterator[Line]:
    """Lay a line for a block."""
    line = Line(server, server.folder / f"line-{time.monotonic_ns()}")
    async with trio.open_nursery() as nursery:
        await nursery.start(line.serve)
        yield line
        nursery.cancel_scope.cancel()


async def until(condition: Callable[[], object]) -> None:
    """Wait until a condition holds."""
    with trio.fail_after(30):
        while not condition():
            await trio.sleep(0.01)
