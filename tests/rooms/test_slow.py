"""Members that do not read: nobody waits for them, what waits for them is bounded, and the room's policy decides."""

from __future__ import annotations

import itertools

import pytest
import trio
from support.internals import internal
from support.networks import SocketNetwork, dial, ping, serving, text
from trio.testing import wait_all_tasks_blocked

from trio_ws import Limits, Timeouts, WebSocket
from trio_ws.rooms import Rooms, broadcast
from trio_ws.rooms.member_queue import ENTRY_BYTES, SHARE_BYTES
from trio_ws.testing import Opcode, RawConnectionEnded

from .hall import Guest, hall_with, open_hall, seated

KIB = 1024
PATIENT = Timeouts(ping_interval=None, send_timeout=None, close_timeout=40)


async def fill(room, count: int, size: int = 10 * KIB) -> list[str]:
    """Publish numbered messages, and return them."""
    said = [f"{number:06}" + "x" * (size - 6) for number in range(count)]
    for message in said:
        await room.publish(message)
    return said


@pytest.mark.slow
async def test_one_of_200_never_reads_and_nobody_notices(autojump_clock) -> None:
    """Publishing takes no time, the others get everything in order, and what waits for the one is bounded."""
    backlog, size = 64 * KIB, 4 * KIB
    async with open_hall() as hall:
        room = hall.room("r", policy="drop_oldest", backlog=backlog)
        deaf = await hall.guest(tight=True)
        guests = await hall.guests(200)
        async with seated(room, [*guests, deaf]):
            assert room.count == 201
            seat = internal(room, "_delivery")[deaf.websocket]
            outbox = deaf.websocket.context.channel.transport.outbox  # type: ignore[union-attr]
            start, most = trio.current_time(), 0
            for number in range(45):
                await room.publish(f"{number:04}" + "x" * (size - 4))
                waiting = sum(message.size + ENTRY_BYTES for message in seat.backlog)
                assert waiting == internal(seat, "_size")
                most = max(most, waiting + outbox.size)
            assert trio.current_time() == start, "it has waited"
            assert 64 * KIB + backlog < most <= 64 * KIB + backlog + 2 * (size + ENTRY_BYTES)
            for guest in (guests[0], guests[100], guests[199]):
                assert [int(said[:4]) for said in await guest.heard(45)] == list(range(45))
            for guest in guests:
                assert not internal(room, "_delivery")[guest.websocket].backlog
            assert room.count == 201


async def test_disconnect_ends_a_member_for_which_too_much_waits(autojump_clock) -> None:
    """With 1013, at once, and the others hear all; it is the default."""
    ends: list[int] = []

    async def note(ws, code: int) -> None:
        ends.append(code)

    async with open_hall(on_disconnect=note) as hall:
        slow, ann = await hall.guest(tight=True), await hall.guest()
        room = hall.room("r", backlog=100 * KIB)
        async with seated(room, [slow, ann]):
            await fill(room, 16)  # 64 KiB are in the outbox, less than 100 KiB wait
            assert slow.websocket.connected
            said = await fill(room, 6)
            assert (slow.websocket.close_code, slow.websocket.close_info.by) == (1013, "local")
            assert not internal(room, "_delivery")[slow.websocket].backlog
            await trio.sleep(3)
            assert ends == [1013]
            await fill(room, 30)
            assert (await ann.heard(22))[16:] == said
            assert ann.websocket.connected


async def close_code_of(guest: Guest) -> int | None:
    """Read up to a close frame, and return its code; None if the connection ends without one."""
    try:
        return (await guest.peer.receive_close(answer=False))[-1].close_code
    except RawConnectionEnded:
        return None


@pytest.mark.parametrize("way", ["room", "broadcast"])
@pytest.mark.parametrize(("pause", "code"), [(0, 1013), (4.5, 1013), (5.5, None)])
async def test_slow_member_reading_within_close_timeout_sees_1013(autojump_clock, way, pause, code) -> None:
    """The close frame stands behind what waits in the outbox; `close_timeout` is 5 s here."""
    async with hall_with(tight=True) as (hall, slow):
        room = hall.room("r", backlog=20 * KIB)
        async with seated(room, [slow]):
            if way == "room":
                await fill(room, 16)
            else:
                for _ in range(9):
                    await broadcast([slow.websocket], "x" * 10 * KIB)
            assert slow.websocket.close_code == 1013
            await trio.sleep(pause)
            with trio.fail_after(5):
                assert await close_code_of(slow) == code
        with trio.fail_after(5):
            await slow.websocket.context.channel.closing.wait_gone()  # type: ignore[union-attr]


@pytest.mark.parametrize("kind", ["poller", "stream", "tls"])
async def test_slow_member_on_a_socket_that_reads_again_sees_1013(kind) -> None:
    """A reset would take what stands in the kernel's buffers, the close frame too."""
    network = SocketNetwork(poller=kind != "stream", tls=kind == "tls")
    rooms, arrived = Rooms(), trio.Event()

    async def handler(ws: WebSocket) -> None:
        async with rooms.room("r", backlog=20 * KIB).join(ws):
            arrived.set()
            await trio.sleep_forever()

    with trio.fail_after(50):
        async with rooms.running(), serving(network, handler, timeouts=PATIENT):
            peer = await dial(network)
            await arrived.wait()
            room = rooms.room("r")
            (member,) = room.members
            while member.websocket.connected:
                await room.publish("x" * 10 * KIB)
            frames = await peer.receive_frames()
            await peer.close()
    assert [frame.opcode for frame in frames] == [Opcode.TEXT] * (len(frames) - 1) + [Opcode.CLOSE]
    assert frames[-1].close_code == 1013


@pytest.mark.parametrize("policy", ["drop_oldest", "drop_newest"])
async def test_drop_policies_keep_the_member_and_lose_whole_messages(autojump_clock, policy) -> None:
    """The oldest of what waits, or what comes: the rest arrives in order, no frame is torn, and new ones follow."""
    async with hall_with(tight=True) as (hall, slow):
        room = hall.room("r", policy=policy, backlog=10 * (10 * KIB + ENTRY_BYTES))
        async with room.join(slow.websocket):
            said = await fill(room, 100)
            await wait_all_tasks_blocked()
            # Seven fill the outbox to its mark, ten may wait.
            kept = said[:7] + (said[90:] if policy == "drop_oldest" else said[7:17])
            assert await slow.heard(17) == kept
            await room.publish("and on")
            assert await slow.heard(1) == ["and on"]
            assert slow.websocket.connected


@pytest.mark.parametrize("policy", ["disconnect", "drop_oldest", "drop_newest"])
async def test_who_is_slow_for_a_while_misses_nothing(autojump_clock, policy) -> None:
    """What waits follows as soon as there is room, before what comes later; nothing is left of it."""
    async with hall_with(tight=True) as (hall, slow):
        room = hall.room("r", policy=policy)
        async with room.join(slow.websocket):
            said = await fill(room, 40)
            assert await slow.heard(20) == said[:20]
            said += await fill(room, 5)
            assert await slow.heard(25) == said[20:]
            seat = internal(room, "_delivery")[slow.websocket]
            assert (len(seat.backlog), internal(seat, "_size")) == (0, 0)


async def test_a_flood_of_empty_messages_is_bounded_too(autojump_clock) -> None:
    async with hall_with(tight=True) as (hall, slow):
        room = hall.room("r", policy="drop_newest", backlog=100 * ENTRY_BYTES)
        async with room.join(slow.websocket):
            await fill(room, 7)
            for _ in range(200):
                await room.publish("")
            assert len(internal(room, "_delivery")[slow.websocket].backlog) == 100


async def test_one_message_above_the_backlog_alone_is_allowed(autojump_clock) -> None:
    """One message larger than the backlog passes and alone is no offence."""
    async with hall_with(tight=True) as (hall, ann):
        room = hall.room("r", backlog=KIB)
        async with room.join(ann.websocket):
            await room.publish("a" * 200 * KIB)
            await room.publish("b" * 200 * KIB)
            assert [len(said) for said in await ann.heard(2)] == [200 * KIB] * 2
            assert ann.websocket.connected


async def test_pings_and_own_messages_do_not_wait_behind_the_backlog(autojump_clock) -> None:
    async with hall_with(tight=True) as (hall, slow):
        room = hall.room("r", policy="drop_oldest")
        async with room.join(slow.websocket), trio.open_nursery() as nursery:
            said = await fill(room, 60)
            nursery.start_soon(slow.websocket.send_text, "own")
            await slow.peer.send(ping(b"?"))
            frames = [await slow.frame() for _ in range(62)]
        payloads = [frame.payload for frame in frames]
        assert payloads.index(b"?") < 10
        assert payloads.index(b"own") < 20
        assert [each.decode() for each in payloads if each not in (b"?", b"own")] == said


async def test_busy_handler_and_room_share_a_slow_connection(autojump_clock) -> None:
    """Neither side starves, whatever the sizes; each one's messages stay in order."""
    async with hall_with(tight=True) as (hall, slow):
        room = hall.room("r", backlog=2 * KIB * KIB)

        async def send_own() -> None:
            for number in range(20):
                await slow.websocket.send_text(f"own {number} " + "x" * 70 * KIB)

        async with room.join(slow.websocket), trio.open_nursery() as nursery:
            nursery.start_soon(send_own)
            await wait_all_tasks_blocked()
            for number in range(20):
                await room.publish(f"room {number} " + "x" * 70 * KIB)
            heard = [message.split()[:2] for message in await slow.heard(40)]
        for who in ("own", "room"):
            assert [int(number) for name, number in heard if name == who] == list(range(20))
            assert 8 <= [name for name, _ in heard[:20]].count(who) <= 12


async def test_sender_cancelled_while_waiting_yields_its_turn_to_room(autojump_clock) -> None:
    """A sender that is cancelled while it waits leaves its turn to the room."""
    async with hall_with(tight=True) as (hall, slow):
        async with hall.room("r").join(slow.websocket) as room:
            said = await fill(room, 10)
            with trio.move_on_after(1) as scope:
                await slow.websocket.send_text("never")
            assert scope.cancelled_caught
            assert await slow.heard(10) == said
            assert await slow.silent()


async def test_what_waits_for_a_member_that_leaves_is_dropped(autojump_clock) -> None:
    async with hall_with(tight=True) as (hall, slow):
        room = hall.room("r")
        async with room.join(slow.websocket):
            said = await fill(room, 20)
        assert await slow.heard(7) == said[:7]
        assert await slow.silent()


async def test_repeated_joins_leave_no_trace_on_a_stuck_connection(autojump_clock) -> None:
    """Joining and leaving over and over leaves no trace on a stuck connection."""
    async with hall_with(tight=True) as (hall, slow):
        room = hall.room("r")
        async with hall.room("other").join(slow.websocket) as other:
            await fill(other, 10)
            for _ in range(20):
                async with room.join(slow.websocket):
                    await room.publish("waits")
            assert len(internal(slow.websocket.context.open_channel().writer.flow, "_callbacks")) == 1  # type: ignore[attr-defined]


async def test_rooms_share_the_outbox_of_a_member_that_is_slow_in_all(autojump_clock) -> None:
    async with hall_with(tight=True) as (hall, slow):
        async with hall.room("a").join(slow.websocket) as a, hall.room("b").join(slow.websocket) as b:
            said_a = await fill(a, 20, 10 * KIB)
            said_b = await fill(b, 20, 10 * KIB + 1)
            heard = await slow.heard(40)
            assert [said for said in heard if len(said) == 10 * KIB] == said_a
            assert [said for said in heard if len(said) > 10 * KIB] == said_b


async def test_member_with_a_stuck_outbox_is_ended_by_send_timeout(autojump_clock) -> None:
    """Whatever the policy: it would never get what waits for it."""
    async with hall_with(tight=True, timeouts=Timeouts(ping_interval=None, send_timeout=5)) as (hall, slow):
        room = hall.room("r", policy="drop_newest")
        async with seated(room, [slow]):
            start = trio.current_time()
            await fill(room, 10)
            with trio.fail_after(20):
                await slow.websocket.context.channel.closing.wait_gone()  # type: ignore[union-attr]
            assert slow.websocket.close_code == 1013
            assert 5 <= trio.current_time() - start < 6.5
            await fill(room, 10)
            assert not internal(room, "_delivery")[slow.websocket].backlog


async def test_member_whose_peer_left_behind_unread_data_is_not_slow(autojump_clock) -> None:
    """What it said before may hold a close frame, whose code counts."""
    async with open_hall(limits=Limits(inbox_messages=1), when_peer_leaves="finish") as hall:
        gone: Guest = await hall.guest(tight=True)
        room = hall.room("r", backlog=KIB)
        async with seated(room, [gone]):
            await fill(room, 8)
            with trio.move_on_after(0.001):
                await gone.peer.send(*[text("unread")] * 5)
            await gone.peer.close()
            await trio.sleep(3)
            await fill(room, 50)
            assert gone.websocket.close_code in (None, 1006)


async def test_a_newcomer_is_handed_a_long_history_over_several_turns(autojump_clock) -> None:
    """Though its connection has room for all of it: to hand out costs time, above all where it is deflated."""
    count, size = 40, 10 * KIB
    async with open_hall(limits=Limits(outbox_bytes=KIB * KIB)) as hall:
        room = hall.room("r", history=count)
        ann, ben = await hall.guest(), await hall.guest()
        async with seated(room, [ann]):
            said = await fill(room, count, size)
            async with room.join(ben.websocket):
                seat = internal(room, "_delivery")[ben.websocket]
                waiting = [count, len(seat.backlog)]

                class Watching(trio.abc.Instrument):
                    def after_task_step(self, task: trio.lowlevel.Task) -> None:
                        waiting.append(len(seat.backlog))

                watching = Watching()
                trio.lowlevel.add_instrument(watching)
                while seat.backlog:
                    await trio.lowlevel.checkpoint()
                trio.lowlevel.remove_instrument(watching)
                most = max(before - after for before, after in itertools.pairwise(waiting))
                assert 0 < most * size <= SHARE_BYTES + size
                assert await ben.heard(count) == said
