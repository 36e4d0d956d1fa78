"""Rooms that several backplanes share: each is on one of them, the same in all processes."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import trio
from support.redis import collects_coredis, forgives_coredis, needs_redis, redis_server

from trio_ws import App, BackplaneUnavailable
from trio_ws.connection.prepared import PreparedMessage
from trio_ws.rooms import Backplane, MemoryBackplane, Presence, Rooms, SpreadBackplane

from .conformance import NOBODY, BackplaneContract, Ear

pytestmark = [forgives_coredis, collects_coredis]


def spread_over(*names: str) -> SpreadBackplane:
    return SpreadBackplane({name: MemoryBackplane() for name in names})


def place_of(backplane: SpreadBackplane, room: str) -> str:
    (name,) = [name for name, each in backplane.backplanes.items() if each is backplane.backplane_of(room)]
    return name


class TestSpreadBackplane(BackplaneContract):
    @asynccontextmanager
    async def open(self) -> AsyncIterator[tuple[Backplane, Backplane]]:
        backplane = spread_over("a", "b", "c")
        async with backplane.running():
            yield backplane, backplane


def test_rooms_are_spread_evenly_and_the_same_in_all_processes() -> None:
    one, other = spread_over("a", "b", "c"), spread_over("c", "a", "b")
    rooms = [f"room {number}" for number in range(3000)]
    found = Counter(place_of(one, room) for room in rooms)
    assert all(850 < count < 1150 for count in found.values()), found
    assert [place_of(one, room) for room in rooms] == [place_of(other, room) for room in rooms]


def test_another_backplane_takes_its_share_and_no_more() -> None:
    before, after = spread_over("a", "b"), spread_over("a", "b", "c")
    rooms = [f"room {number}" for number in range(3000)]
    moved = [room for room in rooms if place_of(before, room) != place_of(after, room)]
    assert {place_of(after, room) for room in moved} == {"c"}
    assert 850 < len(moved) < 1150


def test_names_of_urls_are_without_passwords() -> None:
    backplane = SpreadBackplane(["redis://ann:secret@one:6379/0", "unix:///tmp/x"])
    assert [*backplane.backplanes] == ["one:6379/0", "/tmp/x"]


@pytest.mark.parametrize(
    ("given", "kind", "text"),
    [
        ([], ValueError, "no backplane"),
        ({}, ValueError, "no backplane"),
        ("redis://one", TypeError, "a list of URLs"),
        (7, TypeError, "a list of URLs"),
        ([MemoryBackplane()], TypeError, "need names"),
        ({7: "redis://one"}, TypeError, "the name of a backplane"),
        ({"a": 7}, TypeError, "backplane= takes"),
        (["redis://ann@one", "redis://bob@one"], ValueError, "is there twice"),
        (["redis://one", "http://two"], ValueError, "http"),
    ],
)
def test_what_is_no_set_of_backplanes_is_refused(given, kind, text) -> None:
    with pytest.raises(kind, match=text):
        SpreadBackplane(given)


def test_one_backplane_with_two_names_is_refused() -> None:
    backplane = MemoryBackplane()
    with pytest.raises(ValueError, match="two"):
        SpreadBackplane({"a": backplane, "b": backplane})


@needs_redis
def test_application_takes_a_list_of_urls() -> None:
    App(backplane=["redis://one", "redis://two"])
    with pytest.raises(TypeError, match="need names"):
        App(backplane=[MemoryBackplane()])


@needs_redis
async def test_rooms_are_on_two_servers_of_which_one_ends() -> None:
    """What happens to one server concerns its rooms only."""
    with redis_server() as one, redis_server() as two:
        backplane = Rooms([one.url, two.url]).backplane
        assert isinstance(backplane, SpreadBackplane)
        rooms: dict[str, str] = {}
        for number in range(20):
            rooms.setdefault(place_of(backplane, f"room {number}"), f"room {number}")
        here, there = rooms[str(one.socket)], rooms[str(two.socket)]
        ears = {here: Ear(), there: Ear()}
        async with (
            backplane.running(),
            backplane.subscribe(here, ears[here], history=0),
            backplane.subscribe(there, ears[there], history=0),
        ):
            backplane.enter(there, Presence("a-1", {"user": "Ann"}))
            for room in rooms.values():
                await backplane.publish(room, PreparedMessage(room), NOBODY)
                await ears[room].hears(1)
            with trio.fail_after(10):
                while await backplane.count(there) != 1:
                    await trio.sleep(0.01)
            one.kill()
            await backplane.publish(there, PreparedMessage("on"), NOBODY)
            await ears[there].hears(2)
        assert ears[there].data == [there, "on"]
        with pytest.raises(BackplaneUnavailable, match=str(one.socket)):
            async with SpreadBackplane([two.url, one.url]).running():
                pytest.fail("it runs")
