"""Link: holds one client as long as it works, then makes another, with growing pauses while there is no Redis."""

from __future__ import annotations

import logging
import random
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, Final

import trio

from trio_ws.errors import BackplaneRefused
from trio_ws.rooms.redis.client import is_expected, meaning, only, unretried

if TYPE_CHECKING:
    from trio_ws.rooms.redis.client import Client, ClientFactory
    from trio_ws.rooms.redis.options import Options

__all__ = ["RedisConnection"]

logger: Final = logging.getLogger("trio_ws")

_FIRST_PAUSE: Final = 0.05
_LONGEST_PAUSE: Final = 2.0
"""Seconds; a Redis that is restarted is back in less, and a process that asks every other second disturbs nobody."""
_LASTING: Final = 5.0
"""Seconds after which a link was a good one: the next pause is short again."""
_CLOSING: Final = 1.0
"""Seconds to close it."""


class RedisConnection:
    """Serves over one client after another.

    Args:
        source: makes clients.
        check: is called with a client first, and fails if it is of no use.
        serve: is called with a client and its pub/sub, and runs until the link breaks.
        options: the backplane's.
    """

    def __init__(
        self,
        source: ClientFactory,
        check: Callable[[Client], Awaitable[None]],
        serve: Callable[[Client, Any], Awaitable[None]],
        options: Options,
    ) -> None:
        self._source = source
        self._check = check
        self._serve = serve
        self._options = options
        self._pause = _FIRST_PAUSE
        self._scope = trio.CancelScope()
        self._serving: trio.CancelScope | None = None
        self._started = self._ended = False

    async def run(self, *, task_status: trio.TaskStatus[None]) -> None:
        """Keep a link until `end`. From the first one on, it is not cancelled from outside.

        Raises:
            BackplaneUnavailable: there is no Redis at first, and the options do not say to wait for it.
            BackplaneRefused: Redis is there at first, and will not have us.
        """
        with self._scope:
            while True:
                begun = trio.current_time()
                try:
                    await self._hold(task_status)
                except Exception as error:
                    self._explain(error)
                self._serving = None
                if self._ended:
                    break
                self._pause = self._pause if trio.current_time() < begun + _LASTING else _FIRST_PAUSE
                await trio.sleep(self._pause * random.uniform(0.8, 1.2))
                self._pause = min(2 * self._pause, _LONGEST_PAUSE)

    def end(self) -> None:
        """Give up the link: first what is done over it, then the link itself, which coredis wants to close in order."""
        self._ended = True
        if self._serving is None:
            self._scope.cancel(reason="the backplane ends")
        else:
            self._serving.cancel(reason="the backplane ends")
            self._scope.deadline = trio.current_time() + _CLOSING

    async def _hold(self, task_status: trio.TaskStatus[None]) -> None:
        timeout = self._options.command_timeout
        async with self._source.open() as client:
            with trio.fail_after(2 * timeout):
                await self._check(client)
            async with unretried(client, timeout) as pubsub:
                logger.info("linked to Redis at %s", self._source.where)
                if not self._started:
                    self._started = self._scope.shield = True
                    task_status.started()
                self._serving = trio.CancelScope()
                with self._serving:
                    await self._serve(client, pubsub)

    def _explain(self, error: Exception) -> None:
        if self._ended:
            return
        if not is_expected(error):
            if not self._started:
                raise only(error)
            logger.error("error in the backplane: it goes on over a new link", exc_info=error)
            return
        problem = meaning(error, self._source.where, self._options.prefix)
        if not self._started and (isinstance(problem, BackplaneRefused) or not self._options.wait):
            raise problem from error
        logger.warning("%s; trying again", problem)
