"""In-memory networks with real bytes, for tests in virtual time."""

from __future__ import annotations

import math

import trio
from trio.testing import memory_stream_pair


class MemoryListener(trio.abc.Listener[trio.abc.Stream]):
    """A listener for `Server.serve` that `connect` connects to."""

    def __init__(self) -> None:
        self._sender, self._receiver = trio.open_memory_channel[trio.abc.Stream](math.inf)

    def connect(self) -> trio.StapledStream:
        """Return the client's end of a new connection."""
        client, server = memory_stream_pair()
        self._sender.send_nowait(server)
        return client

    async def accept(self) -> trio.abc.Stream:
        return await self._receiver.receive()

    async def aclose(self) -> None:
        self._receiver.close()
        self._sender.close()
        await trio.lowlevel.checkpoint()
