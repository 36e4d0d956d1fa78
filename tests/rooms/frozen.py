"""A process with two voices and a listener of one room.

It sends "ready" over its pipe when it listens, and speaks from one message on it to the next one. Then it waits until
it has heard an end from each of the processes that this message names, and sends what it heard and what came of what
it said.
"""

from __future__ import annotations

from contextlib import AsyncExitStack
from multiprocessing.connection import Connection

import trio

from trio_ws import BackplaneUnavailable
from trio_ws.connection.prepared import PreparedMessage
from trio_ws.rooms import Entry
from trio_ws.rooms.redis import RedisBackplane

ROOM = "main"


class Speaker:
    """See the module."""

    def __init__(self, pipe: Connection, url: str, name: str, options: dict[str, float]) -> None:
        self._pipe = pipe
        self._backplane = RedisBackplane(url, wait=True, **options)
        self._name = name
        self._over = False
        self.heard: list[tuple[str, int]] = []
        self.voices: dict[str, dict[str, list[int]]] = {}

    def _deliver(self, entry: Entry) -> None:
        name, number = str(entry.message.data).split()
        self.heard.append((name, int(number)))

    def _miss(self, missed: int | None) -> None:
        self.heard.append(("a gap", 0))

    async def _say(self, voice: str, number: int) -> bool:
        """Say something, and note whether it was acknowledged, or failed for certain."""
        ends = self.voices.setdefault(voice, {"acknowledged": [], "refused": []})
        try:
            await self._backplane.publish(ROOM, PreparedMessage(f"{voice} {number}"), frozenset())
        except BackplaneUnavailable as error:
            if not (error.uncertain or error.local):
                ends["refused"].append(number)
            return False
        ends["acknowledged"].append(number)
        return True

    async def _speak(self, voice: str) -> None:
        number = 0
        while not self._over:
            number += 1
            await self._say(voice, number)
            await trio.sleep(0.02)

    async def run(self) -> None:
        """Speak, and listen."""
        async with AsyncExitStack() as stack:
            await stack.enter_async_context(self._backplane.running())
            listening = self._backplane.subscribe(ROOM, self._deliver, history=0, gap=self._miss)
            await stack.enter_async_context(listening)
            self._pipe.send("ready")
            await self._told()
            async with trio.open_nursery() as nursery:
                for number in range(2):
                    nursery.start_soon(self._speak, f"{self._name}/{number}")
                others = await self._told()
                self._over = True
            number = 1
            while not await self._say(f"end/{self._name}", number):
                number += 1
            while not {f"end/{other}" for other in others} <= {name for name, _ in self.heard}:
                await trio.sleep(0.01)
            self._pipe.send({"heard": self.heard, "voices": self.voices})
            await trio.lowlevel.wait_readable(self._pipe)  # until it ends

    async def _told(self) -> list[str]:
        await trio.lowlevel.wait_readable(self._pipe)
        return self._pipe.recv()


def speak(pipe: Connection, url: str, name: str, options: dict[str, float]) -> None:
    """Be the process."""
    trio.run(Speaker(pipe, url, name, options).run)
