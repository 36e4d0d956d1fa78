"""The pings that wait for their pong, each with its time."""

from __future__ import annotations

from itertools import count

import trio

from trio_ws.errors import LocalProtocolError

__all__ = ["Pings"]


class Pings:
    """The outstanding pings of one connection, oldest first.

    A pong answers its own ping and every older one: a peer may answer only the latest (RFC 6455 5.5.3).
    """

    __slots__ = ("_answered", "_numbers", "_sent")

    def __init__(self) -> None:
        self._numbers = count(1)
        self._sent: dict[bytes, float] = {}
        self._answered = trio.lowlevel.ParkingLot()

    def fresh_payload(self) -> bytes:
        """Return a payload that no outstanding ping has."""
        while (payload := b"%d" % next(self._numbers)) in self._sent:
            pass
        return payload

    def add(self, payload: bytes) -> float:
        """Note that a ping is being sent; return the time.

        Raises:
            LocalProtocolError: a ping with that payload is outstanding.
        """
        if payload in self._sent:
            raise LocalProtocolError("a ping with the same payload still waits for its pong; leave the payload out")
        self._sent[payload] = sent = trio.current_time()
        return sent

    def answer(self, payload: bytes) -> None:
        """Handle a pong, which may be unsolicited."""
        if payload in self._sent:
            while next(iter(self._sent)) != payload:
                del self._sent[next(iter(self._sent))]
            del self._sent[payload]
            self._answered.unpark_all()

    def outstanding(self, payload: bytes) -> bool:
        """Return True if the ping with `payload` still waits for its pong."""
        return payload in self._sent

    def forget(self, payload: bytes) -> None:
        """Stop waiting for the pong of `payload`."""
        self._sent.pop(payload, None)

    async def wait(self) -> None:
        """Wait until some ping was answered, or for `wake`."""
        await self._answered.park()

    def wake(self) -> bool:
        """Wake all waiting tasks, because the connection has ended; return True if there was one."""
        return bool(self._answered.unpark_all())
