"""Options: how the backplane on Redis behaves, with the defaults, and the little things that its parts share."""

from __future__ import annotations

import math
from typing import Final

import attrs
import trio
from attrs.validators import ge, gt, le, lt, optional

from trio_ws.rooms.redis.keys import Keys

__all__ = ["Bell", "Options"]


_LOCAL_AFTER: Final[float | None] = 1
"""Seconds: many times what a message takes through a Redis that is well, and what people hardly notice in a chat."""


_RETENTION: Final[float] = 3600
_POLL_INTERVAL: Final[float] = 5
_LEAST_RETENTION: Final = 0.1
"""Seconds: streams are told to live on four times in that, and each time may take some milliseconds."""
_GREATEST_RETENTION: Final = 1e9
"""Seconds, 31 years: Redis adds the time of day, in ms, and takes no sum above 2^63."""


@attrs.frozen(kw_only=True)
class Options:
    """See `RedisBackplane`."""

    prefix: str = "trio_ws"
    stream_length: int = attrs.field(default=1000, validator=ge(1))
    retention: float = attrs.field(default=_RETENTION, validator=[ge(_LEAST_RETENTION), le(_GREATEST_RETENTION)])
    max_message_size: int = attrs.field(default=1024 * 1024, validator=ge(1))
    max_waiting: int = attrs.field(default=1000, validator=ge(1))
    publish_timeout: float = attrs.field(default=10, validator=gt(0))
    local_after: float | None = attrs.field(default=_LOCAL_AFTER, validator=optional(ge(0.0)))
    command_timeout: float = attrs.field(default=5, validator=gt(0))
    presence_timeout: float = attrs.field(default=15, validator=gt(0))
    poll_interval: float = attrs.field(default=_POLL_INTERVAL, validator=[gt(0), lt(math.inf)])
    wait: bool = False

    @property
    def keys(self) -> Keys:
        """Names what is in Redis."""
        return Keys(self.prefix)


class Bell:
    """Wakes the one task that waits for it; it may be rung before."""

    __slots__ = ("_event",)

    def __init__(self) -> None:
        self._event = trio.Event()

    def ring(self) -> None:
        """Wake the task."""
        self._event.set()

    async def wait(self, seconds: float = math.inf) -> bool:
        """Wait until somebody has rung since the last time, or so many seconds; say whether somebody has."""
        with trio.move_on_after(max(0, seconds)):  # the time may have come meanwhile
            await self._event.wait()
        rung = self._event.is_set()
        self._event = trio.Event()
        return rung
