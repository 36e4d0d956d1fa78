"""Chaos: processes that publish and listen while Redis and the lines to it fail at random, and what must hold of it.

Of one publisher everything is heard in order and once; what was acknowledged is heard, or a gap is told where it is
missing; what failed for certain is not heard; an id with which one has recovered leaves nothing out.
"""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial

import trio
from support.internals import internal
from support.redis import Line, RedisServer, line_to

from trio_ws import BackplaneUnavailable
from trio_ws.connection.prepared import PreparedMessage
from trio_ws.rooms import Entry, Log
from trio_ws.rooms.redis import RedisBackplane
from trio_ws.rooms.redis.ids import id_key

from .conformance import NOBODY

PATIENCE = 60.0
"""Seconds that the end may take on a busy machine."""
PATIENT = 1000
"""Seconds of `local_after` of a process that hands nothing on but when its link is broken; the first one is so."""
MAIN = "main"
END = "end"
GAP = ("a gap", 0)
SOAK = 100
"""The first of the seeds that are run by `make soak`, with more messages: what is checked grows with their square."""


class Voice:
    """One publisher of a room, which says numbers one after the other, each when the one before has ended."""

    def __init__(self, name: str, room: str, backplane: RedisBackplane) -> None:
        self.name = name
        self.room = room
        self.said = 0
        self.acknowledged: dict[int, str] = {}
        self.refused: set[int] = set()
        """Those that are not in the stream, and were not handed on."""
        self._backplane = backplane

    async def say(self) -> bool:
        """Say the next number; return whether it was acknowledged."""
        self.said = number = self.said + 1
        try:
            identifier = await self._backplane.publish(self.room, PreparedMessage(f"{self.name} {number}"), NOBODY)
        except BackplaneUnavailable as error:
            if not (error.uncertain or error.local):
                self.refused.add(number)
            return False
        self.acknowledged[number] = identifier
        return True


class Listener:
    """A subscriber of a room, with what it heard and where it was told of gaps."""

    def __init__(self, room: str, before: dict[str, int]) -> None:
        self.room = room
        self.heard: list[tuple[str, int]] = []
        self.log: Log
        self._before = before  # what was said of each voice when it came

    def deliver(self, entry: Entry) -> None:
        name, number = str(entry.message.data).split()
        self.heard.append((name, int(number)))

    def miss(self, missed: int | None) -> None:
        self.heard.append(GAP)

    def check(self, voice: Voice) -> None:
        """See that a voice was heard in order, once, and completely but for gaps that were told."""
        places = {number: place for place, (name, number) in enumerate(self.heard) if name == voice.name}
        numbers = [number for name, number in self.heard if name == voice.name]
        assert numbers == sorted(set(numbers)), f"{voice.name} was heard out of order, or twice: {self.heard}"
        assert not voice.refused & set(numbers), f"{voice.name} was heard with what had failed: {self.heard}"
        for number in voice.acknowledged.keys() - set(numbers):
            if number > self._before.get(voice.name, 0):
                last = max((place for earlier, place in places.items() if earlier < number), default=-1)
                assert GAP in self.heard[last + 1 :], f"{voice.name} {number} was lost in silence: {self.heard}"

    def check_recovery(self, voices: list[Voice]) -> None:
        """See that an id with which one has recovered leaves out nothing that was acknowledged after it."""
        acknowledged = [
            (id_key(identifier), f"{voice.name} {number}", identifier)
            for voice in voices
            for number, identifier in voice.acknowledged.items()
        ]
        acknowledged.sort()
        for place, (_, text, identifier) in enumerate(acknowledged):
            replay = self.log.since(identifier)
            if replay.recovered:
                found = {entry.message.data for entry in replay.entries}
                missing = [other for _, other, _ in acknowledged[place + 1 :] if other not in found]
                assert not missing, f"after {text} nothing was missing, but {missing} are not there"


class Process:
    """A backplane, behind a line that can be cut."""

    def __init__(self, name: str, line: Line, backplane: RedisBackplane) -> None:
        self.name = name
        self.line = line
        self.backplane = backplane

    async def cut_off(self) -> None:
        self.line.cut_off()
        await until(lambda: not internal(self.backplane, "_local").early.connected)


class Chaos:
    """See the module.

    Args:
        seed: decides what happens, but not how long each thing takes.
        redis: a Redis; it comes back with what it had at its last `SAVE` if it was not told to be durable.
    """

    def __init__(self, seed: int, redis: RedisServer) -> None:
        self.chance = random.Random(seed)
        self.redis = redis
        self.processes: list[Process] = []
        self.voices: list[Voice] = []
        self.listeners: list[Listener] = []
        self.over = False
        self._faults = 0
        self._pause, self._most = (0.02, 10_000) if seed >= SOAK else (0.05, 20)
        self.nursery: trio.Nursery
        self._stack = AsyncExitStack()

    @asynccontextmanager
    async def running(self, count: int) -> AsyncIterator[None]:
        """Have so many processes, two voices and a listener in each; at the end all is well, and is checked."""
        async with trio.open_nursery() as listening, self._stack as stack:
            self.nursery = listening
            for number in range(count):
                line = await stack.enter_async_context(line_to(self.redis))
                after = PATIENT if number == 0 else self.chance.choice([0, 0.05, PATIENT])
                options = {"publish_timeout": 0.3, "command_timeout": 1, "poll_interval": 0.5, "stream_length": 100_000}
                backplane = RedisBackplane(line.url, local_after=after, **options)
                await stack.enter_async_context(backplane.running())
                self.processes.append(Process(f"p{number}", line, backplane))
            for process in self.processes:
                await self.listen(process, MAIN)
            async with trio.open_nursery() as speaking:
                self.speak = partial(self._speak, speaking)
                for process in self.processes:
                    self.speak(process, MAIN)
                    self.speak(process, MAIN)
                yield
                self.over = True
            await self._end()
            listening.cancel_scope.cancel()
        for listener in self.listeners:
            mine = [voice for voice in self.voices if voice.room == listener.room]
            for voice in mine:
                listener.check(voice)
            listener.check_recovery(mine)

    def _speak(self, nursery: trio.Nursery, process: Process, room: str) -> Voice:
        voice = Voice(f"{process.name}/{len(self.voices)}", room, process.backplane)
        self.voices.append(voice)
        nursery.start_soon(self._say_on, voice)
        return voice

    async def _say_on(self, voice: Voice) -> None:
        """Say so many in each fault at most, however long that lasts on a busy machine."""
        faults = said = 0
        while not self.over:
            if self._faults > faults:
                faults, said = self._faults, 0
            if said < self._most:
                await voice.say()
                said += 1
            await trio.sleep(self.chance.uniform(0, self._pause))

    async def listen(self, process: Process, room: str) -> Listener:
        return await self.nursery.start(self._listen, process, room)

    async def _listen(self, process: Process, room: str, *, task_status: trio.TaskStatus[Listener]) -> None:
        while True:
            listener = Listener(room, {})
            subscription = process.backplane.subscribe(room, listener.deliver, history=100_000, gap=listener.miss)
            try:
                async with subscription as listener.log:
                    listener._before.update({voice.name: voice.said for voice in self.voices})
                    self.listeners.append(listener)
                    task_status.started(listener)
                    await trio.sleep_forever()
            except BackplaneUnavailable:  # the room could not be opened
                continue

    async def _end(self) -> None:
        """Let all be well, and wait until every listener has heard an end from every process."""
        self.redis.go_on()
        for process in self.processes:
            process.line.stuck = process.line.deaf = False
            process.line.let_go()
            process.line.cut_off()  # what was stuck stays so
            process.line.mend()
        with trio.fail_after(PATIENCE):
            for room in {listener.room for listener in self.listeners}:
                for process in self.processes:
                    voice = Voice(f"{END}/{process.name}", room, process.backplane)
                    self.voices.append(voice)
                    while not await voice.say():
                        pass
                    last = (voice.name, voice.said)
                    for listener in self.listeners:
                        while listener.room == room and last not in listener.heard:
                            await trio.sleep(0.01)

    # --- what goes wrong -----------------------------------------------------------------------------------------

    async def disturb(self, rounds: int, *what: Callable[[Chaos], Awaitable[None]]) -> None:
        """Let something go wrong so many times."""
        for _ in range(rounds):
            self._faults += 1
            await self.chance.choice(what)(self)
            await self.wait(0.1)

    async def wait(self, seconds: float) -> None:
        await trio.sleep(self.chance.uniform(0, seconds))

    def one(self) -> Process:
        return self.chance.choice(self.processes)


async def cut(chaos: Chaos) -> None:
    """A line is cut, maybe while answers are on their way, or while it was silent."""
    line = chaos.one().line
    line.deaf = chaos.chance.random() < 0.5
    if chaos.chance.random() < 0.3:
        line.hold()
    await chaos.wait(0.5)
    line.cut_off()
    await chaos.wait(0.3)
    line.deaf = False
    line.let_go()
    line.mend()


async def freeze(chaos: Chaos) -> None:
    """Redis does nothing for longer than publishers wait, and than a link lasts, or not so long."""
    chaos.redis.stop()
    await trio.sleep(chaos.chance.choice([0.2, 0.5, 1.3]))
    chaos.redis.go_on()


async def give_up(chaos: Chaos) -> None:
    """Answers are lost until publishers have given up and gone on, as in a process that was frozen; the link breaks."""
    process = chaos.processes[0]
    voice = next(voice for voice in chaos.voices if voice.name.startswith(process.name))
    said, process.line.deaf = voice.said, True
    await until(lambda: voice.said >= said + 3)
    await process.cut_off()
    await chaos.wait(0.2)
    process.line.deaf = False
    process.line.mend()


async def kill(chaos: Chaos) -> None:
    """Redis is killed, and started again."""
    chaos.redis.kill()
    await chaos.wait(0.1)
    await trio.to_thread.run_sync(chaos.redis.start)


async def lose(chaos: Chaos) -> None:
    """Redis comes back with older data while a process is cut off; that one is back first, or last."""
    process = chaos.one()
    await chaos.wait(0.2)
    await trio.to_thread.run_sync(chaos.redis.ask, "SAVE")
    await process.cut_off()
    await chaos.wait(0.2)
    await kill(chaos)
    await chaos.wait(0.2)
    process.line.mend()


async def open_alone(chaos: Chaos) -> None:
    """A room is opened without Redis; the link is back, its subscription is stuck, and it breaks again."""
    process, other = chaos.chance.sample(chaos.processes, 2)
    room = f"room-{len(chaos.voices)}"
    await chaos.listen(other, room)
    chaos.speak(other, room)
    await process.cut_off()
    after, internal(process.backplane, "_local").early.delay = internal(process.backplane, "_local").early.delay, 0
    await chaos.listen(process, room)
    internal(process.backplane, "_local").early.delay = after
    chaos.speak(process, room)
    process.line.stuck = True
    process.line.mend()
    await trio.sleep(chaos.chance.uniform(0.1, 0.4))
    await process.cut_off()
    await chaos.wait(0.3)
    process.line.stuck = False
    process.line.mend()


async def until(condition: Callable[[], bool]) -> None:
    with trio.fail_after(PATIENCE):
        while not condition():
            await trio.sleep(0.005)
