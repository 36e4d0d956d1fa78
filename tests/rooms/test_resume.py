"""Coming back to a room: what was missed, whether that is all of it, and the ids to come back with; who is present."""

from __future__ import annotations

from contextlib import asynccontextmanager

import pytest
import trio
from support.handlers import app_of
from support.internals import internal
from trio.testing import wait_all_tasks_blocked

from trio_ws import App, BackplaneUnavailable, WebSocket, WebSocketDisconnect
from trio_ws.rooms import Log, MemoryBackplane, Presence

from .hall import hall_with, open_hall


class Lossy(MemoryBackplane):
    """Loses what it is told to lose, and is away when it is told to be."""

    away = False

    @asynccontextmanager
    async def subscribe(self, room, deliver, *, history, gap):
        async with super().subscribe(room, deliver, history=history, gap=gap) as self.log:
            self.gap = gap
            yield self.log

    def lose(self, missed: int | None) -> None:
        self.log.break_off()
        self.gap(missed)

    async def sync(self, room: str) -> None:
        await super().sync(room)
        if self.away:
            raise BackplaneUnavailable("away")


async def test_resume_delivers_missed_messages_and_reports_complete(autojump_clock) -> None:
    """Who comes back is handed what followed and told that it is all."""
    async with hall_with(2) as (hall, (ann, ben)):
        room = hall.room("r", history=1, resume=10)
        async with room.join(ann.websocket):
            ids = [await room.publish(str(number)) for number in range(5)]
            joining = room.join(ben.websocket, since=ids[1])
            assert joining.recovered is None
            async with joining:
                assert joining.recovered is True
                assert await ben.heard(3) == ["2", "3", "4"]
                await room.publish("live")
                assert await ben.heard(1) == ["live"]
            async with room.join(ben.websocket) as _:
                assert await ben.heard(1) == ["live"], "a newcomer gets the history only"
            async with (joining := room.join(ben.websocket)):
                assert joining.recovered is None


async def test_late_resume_delivers_the_rest_and_reports_a_gap(autojump_clock) -> None:
    """Who comes back too late is handed what is left and told that it is not all."""
    async with hall_with(2) as (hall, (ann, ben)):
        room = hall.room("r", history=3)
        async with room.join(ann.websocket):
            ids = [await room.publish(str(number)) for number in range(5)]
            for since in (ids[0], "of another time", ""):
                async with (joining := room.join(ben.websocket, since=since)):
                    assert joining.recovered is False
                    assert await ben.heard(3) == ["2", "3", "4"]
            async with (joining := room.join(ben.websocket, since=ids[1])):
                assert joining.recovered is True, "all that followed is held"
                assert await ben.heard(3) == ["2", "3", "4"]


async def test_who_is_in_the_room_and_joins_again_is_handed_nothing(autojump_clock) -> None:
    async with hall_with() as (hall, ann):
        room = hall.room("r", history=3)
        async with room.join(ann.websocket):
            said = await room.publish("said")
            assert await ann.heard(1) == ["said"]
            async with (again := room.join(ann.websocket, since=said)):
                assert again.recovered is False
            assert await ann.silent()


async def test_a_backplane_that_is_away_cannot_say_what_was_missed(autojump_clock, caplog) -> None:
    async with hall_with(2, backplane=(lossy := Lossy())) as (hall, (ann, ben)):
        room = hall.room("r", history=3)
        async with room.join(ann.websocket):
            lossy.away = True
            async with (joining := room.join(ben.websocket, since="on its way")):
                assert joining.recovered is False
        assert "cannot determine which messages a member has missed: away" in caplog.text


async def test_a_stamp_tells_members_the_ids_in_history_too(autojump_clock) -> None:
    calls = []

    def stamp(identifier: str, message: str | bytes) -> dict[str, object]:
        calls.append(identifier)
        return {"id": identifier, "text": message}

    async with hall_with(3) as (hall, (ann, ben, cid)):
        room = hall.room("r", history=3, stamp=stamp)
        async with room.join(ann.websocket), room.join(ben.websocket):
            said = await room.publish("said")
            async with room.join(cid.websocket):
                for guest in (ann, ben, cid):
                    assert await guest.heard(1) == [f'{{"id":"{said}","text":"said"}}']
        assert calls == [said], "once for all"


async def test_failing_stamp_is_logged_and_next_message_goes_on(autojump_clock, caplog) -> None:
    """A stamp that fails is logged and the next message goes on."""
    async with hall_with(2) as (hall, (ann, ben)):
        room = hall.room("r", history=3, stamp=lambda _, message: message.upper() if message != b"\0" else 1 / 0)
        async with room.join(ann.websocket):
            await room.publish(b"\0")
            await room.publish("said")
            assert await ann.heard(1) == ["SAID"]
            async with room.join(ben.websocket):
                assert await ben.heard(1) == ["SAID"]
        assert "error in the stamp of <Room 'r'>" in caplog.text
        with pytest.raises(TypeError):
            hall.room("other", stamp="text")


@pytest.mark.parametrize("missed", [7, None])
async def test_lost_messages_are_logged_and_the_application_is_told(missed, autojump_clock, caplog) -> None:
    async with hall_with(2, backplane=(lossy := Lossy())) as (hall, (ann, ben)):
        room, told = hall.room("r", history=10), []

        @room.on_gap
        async def tell(room, missed) -> None:
            told.append((room.name, missed))

        with pytest.raises(TypeError, match="the room and the number of lost messages"):
            room.on_gap(lambda: None)
        async with room.join(ann.websocket):
            before = await room.publish("before")
            lossy.lose(missed)
            after = await room.publish("after")
            await wait_all_tasks_blocked()
            assert told == [("r", missed)]
            assert "<Room 'r'> has lost messages" in caplog.text
            assert await ann.heard(2) == ["before", "after"]
            async with (joining := room.join(ben.websocket, since=before)):
                assert joining.recovered is False
                assert await ben.heard(1) == ["after"]
            async with (joining := room.join(ben.websocket, since=after)):
                assert joining.recovered is True
        lossy.gap(1)
        await wait_all_tasks_blocked()
        assert len(told) == 1, "nobody is there any more to tell"


async def test_presence_lists_members_of_all_registries(autojump_clock) -> None:
    """Presence is who is there in all registries of one backplane."""
    backplane = MemoryBackplane()
    async with open_hall(backplane=backplane) as here, open_hall(backplane=backplane) as there:
        ann, ben = await here.guest(), await there.guest()
        async with here.room("r").join(ann.websocket, user="Ann"), there.room("r").join(ben.websocket, user="Ben"):
            for hall in (here, there):
                present = await hall.room("r").presence()
                assert [each.info["user"] for each in present] == ["Ann", "Ben"]
                assert isinstance(present[0], Presence)
                assert hall.room("r").count == 1
        assert await here.room("r").presence() == ()


async def test_refused_member_info_is_a_join_error_without_membership(autojump_clock) -> None:
    """Info that the backplane refuses is the joiner's error and it has not joined."""

    class Strict(MemoryBackplane):
        def enter(self, room, member) -> None:
            raise TypeError("no JSON")

    async with hall_with(backplane=Strict()) as (hall, ann):
        with pytest.raises(TypeError, match="no JSON"):
            async with hall.room("r").join(ann.websocket, socket=object()):
                pytest.fail("joined")
        assert (hall.room("r").count, internal(hall.rooms, "_open")) == (0, {})


def test_a_log_that_is_broken_off_knows_nothing_from_before() -> None:
    log = Log(0)
    assert not log.since("a").recovered
    log.break_off()
    assert len(log) == 0


async def test_missing_backplane_closes_the_connection_with_1013(autojump_clock) -> None:
    """A backplane that is away closes the connection with 1013."""

    class Away(MemoryBackplane):
        async def publish(self, room, message, exclude) -> str:
            await trio.lowlevel.checkpoint()
            raise BackplaneUnavailable("away")

    async def handler(ws: WebSocket) -> None:
        await app.room("r").publish("said")

    app = app_of(handler, "/", App(backplane=Away()))
    async with app.test_client() as client, client.websocket_connect("/") as ws:
        with pytest.raises(WebSocketDisconnect) as caught:
            await ws.receive()
        assert caught.value.code == 1013
