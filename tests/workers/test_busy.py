"""SIGTERM to a server with 300 connections at work: close frames for all, nothing lost that `send` had accepted."""

from __future__ import annotations

import base64
import json
import resource
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import trio

from trio_ws.testing import Opcode, frame_bytes
from trio_ws.testing.raw_reader import RawFrameReader, RawFrameRules

CONNECTIONS = 300
DESCRIPTORS = CONNECTIONS + 100
ROOT = Path(__file__).parents[2]
BOUND = 20 + 5 + 20 + 1
"""Seconds; what `max_shutdown_seconds` is with the settings of `busy`, of which it takes a few."""
RECEIVE_BYTES = 8 * 1024
"""What the kernel keeps for a client that does not read: the rest stays with the server."""


@pytest.fixture
def descriptors():
    """Enough of them, for the server too, which inherits the limit."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < DESCRIPTORS:
        if hard < DESCRIPTORS:
            pytest.skip(f"a process may have {hard} descriptors here, {DESCRIPTORS} are needed")
        resource.setrlimit(resource.RLIMIT_NOFILE, (DESCRIPTORS, hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


class Client:
    """One of many. What it has received is read by a frame codec that is not the library's."""

    def __init__(self, path: str, stream: trio.SocketStream) -> None:
        self.path = path
        self.stream = stream
        self.received = 0
        """Text messages so far, whose numbers were as they should be."""
        self.code: int | None = None
        """That of the close frame."""
        self._reader = RawFrameReader(RawFrameRules(masked=False))

    @classmethod
    async def connect(cls, address: tuple[str, int], path: str) -> Client:
        sock = trio.socket.socket()
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BYTES)
        await sock.connect(address)
        client = cls(path, trio.SocketStream(sock))
        key = base64.b64encode(path.ljust(16).encode()).decode()
        await client.stream.send_all(
            f"GET {path} HTTP/1.1\r\nHost: here\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            f"Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n\r\n".encode()
        )
        data = b""
        while b"\r\n\r\n" not in data:
            data += await client.stream.receive_some()
        head, _, rest = data.partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 101 ")
        client._take(rest)
        return client

    def _take(self, data: bytes) -> None:
        self._reader.feed(data)
        while (frame := self._reader.next_frame()) is not None:
            if frame.opcode == Opcode.CLOSE:
                self.code = int.from_bytes(frame.payload[:2])
            else:
                assert frame.opcode == Opcode.TEXT
                assert int(frame.payload) == self.received
                self.received += 1

    async def read_all(self) -> None:
        """Read to the close frame, answer it, and read to the end of the connection."""
        async with self.stream:
            async for data in self.stream:
                self._take(data)
                if self.code is not None:
                    await self.stream.send_all(frame_bytes(Opcode.CLOSE, self.code.to_bytes(2)))
                    break
            async for data in self.stream:
                self._take(data)  # which refuses whatever comes behind a close frame


class Crowd:
    """All of them."""

    def __init__(self, address: tuple[str, int]) -> None:
        self._address = address
        self._limiter = trio.CapacityLimiter(100)  # within the backlog
        self.clients: list[Client] = []

    async def arrive(self) -> None:
        async with trio.open_nursery() as nursery:
            for number in range(CONNECTIONS):
                nursery.start_soon(self._arrive, f"/{number}")

    async def _arrive(self, path: str) -> None:
        async with self._limiter:
            self.clients.append(await Client.connect(self._address, path))

    async def at_work(self) -> None:
        """Wait until messages flow."""
        while sum(client.received for client in self.clients) < 20 * CONNECTIONS:
            await trio.sleep(0.01)


@pytest.mark.usefixtures("descriptors")
async def test_sigterm_under_load_loses_no_message_that_send_accepted() -> None:
    """SIGTERM with hundreds of connections at work loses nothing that send accepted."""
    process = await trio.lowlevel.open_process(
        [sys.executable, "-m", "tests.workers.busy"],
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    try:
        with trio.fail_after(4 * BOUND):
            line = await process.stderr.receive_some()
            host, _, port = line.decode().removeprefix("listening on ws://").strip().partition(":")
            crowd = Crowd((host, int(port)))
            await crowd.arrive()
            async with trio.open_nursery() as nursery:
                # Half of them read all along, the others have all that was sent to them still before them.
                for client in crowd.clients[::2]:
                    nursery.start_soon(client.read_all)
                await crowd.at_work()
                process.send_signal(signal.SIGTERM)
                began = trio.current_time()
                for client in crowd.clients[1::2]:
                    nursery.start_soon(client.read_all)
            output = b"".join([piece async for piece in process.stdout])
            assert await process.wait() == 0
        took = trio.current_time() - began
    finally:
        process.kill()
        with trio.CancelScope(shield=True):
            await process.wait()
            await process.stdout.aclose()
            await process.stderr.aclose()
    accepted = json.loads(output)
    print(f"{sum(accepted.values())} messages on {len(accepted)} connections, the last {took:.2f} s after the signal")
    assert {client.code for client in crowd.clients} == {1001}
    assert {client.path: client.received for client in crowd.clients} == accepted
    assert took < BOUND
