"""The connection to Redis, made anew when it breaks."""

from __future__ import annotations

import logging
import random
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Final

import trio

from trio_ws.errors import BackplaneRefused
from trio_ws.rooms.redis.channels import Channels
from trio_ws.rooms.redis.client import connection_error_from, is_expected, only_error
from trio_ws.rooms.redis.wire import open_wire

if TYPE_CHECKING:
    from trio_ws.rooms.redis.client import Client, ClientFactory
    from trio_ws.rooms.redis.options import Options

__all__ = ["RedisConnection"]

logger: Final = logging.getLogger("trio_ws")

_FIRST_PAUSE: Final = 0.05
_LONGEST_PAUSE: Final = 2.0
"""Seconds; a Redis that is restarted is back in less, and an attempt every other second is no load."""
_STABLE: Final = 5.0
"""Seconds for which a connection must hold before the next pause is short again."""
_CLOSE_TIMEOUT: Final = 1.0
"""Seconds to close the connection."""


class RedisConnection:
    """Serves over one client after another, with growing pauses after failures.

    Args:
        factory: makes clients.
        check: called with a new client first; it fails if the client is of no use.
        serve: called with a client and its channels; it runs until the connection breaks.
        options: the backplane's.
    """

    def __init__(
        self,
        factory: ClientFactory,
        check: Callable[[Client], Awaitable[None]],
        serve: Callable[[Client, Channels], Awaitable[None]],
        options: Options,
    ) -> None:
        self._factory = factory
        self._check = check
        self._serve = serve
        self._options = options
        self._pause = _FIRST_PAUSE
        self._scope = trio.CancelScope()
        self._serving: trio.CancelScope | None = None
        self._started = self._ended = False

    async def run(self, *, task_status: trio.TaskStatus[None]) -> None:
        """Keep a connection until `end`, shielded from cancellation after the first one.

        Raises:
            BackplaneUnavailable: there is no Redis at first, and the option `wait` is off.
            BackplaneRefused: Redis is there at first, and refuses us.
        """
        with self._scope:
            while True:
                begun = trio.current_time()
                try:
                    await self._connect_and_serve(task_status)
                except Exception as error:
                    self._handle_error(error)
                self._serving = None
                if self._ended:
                    break
                self._pause = self._pause if trio.current_time() < begun + _STABLE else _FIRST_PAUSE
                await trio.sleep(self._pause * random.uniform(0.8, 1.2))
                self._pause = min(2 * self._pause, _LONGEST_PAUSE)

    def end(self) -> None:
        """End the tasks that use the connection, then the connection.

        coredis closes it in order, within a bounded time.
        """
        self._ended = True
        if self._serving is None:
            self._scope.cancel(reason="the backplane ends")
        else:
            self._serving.cancel(reason="the backplane ends")
            self._scope.deadline = trio.current_time() + _CLOSE_TIMEOUT

    async def _connect_and_serve(self, task_status: trio.TaskStatus[None]) -> None:
        timeout = self._options.command_timeout
        async with self._factory.open() as client:
            with trio.fail_after(2 * timeout):
                await self._check(client)
            async with open_wire(client, timeout) as wire:
                logger.info("connected to Redis at %s", self._factory.address)
                if not self._started:
                    self._started = self._scope.shield = True
                    task_status.started()
                self._serving = trio.CancelScope()
                with self._serving:
                    await self._serve(client, Channels(wire, timeout))

    def _handle_error(self, error: Exception) -> None:
        if self._ended:
            return
        if not is_expected(error):
            if not self._started:
                raise only_error(error)
            logger.error("unexpected error in the backplane, reconnecting", exc_info=error)
            return
        problem = connection_error_from(error, self._factory.address, self._options.prefix)
        if not self._started and (isinstance(problem, BackplaneRefused) or not self._options.wait):
            raise problem from error
        logger.warning("%s; trying again", problem)
