"""Options and callbacks of all rooms of a pattern, and callbacks that do not pile up."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest
from trio.testing import wait_all_tasks_blocked

from trio_ws import App
from trio_ws.errors import LocalProtocolError
from trio_ws.rooms import Member, Rooms

from .hall import open_hall


@pytest.mark.parametrize(
    ("pattern", "name", "fits"),
    [
        ("board:*", "board:", True),
        ("board:*", "board:a:b\n", True),
        ("board:*", "boards:1", False),
        ("*:board", "1:board", True),
        ("a*a", "a", False),
        ("a*a", "aa", True),
        ("a*b*c", "a-b-c", True),
        ("a*b*c", "acb", False),
        ("a*bc*c", "abc", False),
        ("*", "", True),
        ("**", "anything", True),
        ("a", "a", True),
        ("a", "ab", False),
        ("[a-z]?", "b1", False),
        ("[a-z]?", "[a-z]?", True),
        ("a.c*", "abc", False),
        ("*ö*", "höher", True),
    ],
)
def test_a_star_stands_for_any_text_and_nothing_else_is_special(pattern: str, name: str, fits: bool) -> None:
    rooms = Rooms()
    rooms.room_options(pattern, history=7)
    assert rooms.room(name).options.history == (7 if fits else 0)


def test_many_stars_take_linear_time() -> None:
    """A name is a user's: a pattern that backtracked would let it stop the process."""
    rooms = Rooms()
    rooms.room_options("*a" * 50 + "*b", history=1)
    assert rooms.room("a" * 8000).options.history == 0


def test_later_patterns_and_options_of_the_call_take_precedence() -> None:
    rooms = Rooms()
    rooms.room_options("*", history=1, policy="drop_oldest")
    rooms.room_options("board:*", history=2)
    rooms.room_options("board:1", backlog=5)
    given = rooms.room("board:1", resume=9).options
    assert (given.history, given.policy, given.backlog, given.resume) == (2, "drop_oldest", 5, 9)
    assert rooms.room("other").options.history == 1
    room = rooms.room("board:2", history=3)
    assert room.options.history == 3
    with pytest.raises(ValueError, match="exists with history=3"):
        rooms.room("board:2", history=2)


async def test_callbacks_of_all_patterns_are_called(autojump_clock: Any) -> None:
    seen: list[tuple[str, str, int]] = []

    def note(kind: str, member: Member, count: int) -> None:
        seen.append((kind, member.room.name, count))

    async with open_hall() as hall:
        hall.rooms.room_options("*", on_join=partial(note, "any joined"))
        hall.rooms.room_options(
            "board:*", on_join=[partial(note, "joined"), partial(note, "came")], on_leave=partial(note, "left")
        )
        ann = await hall.guest()
        for name in ("board:1", "lobby"):
            async with hall.room(name).join(ann.websocket):
                await wait_all_tasks_blocked()
        await wait_all_tasks_blocked()
    assert seen == [
        ("any joined", "board:1", 1),
        ("joined", "board:1", 1),
        ("came", "board:1", 1),
        ("left", "board:1", 0),
        ("any joined", "lobby", 1),
    ]


def test_a_pattern_is_set_once_and_in_time() -> None:
    rooms = Rooms()
    rooms.room_options("board:*", history=1)
    rooms.room_options("board:*", history=1)
    with pytest.raises(ValueError, match="called before, with other options"):
        rooms.room_options("board:*", history=2)
    held = rooms.room("lobby")
    with pytest.raises(LocalProtocolError, match="comes too late for room 'lobby'"):
        rooms.room_options("l*", history=2)
    rooms.room_options("chat:*", history=2)
    assert held.options.history == 0


@pytest.mark.parametrize(
    ("pattern", "options", "error"),
    [
        (5, {}, TypeError),
        ("\ud83d*", {}, ValueError),
        ("x" * 9000, {}, ValueError),
        ("a*", {"history": -1}, ValueError),
        ("a*", {"history": "1"}, TypeError),
        ("a*", {"policy": "wait"}, ValueError),
        ("a*", {"on_join": lambda: None}, TypeError),
        ("a*", {"on_leave": [print, 5]}, TypeError),
        ("a*", {"on_gap": "text"}, TypeError),
        ("a*", {"leader": print}, TypeError),
    ],
)
def test_a_pattern_that_cannot_work_is_refused_at_once(pattern: Any, options: Any, error: type[Exception]) -> None:
    rooms = Rooms()
    with pytest.raises(error):
        rooms.room_options(pattern, **options)
    assert rooms.room("a1").options.history == 0


async def test_an_included_application_brings_its_patterns() -> None:
    app, guest = App(), App()
    guest.room_options("board:*", history=3, backlog=7)
    app.room_options("board:*", history=5)
    app.include(guest)
    async with app.test_client():
        options = app.room("board:1").options
        assert (options.history, options.backlog) == (5, 7)
    assert app.room("board:2").options.backlog != 7


# --- callbacks do not pile up ------------------------------------------------------------------------------------


def test_a_callback_of_each_run_of_a_handler_is_refused() -> None:
    room = Rooms().room("r")

    def handler() -> None:
        @room.on_join
        async def announce(member: Member, count: int) -> None: ...

    handler()
    with pytest.raises(LocalProtocolError, match=r"announce is a callback of this room already.*room_options"):
        handler()


def test_bound_and_partial_functions_do_not_pile_up_either() -> None:
    room = Rooms().room("r")

    class Note:
        def __call__(self, member: Member, count: int) -> None: ...

        def left(self, member: Member, count: int) -> None: ...

    def gap(number: int, room: object, missed: int | None) -> None: ...

    one, other = Note(), Note()
    for register, first, second in (
        (room.on_join, one, other),
        (room.on_leave, one.left, other.left),
        (room.on_gap, partial(gap, 1), partial(gap, 2)),
    ):
        register(first)
        register(first)
        with pytest.raises(LocalProtocolError, match="already"):
            register(second)


def test_different_functions_are_callbacks_of_one_room() -> None:
    room = Rooms().room("r")
    room.on_join(lambda member, count: None)
    room.on_join(lambda member, count: count)
    room.on_join(print)
    room.on_join(max)
