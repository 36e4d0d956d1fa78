"""Who is in a room: joining, leaving on every way out, counts at every step, and rooms that vanish."""

from __future__ import annotations

import gc
import random
import sys
from functools import partial

import pytest
import trio
from support.internals import internal
from support.networks import close, dial, serving, text
from trio.testing import wait_all_tasks_blocked

from trio_ws import LocalProtocolError, WebSocket
from trio_ws.rooms import Rooms
from trio_ws.testing import MemoryNetwork, RawPeer

from .hall import CALM, Hall, hall_with, seated


async def test_a_member_is_there_from_join_to_the_end_of_the_block(autojump_clock) -> None:
    async with hall_with(2) as (hall, (ann, ben)):
        room = hall.room("r")
        assert (room.count, room.members, len(hall.rooms)) == (0, [], 0)
        async with room.join(ann.websocket, user="Ann") as joined:
            assert joined is room
            assert [(member.websocket, dict(member.info)) for member in room.members] == [
                (ann.websocket, {"user": "Ann"})
            ]
            async with room.join(ben.websocket, user="Ben"):
                assert [member.info["user"] for member in room.members] == ["Ann", "Ben"]
                assert room.count == 2
                assert list(hall.rooms) == [room]
                assert len({member.id for member in room.members}) == 2
            assert room.count == 1
        assert (room.count, room.members, len(hall.rooms)) == (0, [], 0)


async def test_any_word_may_be_info_and_info_cannot_be_changed(autojump_clock) -> None:
    async with hall_with() as (hall, ann):
        async with hall.room("r").join(ann.websocket, self=1, websocket=2, name=3) as room:
            (member,) = room.members
            assert dict(member.info) == {"self": 1, "websocket": 2, "name": 3}
            assert member.room is room
            with pytest.raises(TypeError):
                member.info["name"] = 4  # type: ignore[index]


async def leave_by_return(_: Hall) -> None:
    return


async def leave_by_error(_: Hall) -> None:
    raise ZeroDivisionError


async def leave_by_timeout(_: Hall) -> None:
    with trio.fail_after(1):
        await trio.sleep_forever()


@pytest.mark.parametrize("way", [leave_by_return, leave_by_error, leave_by_timeout])
async def test_a_member_leaves_on_every_way_out(way, autojump_clock) -> None:
    async with hall_with() as (hall, ann):
        room = hall.room("r")
        try:
            async with room.join(ann.websocket):
                await way(hall)
        except (ZeroDivisionError, trio.TooSlowError):
            pass
        assert room.count == 0


@pytest.mark.parametrize("end", ["close", "cut", "cancel"])
async def test_a_member_whose_peer_is_gone_or_whose_server_ends_leaves(end: str, autojump_clock) -> None:
    """Its handler neither reads nor returns: it is cancelled, and that is its leave."""
    rooms, left = Rooms(), trio.Event()
    room = rooms.room("r")

    async def sit(ws: WebSocket) -> None:
        async with room.join(ws):
            await trio.sleep_forever()

    @room.on_leave
    def note(member, count) -> None:
        left.set()

    network = MemoryNetwork()
    async with rooms.running(), serving(network, sit, timeouts=CALM) as server:
        peer = await dial(network)
        await wait_all_tasks_blocked()
        assert room.count == 1
        match end:
            case "close":
                await peer.send(close(1000))
            case "cut":
                await peer.close()
            case "cancel":
                server.shutdown(grace=0)
        with trio.fail_after(20):
            await left.wait()
        assert room.count == 0
        assert len(rooms) == 0


async def test_join_is_a_checkpoint_and_leaves_nothing_if_cancelled(autojump_clock) -> None:
    """Join is a checkpoint and a cancelled one leaves nothing behind."""
    async with hall_with() as (hall, ann):
        joins = []
        room = hall.room("r")
        room.on_join(lambda member, count: joins.append(member))
        with trio.CancelScope() as scope:
            scope.cancel()
            async with room.join(ann.websocket):
                pytest.fail("it has joined")
        assert scope.cancelled_caught
        await wait_all_tasks_blocked()
        assert (room.count, len(hall.rooms), internal(hall.rooms, "_open"), joins) == (0, 0, {}, [])


async def test_a_join_cancelled_while_the_room_opens_lets_others_in(autojump_clock) -> None:
    """Whatever the first of several joiners was at when it was cancelled, the others join."""
    async with hall_with(3) as (hall, guests):
        for turns in range(6):
            room = hall.room("r")
            inside = []

            async def sit(guest, room=room, inside=inside) -> None:
                async with room.join(guest.websocket):
                    inside.append(guest)
                    await trio.sleep_forever()

            async with trio.open_nursery() as nursery:
                first = trio.CancelScope()

                async def sit_first(first=first, sit=sit) -> None:
                    with first:
                        await sit(guests[0])

                nursery.start_soon(sit_first)
                for _ in range(turns):
                    await trio.lowlevel.checkpoint()
                nursery.start_soon(sit, guests[1])
                nursery.start_soon(sit, guests[2])
                first.cancel()
                await wait_all_tasks_blocked()
                assert sorted(inside[-2:], key=guests.index) == guests[1:]
                assert room.count == 2
                assert internal(room, "_session").session is not None
                nursery.cancel_scope.cancel()
            await wait_all_tasks_blocked()
            assert (room.count, internal(hall.rooms, "_open"), internal(room, "_session").session) == (0, {}, None)


async def test_a_connection_that_joins_again_within_is_one_member(autojump_clock) -> None:
    async with hall_with() as (hall, ann):
        room = hall.room("r")
        events = []
        room.on_join(lambda member, count: events.append(("join", count)))
        room.on_leave(lambda member, count: events.append(("leave", count)))
        async with room.join(ann.websocket, user="Ann"):
            async with room.join(ann.websocket), room.join(ann.websocket, user="Ann"):
                assert room.count == 1
                await room.publish("once")
                assert await ann.heard(1) == ["once"]
            assert room.count == 1
            with pytest.raises(ValueError, match=r"in <Room 'r'> already, with {'user': 'Ann'}"):
                async with room.join(ann.websocket, user="Annie"):
                    pass
            assert room.count == 1
            await room.publish("still here")
            assert await ann.heard(1) == ["still here"]
        await wait_all_tasks_blocked()
        assert (room.count, events) == (0, [("join", 1), ("leave", 0)])


async def test_a_member_of_several_rooms_hears_each(autojump_clock) -> None:
    async with hall_with(2) as (hall, (ann, ben)):
        async with hall.room("a").join(ann.websocket) as a, hall.room("b").join(ann.websocket) as b:
            async with b.join(ben.websocket):
                assert {(room.name, room.count) for room in hall.rooms} == {("a", 1), ("b", 2)}
                await a.publish("in a")
                await b.publish("in b")
            await b.publish("in b still")
            assert await ann.heard(3) == ["in a", "in b", "in b still"]
            assert await ben.heard(1) == ["in b"]
            assert await ben.silent()


async def test_a_name_is_one_room_while_it_has_members_or_is_held(autojump_clock) -> None:
    async with hall_with() as (hall, ann):
        async with hall.room("r").join(ann.websocket) as room:
            assert hall.room("r") is room
            assert hall.room("s") is not room
        assert hall.room("r") is room


@pytest.mark.slow
async def test_no_room_is_left_behind(autojump_clock) -> None:
    async with hall_with() as (hall, ann):
        async with hall.room("r", history=3).join(ann.websocket) as room:
            await room.publish("said")
        assert len(internal(hall.rooms, "_known")) == 1
        del room
        await wait_all_tasks_blocked()
        gc.collect()
        assert (
            len(internal(hall.rooms, "_known")),
            internal(hall.rooms, "_open"),
            internal(hall.rooms.backplane, "_subscriptions"),
        ) == (0, {}, {})
        assert hall.room("r").options.history == 0


async def test_options_that_differ_are_an_error_that_names_both(autojump_clock) -> None:
    rooms = Rooms()
    room = rooms.room("r", history=5, policy="drop_oldest")
    assert rooms.room("r") is room
    assert rooms.room("r", history=5) is room
    with pytest.raises(ValueError, match=r"<Room 'r'> exists with history=5, it cannot have history=6 too"):
        rooms.room("r", history=6)
    with pytest.raises(ValueError, match="policy='drop_oldest'"):
        rooms.room("r", policy="disconnect")
    with pytest.raises(ValueError, match="backlog"):
        rooms.room("r", backlog=10)


@pytest.mark.parametrize(("option", "value"), [("history", -1), ("policy", "wait"), ("backlog", 0)])
async def test_options_that_make_no_sense_are_errors(option: str, value: object, autojump_clock) -> None:
    with pytest.raises(ValueError, match=option):
        Rooms().room("r", **{option: value})


async def test_joining_needs_running_rooms_and_an_accepted_connection(autojump_clock) -> None:
    async with hall_with() as (hall, ann):
        with pytest.raises(LocalProtocolError, match=r"rooms.running\(\)"):
            async with Rooms().room("r").join(ann.websocket):
                pass
        with pytest.raises(LocalProtocolError, match="not accepted yet"):
            async with hall.room("r").join(WebSocket(ann.websocket.request)):
                pass
        assert internal(hall.rooms, "_open") == {}


async def test_rooms_run_once_at_a_time_and_again(autojump_clock) -> None:
    rooms = Rooms()
    for _ in range(2):
        async with rooms.running():
            with pytest.raises(LocalProtocolError, match="running already"):
                async with rooms.running():
                    pass


async def test_rooms_that_are_cancelled_as_they_begin_end_at_once(autojump_clock) -> None:
    rooms = Rooms()
    with trio.fail_after(1), trio.CancelScope() as scope:
        scope.cancel()
        async with rooms.running():
            pytest.fail("it did not begin")
    assert scope.cancelled_caught
    async with rooms.running():
        pass


async def test_an_error_leaves_running_as_it_is(autojump_clock) -> None:
    with pytest.raises(ZeroDivisionError):
        async with Rooms().running():
            raise ZeroDivisionError
    with trio.move_on_after(1) as scope:
        async with Rooms().running():
            await trio.sleep_forever()
    assert scope.cancelled_caught


async def test_members_that_outlive_the_rooms_leave_in_peace(caplog, autojump_clock) -> None:
    rooms = Rooms()
    room = rooms.room("r")
    async with hall_with(2) as (_hall, (ann, ben)):
        async with rooms.running():
            joining, other = room.join(ann.websocket), room.join(ben.websocket)
            await joining.__aenter__()
            await other.__aenter__()
        room.on_leave(lambda member, count: None)
        await joining.__aexit__(None, None, None)
        assert "<Room 'r'> came or went after the rooms had ended" in caplog.text
        async with rooms.running(), room.join(ann.websocket):
            assert room.count == 2
            await room.publish("again")
            assert await ann.heard(1) == await ben.heard(1) == ["again"]
        await other.__aexit__(None, None, None)
        assert (room.count, internal(rooms, "_open")) == (0, {})


@pytest.mark.slow
async def test_chat_of_60_with_rude_and_stalled_members(autojump_clock) -> None:
    """Membership and counts are right at every step, the healthy hear everything, no room is left behind."""
    dice = random.Random(1)
    rooms = Rooms()
    joined: list[tuple[str, int]] = []
    left: list[tuple[str, int]] = []

    async def chat(ws: WebSocket) -> None:
        user = await ws.receive_text()
        async with rooms.room("chat", backlog=20_000).join(ws, user=user) as room:
            async for message in ws:
                await room.publish(f"{user}: {message}")

    quick, tight = MemoryNetwork(sys.maxsize), MemoryNetwork(capacity=0)
    listeners = [quick.listen(), tight.listen()]
    async with rooms.running(), serving(quick, chat, timeouts=CALM, listeners=listeners):
        room = rooms.room("chat", backlog=20_000)
        room.on_join(lambda member, count: joined.append((member.info["user"], count)))
        room.on_leave(lambda member, count: left.append((member.info["user"], count)))
        healthy: dict[str, RawPeer] = {}
        deaf: dict[str, RawPeer] = {}
        for number in range(60):
            user = f"user {number}"
            peer = await dial(tight if number % 10 == 0 else quick)
            (deaf if number % 10 == 0 else healthy)[user] = peer
            await peer.send(text(user))
            await wait_all_tasks_blocked()
            assert (room.count, len(joined)) == (number + 1, number + 1)
        assert joined == [(f"user {number}", number + 1) for number in range(60)]
        said: list[str] = []
        while len(healthy) > 30:
            user = dice.choice(sorted(healthy))
            if dice.random() < 0.5:
                said.append(f"{user}: {len(said)} {'x' * 200}")
                await healthy[user].send(text(said[-1].partition(": ")[2]))
            else:
                leaver = healthy.pop(user)
                await (leaver.close() if dice.random() < 0.7 else leaver.send(close(1001)))
            await wait_all_tasks_blocked()
            await trio.sleep(2)  # drain_timeout, for those who read
            assert room.count >= len(healthy)
            assert {member.info["user"] for member in room.members} >= set(healthy)
            assert [count for _, count in left] == list(range(59, room.count - 1, -1))
        for number in range(60):  # much at once: those that never read are out, nobody else is
            said.append(f"{user}: {number} {'y' * 2000}")
            await room.publish(said[-1])
        await trio.sleep(2)
        assert {member.info["user"] for member in room.members} == set(healthy)
        for peer in healthy.values():
            frames = [await peer.receive_frame() for _ in said]
            assert [frame.payload.decode() for frame in frames] == said
        for peer in healthy.values():
            peer.close()
        await trio.sleep(2)
        assert (room.count, len(rooms), len(left)) == (0, 0, 60)
        assert sorted(user for user, _ in left) == sorted(user for user, _ in joined)


@pytest.mark.slow
async def test_a_thousand_joins_and_leaves_at_once_are_counted_right(autojump_clock) -> None:
    async with hall_with(100) as (hall, guests):
        room = hall.room("r")
        changes: list[int] = []
        room.on_join(lambda member, count: changes.append(count))
        room.on_leave(lambda member, count: changes.append(count))
        async with trio.open_nursery() as nursery:
            for guest in guests:
                nursery.start_soon(partial(_come_and_go, room, guest.websocket))
        await wait_all_tasks_blocked()
        assert len(changes) == 2000
        assert all(abs(after - before) == 1 for before, after in zip([0, *changes], changes, strict=False))
        assert (changes[-1], room.count) == (0, 0)


async def _come_and_go(room, websocket) -> None:
    for _ in range(10):
        async with room.join(websocket):
            await trio.lowlevel.checkpoint()


async def test_seats_of_all_are_in_the_order_of_joining(autojump_clock) -> None:
    async with hall_with(5) as (hall, guests):
        room = hall.room("r")
        async with seated(room, guests):
            assert len(room.members) == 5
            first = room.members[0].websocket
            async with room.join(first):
                assert room.members[0].websocket is first
