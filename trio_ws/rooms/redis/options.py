"""Options of the backplane on Redis, with their defaults."""

from __future__ import annotations

from typing import Final

import attrs

from trio_ws.rooms.checks import flag, seconds, whole
from trio_ws.rooms.redis.scripts import Keys

__all__ = ["Options"]


_LOCAL_AFTER: Final[float | None] = 1
"""Seconds: many times what a message takes through a healthy Redis, and hardly noticed in a chat."""


_MOST: Final = 1_000_000_000
_MOST_BYTES: Final = 512 * 1024 * 1024 - 1024
"""Redis takes no text of more than 512 MiB, `proto-max-bulk-len`."""
_LEAST_PRESENCE: Final = 0.01
"""Seconds; Redis counts in milliseconds, and an update comes every third of it."""
_LEAST_RETENTION: Final = 0.1
"""Seconds: the life of streams is prolonged four times in that, and each time may take some milliseconds."""


def _prefix(_: object, __: object, value: object) -> None:
    Keys(value)


def _local_after(_: object, attribute: attrs.Attribute[float | None], value: object) -> None:
    if value is None:
        return
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise TypeError(f"{attribute.name} must be None or a number of seconds, not {value!r:.80}")
    if not value >= 0:
        raise ValueError(f"{attribute.name} must be 0 or more seconds, not {value!r}")


@attrs.frozen(kw_only=True)
class Options:
    """Options; `RedisBackplane` documents them."""

    prefix: str = attrs.field(default="trio_ws", validator=_prefix)
    stream_length: int = attrs.field(default=1000, validator=whole(1, _MOST))
    retention: float = attrs.field(default=3600, validator=seconds(_LEAST_RETENTION))
    max_message_size: int = attrs.field(default=1024 * 1024, validator=whole(1, _MOST_BYTES))
    max_info_size: int = attrs.field(default=16 * 1024, validator=whole(2, _MOST_BYTES))
    max_waiting: int = attrs.field(default=1000, validator=whole(1, _MOST))
    publish_timeout: float = attrs.field(default=10, validator=seconds())
    local_after: float | None = attrs.field(default=_LOCAL_AFTER, validator=_local_after)
    command_timeout: float = attrs.field(default=5, validator=seconds())
    presence_timeout: float = attrs.field(default=15, validator=seconds(_LEAST_PRESENCE))
    poll_interval: float = attrs.field(default=5, validator=seconds())
    wait: bool = attrs.field(default=False, validator=flag)

    @property
    def keys(self) -> Keys:
        """The names of keys and channels in Redis."""
        return Keys(self.prefix)
