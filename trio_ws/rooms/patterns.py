"""Options and callbacks for all rooms whose names fit a pattern."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final, TypeAlias

import attrs

from trio_ws.errors import LocalProtocolError
from trio_ws.rooms.callbacks import PRESENCE_ARGUMENTS, RoomGuard, check_leader, register
from trio_ws.rooms.options import RoomOptions
from trio_ws.rooms.topics import check_name

__all__ = ["Functions", "Pattern", "RoomDefaults", "RoomPatterns", "guard_pattern", "make_pattern"]

Functions: TypeAlias = Callable[..., Any] | Iterable[Callable[..., Any]]
"""One function, or several."""

_GAP: Final = "the room and the number of lost messages"


@attrs.frozen
class RoomDefaults:
    """The options, callbacks and leaders that a new room begins with."""

    options: Mapping[str, Any] = attrs.field(factory=dict)
    on_join: tuple[Callable[..., Any], ...] = ()
    on_leave: tuple[Callable[..., Any], ...] = ()
    on_gap: tuple[Callable[..., Any], ...] = ()
    leaders: tuple[Callable[..., Any], ...] = ()
    guards: tuple[RoomGuard, ...] = ()
    on_presence: tuple[Callable[..., Any], ...] = ()

    def with_later(self, later: RoomDefaults) -> RoomDefaults:
        """Return these with those of a later pattern, which take precedence."""
        return RoomDefaults(
            {**self.options, **later.options},
            *(
                (*mine, *(each for each in others if each not in mine))
                for mine, others in (
                    (self.on_join, later.on_join),
                    (self.on_leave, later.on_leave),
                    (self.on_gap, later.on_gap),
                    (self.leaders, later.leaders),
                    (self.guards, later.guards),
                    (self.on_presence, later.on_presence),
                )
            ),
        )


@attrs.frozen
class Pattern:
    """A pattern of names, with `*` for any text, and what its rooms have."""

    text: str
    defaults: RoomDefaults
    _parts: tuple[str, ...] = attrs.field(init=False)

    @_parts.default
    def _split(self) -> tuple[str, ...]:
        return tuple(self.text.split("*"))

    def matches(self, name: str) -> bool:
        """Return True if a room has these defaults; in time linear in its name, which users may choose."""
        if len(self._parts) == 1:
            return name == self.text
        first, *middle, last = self._parts
        end = len(name) - len(last)
        if end < len(first) or not name.startswith(first) or not name.endswith(last):
            return False
        position = len(first)
        for part in middle:
            position = name.find(part, position, end)
            if position < 0:
                return False
            position += len(part)
        return True


class RoomPatterns:
    """The patterns of a registry, in the order of registration."""

    def __init__(self) -> None:
        self._patterns: list[Pattern] = []
        self._guards: list[Pattern] = []  # several may have one text: all of them are asked

    def add(self, pattern: Pattern, names: Iterable[str]) -> None:
        """Add a pattern.

        Args:
            pattern: the same one again changes nothing.
            names: of the rooms that exist.

        Raises:
            LocalProtocolError: one of these rooms would have to change.
            ValueError: there is another one with that text.
        """
        known = next((each for each in self._patterns if each.text == pattern.text), None)
        if known == pattern:
            return
        if known is not None:
            raise ValueError(f"room_options({pattern.text!r}) was called before, with other options: call it once")
        _check_in_time("room_options", pattern, names)
        self._patterns.append(pattern)

    def add_guard(self, pattern: Pattern, names: Iterable[str]) -> None:
        """Add a guard of all rooms that fit.

        Raises:
            LocalProtocolError: one of these rooms would have to change.
        """
        _check_in_time("room_guard", pattern, names)
        self._guards.append(pattern)

    def defaults_for(self, name: str) -> RoomDefaults:
        """Return the defaults of a new room."""
        found = RoomDefaults()
        for pattern in (*self._patterns, *self._guards):
            if pattern.matches(name):
                found = found.with_later(pattern.defaults)
        return found

    def adopt(self, other: RoomPatterns) -> RoomPatterns:
        """Take over the patterns of another registry, before the own ones; return what was taken."""
        taken = RoomPatterns()
        taken._patterns = [each for each in other._patterns if each not in self._patterns]
        taken._guards = [each for each in other._guards if each not in self._guards]
        self._patterns[:0], self._guards[:0] = taken._patterns, taken._guards
        return taken

    def drop(self, taken: RoomPatterns) -> None:
        """Drop patterns that were taken over."""
        for own, others in ((self._patterns, taken._patterns), (self._guards, taken._guards)):
            for pattern in others:
                own.remove(pattern)


def _check_in_time(method: str, pattern: Pattern, names: Iterable[str]) -> None:
    late = next(filter(pattern.matches, names), None)
    if late is not None:
        raise LocalProtocolError(
            f"{method}({pattern.text!r}) comes too late for room {late!r}, which exists: call it before"
        )


def guard_pattern(text: str, guard: RoomGuard) -> Pattern:
    """Return a checked pattern with one guard.

    Raises:
        TypeError: the pattern is no text.
        ValueError: no name fits the pattern.
    """
    check_name(text)
    return Pattern(text, RoomDefaults(guards=(guard,)))


def make_pattern(
    text: str,
    options: Mapping[str, Any],
    *,
    on_join: Functions = (),
    on_leave: Functions = (),
    on_gap: Functions = (),
    on_presence: Functions = (),
    leader: Functions = (),
) -> Pattern:
    """Return a checked pattern.

    Args:
        text: the pattern.
        options: of the rooms; None for options that are not given.
        on_join: as of `Room`; likewise the others.
        on_leave: see `on_join`.
        on_gap: see `on_join`.
        on_presence: see `on_join`.
        leader: see `on_join`.

    Raises:
        TypeError: the pattern is no text, an option has another type, or a function cannot be called as it will be.
        ValueError: no name fits the pattern, or an option is out of range.
    """
    check_name(text)
    given = {name: value for name, value in options.items() if value is not None}
    RoomOptions(**given)  # refuses what cannot be
    return Pattern(
        text,
        RoomDefaults(
            given,
            on_join=_registered(on_join),
            on_leave=_registered(on_leave),
            on_gap=_registered(on_gap, _GAP),
            on_presence=_registered(on_presence, PRESENCE_ARGUMENTS),
            leaders=tuple(map(check_leader, _listed(leader))),
        ),
    )


def _listed(functions: Functions) -> list[Callable[..., Any]]:
    return list(functions) if isinstance(functions, Iterable) and not callable(functions) else [functions]


def _registered(functions: Functions, *what: str) -> tuple[Callable[..., Any], ...]:
    found: list[Callable[..., Any]] = []
    for function in _listed(functions):
        register(function, found, *what, once=False)
    return tuple(found)
