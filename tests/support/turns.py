"""The scheduler's turns, counted: what tests of fairness measure in, because time would measure the machine."""

from __future__ import annotations

import json
import zlib
from collections.abc import Callable
from typing import Any

import pytest
import trio


class Turns(trio.abc.Instrument):
    """Counts the scheduler's turns; each runs every task once that could run when it began."""

    def __init__(self) -> None:
        self.count = 0

    def after_io_wait(self, timeout: float) -> None:
        self.count += 1


class Work(trio.abc.Instrument):
    """Counts the bytes that are inflated, and the characters that are parsed as JSON, in each step of a task."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.inflated = 0
        """In all steps."""
        self.most_inflated = 0
        """In one step."""
        self.most_parsed = 0
        self._inflating = self._parsing = 0
        patch.setattr(zlib, "decompressobj", self._counting_streams(zlib.decompressobj))
        patch.setattr(json.JSONDecoder, "raw_decode", self._counting_values(json.JSONDecoder.raw_decode))
        trio.lowlevel.add_instrument(self)

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        self._inflating = self._parsing = 0

    def _counting_streams(self, decompressobj: Callable[..., Any]) -> Callable[..., Any]:
        work = self

        class Stream:
            def __init__(self, *arguments: Any, **more: Any) -> None:
                self._stream = decompressobj(*arguments, **more)

            def decompress(self, data: bytes, most: int = 0) -> bytes:
                inflated: bytes = self._stream.decompress(data, most)
                work.inflated += len(inflated)
                work._inflating += len(inflated)
                work.most_inflated = max(work.most_inflated, work._inflating)
                return inflated

            def __getattr__(self, name: str) -> Any:
                return getattr(self._stream, name)

        return Stream

    def _counting_values(self, raw_decode: Callable[..., tuple[Any, int]]) -> Callable[..., tuple[Any, int]]:
        work = self

        def counted(decoder: json.JSONDecoder, s: str, idx: int = 0) -> tuple[Any, int]:
            work._parsing += len(s) - idx
            work.most_parsed = max(work.most_parsed, work._parsing)
            return raw_decode(decoder, s, idx)

        return counted


class Streak(trio.abc.Instrument):
    """Counts how many steps the current task made at most without giving way to others."""

    def __init__(self) -> None:
        self.longest = 0
        self._now = 0
        self._task = trio.lowlevel.current_task()
        trio.lowlevel.add_instrument(self)

    def step(self) -> None:
        self._now += 1
        self.longest = max(self.longest, self._now)

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        if task is self._task:
            self._now = 0
