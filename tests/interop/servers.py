"""Servers of other libraries, in a thread of their own."""

from __future__ import annotations

import asyncio
import threading
from abc import ABC, abstractmethod
from contextlib import AbstractAsyncContextManager
from typing import Self


class AsyncioServer(ABC):
    """A server on asyncio in a thread of its own, for the time of a block.

    Attributes:
        url: its address, within the block.
    """

    url: str

    def __init__(self) -> None:
        self._started = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._main()))

    @abstractmethod
    def serving(self) -> AbstractAsyncContextManager[str]:
        """Return a context in which the server runs; it gives the URL."""

    async def _main(self) -> None:
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        try:
            async with self.serving() as self.url:
                self._started.set()
                await self._stop.wait()
        finally:
            self._started.set()  # an error while it starts must not leave the test waiting

    def __enter__(self) -> Self:
        self._thread.start()
        self._started.wait()
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join()
