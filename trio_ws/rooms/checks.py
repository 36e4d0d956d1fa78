"""Checks of options and arguments."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from trio_ws.websocket.websocket import WebSocket

if TYPE_CHECKING:
    import attrs

    Validator: TypeAlias = "Callable[[Any, attrs.Attribute[Any], Any], None]"

__all__ = ["check_seconds", "check_websocket", "flag", "seconds", "to_websockets", "whole"]


_MOST_SECONDS: Final = 1e9
"""More than thirty years; Redis has a limit for milliseconds, too."""


def whole(least: int, most: int) -> Validator:
    """Return a validator of whole numbers in a range, both ends included."""

    def check(_: object, attribute: attrs.Attribute[Any], value: object) -> None:
        if isinstance(value, bool) or not isinstance(value, int):
            example = f", such as {attribute.name}={value}" if str(value).isdecimal() else ""
            raise TypeError(
                f"{attribute.name} must be a whole number{example}, not {type(value).__name__}: {value!r:.80}"
            )
        if not least <= value <= most:
            shown = value if abs(value) < 10**30 else "a number beyond all bounds"
            raise ValueError(f"{attribute.name} must be from {least} to {most}, not {shown}")

    return check


def seconds(least: float = 0.0) -> Validator:
    """Return a validator of seconds, above 0 and at least `least`."""

    def check(_: object, attribute: attrs.Attribute[Any], value: object) -> None:
        check_seconds(attribute.name, value, least)

    return check


def check_seconds(name: str, value: object, least: float = 0.0) -> None:
    """Check a time in seconds.

    Raises:
        TypeError: it is no number.
        ValueError: it is out of range.
    """
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise TypeError(f"{name} must be a number of seconds, not {type(value).__name__}: {value!r:.80}")
    if not (0 < value <= _MOST_SECONDS and value >= least):
        problem = f"{name} must be {f'at least {least:g}' if least else 'more than 0'} and at most {_MOST_SECONDS:g}"
        raise ValueError(f"{problem} seconds, not {value!r:.80}")


def flag(_: object, attribute: attrs.Attribute[Any], value: object) -> None:
    """Accept True and False only."""  # any other value would be taken for one of them by accident
    if not isinstance(value, bool):
        raise TypeError(f"{attribute.name} must be True or False, not {value!r:.80}")


def to_websockets(websockets: WebSocket | Iterable[WebSocket] | None) -> Collection[WebSocket]:
    """Return the connections of an `exclude=` argument: one, several, or none.

    Raises:
        TypeError: it names something else.
    """
    if websockets is None:
        return ()
    if isinstance(websockets, WebSocket):
        return (websockets,)
    if not isinstance(websockets, Iterable):
        check_websocket(websockets)
    found = tuple(websockets)
    for websocket in found:
        check_websocket(websocket)
    return found


def check_websocket(value: object) -> None:
    """Check that an argument is a connection.

    Raises:
        TypeError: it is not.
    """
    if not isinstance(value, WebSocket):
        raise TypeError(f"a member of a room is a WebSocket, not {type(value).__name__}: {value!r:.80}")
