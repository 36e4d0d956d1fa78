"""Clock, command line and message loop of the clients."""

from __future__ import annotations

import argparse
import json
from collections.abc import Awaitable, Callable
from statistics import median
from time import perf_counter_ns, process_time

MESSAGE = "what is sent, thirty-two letters"


class Meter:
    """Counts messages, after a warm-up."""

    def __init__(self) -> None:
        parser = argparse.ArgumentParser()
        parser.add_argument("--port", type=int, required=True)
        parser.add_argument("--inflight", type=int, default=1)
        parser.add_argument("--seconds", type=float, default=1.0)
        parser.add_argument("--warmup", type=float, default=0.2)
        arguments = parser.parse_args()
        self.url = f"ws://127.0.0.1:{arguments.port}/"
        self.inflight: int = arguments.inflight
        self._seconds: float = arguments.seconds
        self._intervals: list[int] = []
        self._last = self._start = perf_counter_ns()
        self._until = self._start + int(arguments.warmup * 1e9)
        self._measuring = False
        self._cpu = 0.0

    def tick(self) -> bool:
        """Count a reply; return False if it was the last one."""
        now = perf_counter_ns()
        self._intervals.append(now - self._last)
        self._last = now
        return now < self._until or self._goes_on(now)

    def _goes_on(self, now: int) -> bool:
        if self._measuring:
            self._cpu = process_time() - self._cpu
            return False
        self._measuring = True
        self._intervals.clear()
        self._start, self._until = now, now + int(self._seconds * 1e9)
        self._cpu = process_time()
        return True

    def print(self) -> None:
        """Print the result; with one message in flight the interval is the round trip."""
        result = {
            "messages": len(self._intervals),
            "seconds": (self._last - self._start) / 1e9,
            "latency": {"p50": median(self._intervals) / 1e3},
            "client_cpu": self._cpu,
        }
        print(json.dumps(result))


async def echo(meter: Meter, send: Callable[[str], Awaitable[None]], receive: Callable[[], Awaitable[object]]) -> None:
    """Keep the requested number of messages in flight."""
    for _ in range(meter.inflight):
        await send(MESSAGE)
    going = True
    while going:
        if await receive() != MESSAGE:
            raise RuntimeError("what came back is not what was sent")
        going = meter.tick()
        await send(MESSAGE)
