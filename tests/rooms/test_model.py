"""Membership against a model: whatever happens in whatever order, the rooms agree with plain sets."""

from __future__ import annotations

from collections import defaultdict

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st
from support.internals import internal
from trio.testing import MockClock, wait_all_tasks_blocked

from trio_ws.rooms import Room

from .hall import Guest, Hall, hall_with

ROOMS = ("a", "b", "c")

Step = tuple[str, int, str]
STEPS = st.lists(
    st.tuples(
        st.sampled_from(["join", "join", "join", "leave", "cancel", "cut", "publish", "publish"]),
        st.integers(0, 5),
        st.sampled_from(ROOMS),
    ),
    max_size=30,
)


class Stay:
    """One join that goes on until it is told to leave, is cancelled, or its connection ends."""

    def __init__(self, room: Room, guest: Guest) -> None:
        self.room = room
        self.guest = guest
        self.scope = trio.CancelScope()
        self.leave = trio.Event()

    async def run(self) -> None:
        with self.scope:
            async with self.room.join(self.guest.websocket):
                await self.leave.wait()


class World:
    """The rooms, and what they should be."""

    def __init__(self, hall: Hall, guests: list[Guest], nursery: trio.Nursery) -> None:
        self.hall = hall
        self.guests = guests
        self.nursery = nursery
        self.rooms = {name: hall.room(name, history=0) for name in ROOMS}
        self.stays: dict[tuple[int, str], list[Stay]] = defaultdict(list)
        self.gone: set[int] = set()
        self.expected: dict[int, list[str]] = {number: [] for number in range(len(guests))}
        self.events: list[tuple[str, str, int]] = []
        self.expected_events: list[tuple[str, str, int]] = []
        self.said = 0
        for name, room in self.rooms.items():
            room.on_join(lambda member, count, name=name: self.events.append(("join", name, count)))
            room.on_leave(lambda member, count, name=name: self.events.append(("leave", name, count)))

    def members(self, name: str) -> list[int]:
        return [number for (number, room), stays in self.stays.items() if room == name and stays]

    def note(self, what: str, name: str) -> None:
        self.expected_events.append((what, name, len(self.members(name))))

    async def do(self, step: Step) -> None:
        what, number, name = step
        stays = self.stays[number, name]
        match what:
            case "join":
                stays.append(Stay(self.rooms[name], self.guests[number]))
                self.nursery.start_soon(stays[-1].run)
                if len(stays) == 1:
                    # A rejoin is a new place at the end.
                    self.stays[number, name] = self.stays.pop((number, name))
                    self.note("join", name)
            case "leave" | "cancel" if stays:
                stay = stays.pop(0)  # not always the innermost
                stay.leave.set() if what == "leave" else stay.scope.cancel()
                if not stays:
                    self.note("leave", name)
            case "cut":
                self.gone.add(number)
                await self.guests[number].peer.close()
            case "publish":
                self.said += 1
                message = f"{self.said} in {name}"
                for member in self.members(name):
                    if member not in self.gone:
                        self.expected[member].append(message)
                await self.rooms[name].publish(message)
        await wait_all_tasks_blocked()
        self.check()

    def check(self) -> None:
        for name, room in self.rooms.items():
            numbers = [[guest.websocket for guest in self.guests].index(member.websocket) for member in room.members]
            assert numbers == self.members(name)
            assert room.count == len(numbers)
        assert {room.name for room in self.hall.rooms} == {name for name in ROOMS if self.members(name)}
        assert self.events == self.expected_events


async def scenario(steps: list[Step]) -> None:
    async with hall_with(6, when_peer_leaves="finish") as (hall, guests):
        async with trio.open_nursery() as nursery:
            world = World(hall, guests, nursery)
            for step in steps:
                await world.do(step)
            for (number, name), stays in list(world.stays.items()):
                for _ in tuple(stays):
                    await world.do(("leave", number, name))
        assert (len(hall.rooms), internal(hall.rooms, "_open"), internal(hall.rooms.backplane, "_subscriptions")) == (
            0,
            {},
            {},
        )
        for number, expected in world.expected.items():
            if number not in world.gone:
                assert await guests[number].heard(len(expected)) == expected
                assert await guests[number].silent()


@pytest.mark.slow
@given(STEPS)
def test_rooms_agree_with_the_model_at_every_step(steps: list[Step]) -> None:
    """Members in order, counts, which rooms there are, each callback once and in order, who heard what."""
    trio.run(scenario, steps, clock=MockClock(autojump_threshold=0))
