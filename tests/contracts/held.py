"""A loop that is held up, by a clock that moves only when a test makes it jump: what such tests share."""

from __future__ import annotations

import socket
from typing import Any

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from trio_ws.testing import RawRequest, response_bytes

HELD = 100.0
"""Seconds that the loop is held up: longer than every timeout."""
ROUNDS = 8
"""Tries of what depends on the order of tasks within a turn, which is random."""


@pytest.fixture
def clock() -> MockClock:
    """A clock that moves only when a test makes it jump."""
    return MockClock()


@pytest.fixture(params=[True, False], ids=["poller", "stream"])
def poller(request: pytest.FixtureRequest) -> bool:
    return bool(request.param)


async def settle() -> None:
    """Let everything happen that can without time passing; the kernel's loopback is at once."""
    for _ in range(5):
        await wait_all_tasks_blocked(0)


def push(stream: trio.abc.Stream, data: bytes) -> None:
    """Send without a turn of the loop: the bytes are in the kernel when this returns."""
    of_socket: Any = stream
    raw = socket.socket(fileno=of_socket.socket.fileno())
    try:
        assert raw.send(data) == len(data)
    finally:
        raw.detach()


def answer_to(head: bytes) -> bytes:
    """Return the 101 to a request."""
    return response_bytes(RawRequest.parse(head).headers["sec-websocket-key"])
