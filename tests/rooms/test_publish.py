"""What is said in a room: who gets it, in which form and order, and what newcomers get."""

from __future__ import annotations

import pytest
import trio
from support.handlers import parts
from support.networks import dial, serving, text
from trio.testing import wait_all_tasks_blocked

from trio_ws import WebSocket, WebSocketMessage
from trio_ws.rooms import Rooms
from trio_ws.testing import MemoryNetwork, Opcode, RawFrame

from .hall import CALM, hall_with, open_hall, seated


async def test_every_member_gets_every_message_in_order(autojump_clock) -> None:
    async with hall_with(20) as (hall, guests):
        room = hall.room("r")
        async with seated(room, guests):
            async with trio.open_nursery() as nursery:
                for name in "abc":

                    async def talk(name: str = name) -> None:
                        for number in range(30):
                            await room.publish(f"{name}{number}")

                    nursery.start_soon(talk)
            heard = [await guest.heard(90) for guest in guests]
            assert all(each == heard[0] for each in heard)
            for name in "abc":
                assert [said for said in heard[0] if said[0] == name] == [f"{name}{number}" for number in range(30)]


@pytest.mark.parametrize(
    ("message", "opcode", "payload"),
    [
        ("höher", Opcode.TEXT, "höher".encode()),
        ("", Opcode.TEXT, b""),
        (b"\x00\xff", Opcode.BINARY, b"\x00\xff"),
        (bytearray(b"abc"), Opcode.BINARY, b"abc"),
        (memoryview(b"abc"), Opcode.BINARY, b"abc"),
        ({"a": [1, None, "ö"]}, Opcode.TEXT, '{"a":[1,null,"ö"]}'.encode()),
        (None, Opcode.TEXT, b"null"),
        (17, Opcode.TEXT, b"17"),
        (WebSocketMessage.text(""), Opcode.TEXT, b""),
        (WebSocketMessage.text("t"), Opcode.TEXT, b"t"),
        (WebSocketMessage.binary(b""), Opcode.BINARY, b""),
        (WebSocketMessage.binary(b"b"), Opcode.BINARY, b"b"),
    ],
)
async def test_str_is_text_bytes_are_binary_and_all_else_is_json(autojump_clock, message, opcode, payload) -> None:
    """Whatever the member's route sends itself."""
    async with hall_with(send_type="bytes") as (hall, ann):
        async with hall.room("r").join(ann.websocket) as room:
            await room.publish(message)
            assert await ann.frame() == RawFrame(opcode, payload)


@pytest.mark.parametrize("message", [object(), {object()}, float("nan"), "\ud800", WebSocketMessage.ping()])
async def test_what_cannot_be_encoded_is_an_error_and_nobody_gets_it(autojump_clock, message) -> None:
    async with hall_with() as (hall, ann):
        async with hall.room("r").join(ann.websocket) as room:
            with pytest.raises((TypeError, ValueError)):
                await room.publish(message)
            await room.publish("fine")
            assert await ann.heard(1) == ["fine"]


async def test_those_excluded_do_not_get_it(autojump_clock) -> None:
    async with hall_with(3) as (hall, guests):
        stranger = await hall.guest()
        ann, ben, cat = (guest.websocket for guest in guests)
        room = hall.room("r")
        async with seated(room, guests):
            await room.publish("1", exclude=ann)
            await room.publish("2", exclude=[ann, ben])
            await room.publish("3", exclude=stranger.websocket)
            await room.publish("4", exclude=(guest for guest in (cat,)))
            await room.publish("5", exclude=None)
            assert await guests[0].heard(3) == ["3", "4", "5"]
            assert await guests[1].heard(4) == ["1", "3", "4", "5"]
            assert await guests[2].heard(4) == ["1", "2", "3", "5"]


async def test_publish_is_a_checkpoint_and_sends_nothing_if_cancelled(autojump_clock) -> None:
    """Publish is a checkpoint and nobody gets what was cancelled."""
    async with hall_with() as (hall, ann):
        async with hall.room("r").join(ann.websocket) as room:
            with trio.CancelScope() as scope:
                scope.cancel()
                await room.publish("never")
            assert scope.cancelled_caught
            assert await ann.silent()


async def test_anyone_may_publish_from_anywhere(autojump_clock) -> None:
    """From no connection at all; into a room without members too, where nobody hears it, not even later."""
    async with hall_with() as (hall, ann):
        await hall.room("r").publish("lost")
        async with hall.room("r", history=5).join(ann.websocket):
            await hall.room("r").publish("heard")
            assert await ann.heard(1) == ["heard"]
    assert await Rooms().room("r").publish("rooms need not run for that") != ""


async def test_message_reaches_members_from_join_until_leave(autojump_clock) -> None:
    """A message reaches nobody after the leave and everybody from the join on."""
    async with hall_with(2) as (hall, (ann, ben)):
        room = hall.room("r")
        async with room.join(ann.websocket):
            await room.publish("1")
            async with room.join(ben.websocket):
                await room.publish("2")
            await room.publish("3")
        assert await ann.heard(3) == ["1", "2", "3"]
        assert await ben.heard(1) == ["2"]
        assert await ben.silent()


async def test_newcomer_gets_history_then_new_messages_without_gap(autojump_clock) -> None:
    """While somebody publishes all the time."""
    async with hall_with(10) as (hall, guests):
        room = hall.room("r", history=3)
        async with trio.open_nursery() as nursery:

            async def talk() -> None:
                for number in range(200):
                    await room.publish(str(number))
                nursery.cancel_scope.cancel()

            async def sit(guest) -> None:
                async with room.join(guest.websocket):
                    await trio.sleep_forever()

            nursery.start_soon(sit, guests[0])
            await wait_all_tasks_blocked()
            nursery.start_soon(talk)
            for guest in guests[1:]:
                for _ in range(7):
                    await trio.lowlevel.checkpoint()
                nursery.start_soon(sit, guest)
        assert await guests[0].heard(200) == [str(number) for number in range(200)]
        firsts = []
        for guest in guests[1:]:
            first = int((await guest.heard(1))[0])
            firsts.append(first)
            assert await guest.heard(199 - first) == [str(number) for number in range(first + 1, 200)]
        assert firsts == sorted(firsts)
        assert firsts[-1] > 3


async def test_history_is_the_same_for_all_and_has_an_end(autojump_clock) -> None:
    """It holds what was not for some, it does not hold what is too old, and it ends with the last member's leave."""
    async with hall_with(3) as (hall, (ann, ben, cat)):
        room = hall.room("r", history=2)
        async with room.join(ann.websocket):
            for number in range(3):
                await room.publish(str(number), exclude=ann.websocket)
            async with room.join(ben.websocket):
                assert await ben.heard(2) == ["1", "2"]
        await wait_all_tasks_blocked()
        async with room.join(cat.websocket):
            assert await cat.silent()


async def test_history_above_the_backlog_is_no_fault_of_newcomers(autojump_clock) -> None:
    """A history larger than the backlog is no fault of the newcomers."""
    async with open_hall() as hall:
        ann, slow = await hall.guest(), await hall.guest(tight=True)
        room = hall.room("r", history=10, backlog=1000)
        async with room.join(ann.websocket):
            for number in range(10):
                await room.publish(f"{number}{'x' * 50_000}")
            async with room.join(slow.websocket):
                await room.publish("live")
                assert [said[0] for said in await slow.heard(11)] == [*"0123456789", "l"]


async def test_a_member_that_has_ended_disturbs_nobody(autojump_clock) -> None:
    async with hall_with(3, when_peer_leaves="finish") as (hall, guests):
        room = hall.room("r")
        async with seated(room, guests):
            await guests[1].peer.close()
            await trio.sleep(3)
            assert not guests[1].websocket.connected
            await room.publish("on")
            assert (room.count, await guests[0].heard(1), await guests[2].heard(1)) == (3, ["on"], ["on"])


async def test_clients_may_have_rooms_too(autojump_clock) -> None:
    """Their frames are masked, each with a key of its own."""
    from trio_ws import open_websocket

    received = []

    async def listen(ws: WebSocket) -> None:
        received.extend([message async for message in ws])

    network, rooms = MemoryNetwork(), Rooms()
    async with rooms.running(), serving(network, listen, timeouts=CALM):
        for_two = [open_websocket("ws://localhost/", stream=await network.connect()) for _ in range(2)]
        async with for_two[0] as one, for_two[1] as two, rooms.room("r").join(one) as room, room.join(two):
            await room.publish("masked")
            await wait_all_tasks_blocked()
        assert received == ["masked", "masked"]


async def test_a_message_goes_out_whole_after_a_stream_of_fragments(autojump_clock) -> None:
    """Nothing gets between the fragments of a message, and what waited for its end follows."""
    async with hall_with() as (hall, ann):
        more = trio.Event()
        async with hall.room("r").join(ann.websocket) as room, trio.open_nursery() as nursery:
            nursery.start_soon(ann.websocket.send_stream, parts("be", "gin ", more, "end"))
            await wait_all_tasks_blocked()
            await room.publish("between")
            await room.publish("and after")
            more.set()
            frames = [await ann.frame() for _ in range(5)]
        assert [frame.fin for frame in frames] == [False, False, True, True, True]
        assert [frame.payload for frame in frames] == [b"be", b"gin ", b"end", b"between", b"and after"]


async def test_what_many_say_at_once_is_held_together_and_arrives(autojump_clock) -> None:
    """Fifty handlers publish within one scheduler turn, on sockets: all of it arrives, in one order."""
    network, rooms = MemoryNetwork(), Rooms()

    async def chat(ws: WebSocket) -> None:
        async with rooms.room("r").join(ws) as room:
            async for message in ws:
                await room.publish(message)

    async with rooms.running(), serving(network, chat, timeouts=CALM):
        peers = [await dial(network) for _ in range(20)]
        await wait_all_tasks_blocked()
        for number, peer in enumerate(peers):
            await peer.send(text(str(number)))
        heard = [[(await peer.receive_frame()).payload for _ in peers] for peer in peers]  # type: ignore[union-attr]
        assert all(each == heard[0] for each in heard)
        assert sorted(map(int, heard[0])) == list(range(20))
        assert [await rooms.room("r").publish("x") for _ in range(2)] != []
