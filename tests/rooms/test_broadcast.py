"""The bare broadcast: any iterable of connections, no room."""

from __future__ import annotations

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from trio_ws import WebSocket
from trio_ws.rooms import broadcast
from trio_ws.testing import Opcode, RawFrame

from .hall import hall_with, open_hall

KIB = 1024


async def test_any_iterable_of_connections_gets_the_message(autojump_clock) -> None:
    async with hall_with(4) as (_hall, guests):
        all_four = [guest.websocket for guest in guests]
        await broadcast(all_four, "list")
        await broadcast(set(all_four), {"a": "set"})
        await broadcast((websocket for websocket in all_four), b"generator")
        await broadcast(dict.fromkeys(all_four).keys(), "keys", exclude=all_four[0])
        await broadcast(all_four, "two", exclude=all_four[:2])
        for number, guest in enumerate(guests):
            assert await guest.frame() == RawFrame(Opcode.TEXT, b"list")
            assert await guest.frame() == RawFrame(Opcode.TEXT, b'{"a":"set"}')
            assert await guest.frame() == RawFrame(Opcode.BINARY, b"generator")
            assert await guest.heard(min(number, 2)) == ["keys", "two"][: min(number, 2)]
            assert await guest.silent()


async def test_the_list_may_change_while_messages_go_out(autojump_clock) -> None:
    """Connections come and go between two broadcasts, and a broadcast in flight takes the list as it is then."""
    async with hall_with(3) as (_hall, guests):
        connections = {guests[0].websocket}
        async with trio.open_nursery() as nursery:
            nursery.start_soon(broadcast, connections, "1")
            connections.add(guests[1].websocket)
            await wait_all_tasks_blocked()
            connections.discard(guests[0].websocket)
        await broadcast(connections, "2")
        assert (await guests[0].heard(1), await guests[1].heard(2)) == (["1"], ["1", "2"])


async def test_those_that_ended_or_are_not_accepted_are_skipped(autojump_clock) -> None:
    async with hall_with(3, when_peer_leaves="finish") as (_hall, guests):
        await guests[0].peer.close()
        await guests[1].websocket.close()
        await broadcast([*(guest.websocket for guest in guests), WebSocket(guests[0].websocket.request)], "on")
        assert await guests[2].heard(1) == ["on"]
        assert (await guests[1].frame()).close_code == 1000


async def test_a_full_outbox_ends_its_connection_or_misses_the_message(autojump_clock) -> None:
    async with open_hall() as hall:
        kept, ended, healthy = await hall.guest(tight=True), await hall.guest(tight=True), await hall.guest()
        for number in range(7):
            await broadcast([kept.websocket], f"{number}" + "x" * 10 * KIB, policy="drop_newest")
        await broadcast([kept.websocket, healthy.websocket], "missed", policy="drop_newest")
        assert [said[0] for said in await kept.heard(7)] == list("0123456")
        assert await kept.silent()
        assert await healthy.heard(1) == ["missed"]
        for _ in range(8):
            await broadcast([ended.websocket, healthy.websocket], "x" * 10 * KIB)
        assert ended.websocket.close_code == 1013
        assert healthy.websocket.connected
        assert kept.websocket.connected


async def test_it_is_a_checkpoint_and_refuses_what_it_cannot_do(autojump_clock) -> None:
    async with hall_with() as (_hall, ann):
        with trio.CancelScope() as scope:
            scope.cancel()
            await broadcast([ann.websocket], "never")
        assert scope.cancelled_caught
        with pytest.raises(TypeError):
            await broadcast([ann.websocket], object())
        with pytest.raises(ValueError, match="need a room"):
            await broadcast([ann.websocket], "?", policy="drop_oldest")  # type: ignore[arg-type]
        assert await ann.silent()
