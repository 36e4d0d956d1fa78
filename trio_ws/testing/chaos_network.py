"""A network in memory whose connections are bad, by seed or by script."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from typing import Final

import trio

from trio_ws.testing.chaos_steps import CHAOS_KINDS, ChaosScript, check_kinds, check_scripts, check_source, drawn_steps
from trio_ws.testing.chaos_stream import ChaosDirection, ChaosStream
from trio_ws.testing.network import MemoryListener, MemoryNetwork

__all__ = ["ChaosNetwork"]

SHOWN_STEPS: Final = 30
"""The last steps of a direction in the description of a run; the seed has them all."""


class _ChaosListener(trio.abc.Listener[ChaosStream]):
    """The listener of a `ChaosNetwork`.

    Args:
        below: a listener in memory.
        directions: those of the connections to come, from the clients to the server.
    """

    def __init__(self, below: MemoryListener, directions: deque[ChaosDirection]) -> None:
        self._below = below
        self._directions = directions

    async def accept(self) -> ChaosStream:
        """Return the server's end of the next connection."""
        stream = await self._below.accept()
        return ChaosStream.incoming(stream, self._directions.popleft())

    async def aclose(self) -> None:
        """Refuse further connections."""
        await self._below.aclose()


class ChaosNetwork:
    """A bad network for `TestClient(app, network=...)`, by seed or by script.

    Each direction of each connection has steps of its own. A test that fails has the seed and the schedule in a note
    of its error; a network with that seed, or with the schedule as its script, gives the same run again. That holds
    exactly in virtual time, in which all that happens at one instant is done before the next step.

    Args:
        seed: where the steps are drawn from.
        kinds: the kinds of steps that are drawn; `GENTLE_KINDS` for those that lose nothing.
        script: the steps of each connection, instead of a seed; further connections are good ones.

    Raises:
        TypeError: the script is no list of scripts.
        ValueError: a kind is unknown, or there is not either a seed or a script.

    Example:
        @pytest.mark.parametrize("seed", range(20))
        async def test_it_works_on_a_bad_network(seed, autojump_clock):
            async with app.test_client(network=ChaosNetwork(seed=seed)) as client: ...
    """

    def __init__(
        self,
        *,
        seed: object = None,
        kinds: Iterable[str] = CHAOS_KINDS,
        script: Sequence[ChaosScript] | None = None,
    ) -> None:
        self._seed = seed
        self._kinds = check_kinds(kinds)
        self._script = check_source(seed, check_scripts(script))
        self._network = MemoryNetwork()
        self._connections: list[tuple[ChaosDirection, ChaosDirection]] = []
        self._waiting: deque[ChaosDirection] = deque()

    def listen(self) -> trio.abc.Listener[ChaosStream]:
        """Begin to listen, in place of an earlier listener."""
        self._waiting = deque()
        return _ChaosListener(self._network.listen(), self._waiting)

    async def connect(self) -> ChaosStream:
        """Return the client's end of a new connection.

        Raises:
            ConnectError: nothing listens.
        """
        stream = await self._network.connect()
        up, down = self._directions(len(self._connections))
        self._connections.append((up, down))
        self._waiting.append(up)
        return ChaosStream.incoming(stream, down)

    def _directions(self, number: int) -> tuple[ChaosDirection, ChaosDirection]:
        if self._script is None:
            steps = (drawn_steps((self._seed, number, way), self._kinds) for way in ("up", "down"))
        else:
            script = self._script[number] if number < len(self._script) else ChaosScript()
            steps = (iter(way) for way in (script.up, script.down))
        up, down = map(ChaosDirection, steps)
        return up, down

    @property
    def schedule(self) -> list[ChaosScript]:
        """The steps taken so far, of each connection; as a script they give the same run."""
        return [ChaosScript(up.taken, down.taken) for up, down in self._connections]

    def describe(self) -> str:
        """Return the seed and the schedule, for the message of a test that fails."""
        kinds = "" if self._kinds == CHAOS_KINDS else f", kinds={self._kinds}"
        source = f"seed={self._seed!r}{kinds}" if self._script is None else "script=[...]"
        lines = [f"  {number}: {_shortened(script)}" for number, script in enumerate(self.schedule)]
        return "\n".join([f"this ran on ChaosNetwork({source}); the schedule of each connection:", *lines])


def _shortened(script: ChaosScript) -> str:
    most = max(len(script.up), len(script.down)) - SHOWN_STEPS
    last = ChaosScript(script.up[-SHOWN_STEPS:], script.down[-SHOWN_STEPS:])
    return f"{last}{f' after up to {most} steps more' if most > 0 else ''}"
