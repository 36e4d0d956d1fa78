"""The options of one route."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import attrs

from trio_ws.app.guards import parse_guards
from trio_ws.config import Compression, Limits, Timeouts
from trio_ws.connection.serialization import ValueType, resolve_types
from trio_ws.connection.settings import compression_of
from trio_ws.handler.disconnect import WhenPeerLeaves, check_policy
from trio_ws.options import check_number, check_text, flag, of_kind
from trio_ws.websocket.close_code import NORMAL_CLOSE_CODES, CaughtCodes, caught_codes
from trio_ws.websocket.handshake import parse_subprotocols

if TYPE_CHECKING:
    from trio_ws.app.budgets import Budget
    from trio_ws.app.guards import Guard
    from trio_ws.app.room_sources import RoomSource

__all__ = ["RouteOptions", "parse_budget"]


def parse_budget(value: Any) -> tuple[Budget, ...] | None:
    """Return the checked value of `budget=`: one, several, or None.

    Raises:
        TypeError: it is nothing of these.
    """
    if value is None:
        return None
    from trio_ws.app.budgets import parse_budgets  # noqa: PLC0415 - few applications have budgets

    return parse_budgets(value)


def _parse_rooms(value: Iterable[RoomSource]) -> tuple[RoomSource, ...]:
    if value == ():
        return ()
    from trio_ws.app.room_sources import parse_rooms  # noqa: PLC0415 - routes without rooms need none

    return parse_rooms(value)


def _is_type(_: object, attribute: attrs.Attribute[Any], value: object) -> None:
    if isinstance(value, str | bytes | int | list | tuple | set | dict):
        hint = ": write A | B for several" if isinstance(value, list | tuple | set) else ""
        raise TypeError(f"{attribute.name} takes a type of messages, not {value!r}{hint}")


def _codes(value: Any) -> Mapping[int, str]:
    if not isinstance(value, Mapping):
        raise TypeError(f"close_codes takes a mapping from codes to their meaning, not {value!r}")
    for code, meaning in value.items():
        check_number("a code of close_codes", code, 1000, 4999)
        check_text("the meaning of a close code", meaning)
    return dict(value)


@attrs.frozen(kw_only=True, eq=False)
class RouteOptions:
    """The options of one route, as `Router.websocket` describes them.

    Raises:
        TypeError: an option is of another kind.
        ValueError: a type is unknown, or `value_type` differs from another one.
    """

    receive_type: ValueType | None = None
    send_type: ValueType | None = None
    value_type: ValueType | None = None
    auto_accept: bool = attrs.field(default=True, validator=flag)
    caught_close_codes: CaughtCodes = attrs.field(default=NORMAL_CLOSE_CODES, converter=caught_codes)
    guards: tuple[Guard, ...] = attrs.field(default=(), converter=parse_guards)
    when_peer_leaves: WhenPeerLeaves = attrs.field(default="drain", validator=check_policy)
    subprotocols: tuple[str, ...] = attrs.field(default=(), converter=parse_subprotocols)
    limits: Limits | None = attrs.field(default=None, validator=of_kind(Limits, optional=True))
    timeouts: Timeouts | None = attrs.field(default=None, validator=of_kind(Timeouts, optional=True))
    compression: Compression | bool | None = None
    name: str | None = attrs.field(default=None)
    budget: tuple[Budget, ...] | None = attrs.field(default=None, converter=parse_budget)
    """What clients may send; None for the application's budgets."""
    receives: Any = attrs.field(default=None, validator=_is_type)
    """The type of the messages that a view receives, for documents; None if it is not given."""
    sends: Any = attrs.field(default=None, validator=_is_type)
    """The type of the messages that are sent beside replies, for documents; None if it is not given."""
    close_codes: Mapping[int, str] = attrs.field(factory=dict, converter=_codes)
    """The close codes of the route's own with their meaning, for documents."""
    rooms: tuple[RoomSource, ...] = attrs.field(default=(), converter=_parse_rooms)

    @name.validator
    def _check_name(self, _: object, value: object) -> None:
        if value is not None:
            check_text("name", value)

    def __attrs_post_init__(self) -> None:
        resolve_types(self.receive_type, self.send_type, self.value_type)
        compression_of(self.compression)
