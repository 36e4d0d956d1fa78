"""Options of a room, with their defaults."""

from __future__ import annotations

from collections.abc import Callable
from inspect import iscoroutinefunction, signature
from typing import TYPE_CHECKING, Any, Final, TypeAlias, get_args

import attrs

from trio_ws.rooms.checks import seconds, whole
from trio_ws.rooms.member_queue import Policy

__all__ = ["RoomOptions", "Stamp"]

Stamp: TypeAlias = Callable[[str, str | bytes], Any]
"""Called with the id of a message in the room's stream and the message; returns the message to send to members."""

_MOST: Final = 1_000_000
"""Messages that a log holds: far more than is sensible, and far fewer than a deque can hold."""
_MOST_BYTES: Final = 2**40

if TYPE_CHECKING:
    from attrs import Attribute


def _policy(_: object, attribute: Attribute[Policy], value: object) -> None:
    if value not in get_args(Policy):
        raise ValueError(f"{attribute.name} must be one of {', '.join(get_args(Policy))}, not {value!r:.80}")


def _stamp(_: object, attribute: Attribute[Stamp | None], value: object) -> None:
    if value is None:
        return
    if not callable(value):
        raise TypeError(f"{attribute.name} must be a function of an id and a message, not {value!r:.80}")
    if iscoroutinefunction(value):
        raise TypeError(f"{attribute.name} must not be async: a room waits for nothing while it delivers: {value!r}")
    try:
        signature(value).bind("", "")
    except TypeError:
        raise TypeError(f"{attribute.name} is called with an id and a message: make {value!r} take them") from None
    except ValueError:
        pass  # a builtin without a signature


@attrs.frozen(kw_only=True)
class RoomOptions:
    """Options of one room.

    Raises:
        TypeError: an option has another type.
        ValueError: it is out of range.
    """

    history: int = attrs.field(default=0, validator=whole(0, _MOST))
    history_ttl: float | None = attrs.field(default=None, validator=attrs.validators.optional(seconds()))
    resume: int = attrs.field(default=0, validator=whole(0, _MOST))
    stamp: Stamp | None = attrs.field(default=None, validator=_stamp)
    policy: Policy = attrs.field(default="disconnect", validator=_policy)
    backlog: int = attrs.field(default=1024 * 1024, validator=whole(1, _MOST_BYTES))
