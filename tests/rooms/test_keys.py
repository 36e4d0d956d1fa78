"""Messages with a key: in the stream once, however often a publisher tries."""

from __future__ import annotations

from typing import Any

import pytest
import trio

from trio_ws.rooms import MemoryBackplane, Rooms

from .hall import hall_with


async def test_members_receive_a_message_with_a_key_once(autojump_clock: Any) -> None:
    async with hall_with() as (hall, ann):
        async with hall.room("r").join(ann.websocket) as room:
            first = await room.publish({"order": 1}, key="order 1")
            assert await room.publish({"order": 1}, key="order 1") == first
            assert await room.publish({"order": 1}) != first
            await room.publish("end", key="order 2")
            assert await ann.heard(3) == ['{"order":1}', '{"order":1}', "end"]


async def test_a_key_is_forgotten_after_an_hour(autojump_clock: Any) -> None:
    async with hall_with() as (hall, ann):
        async with hall.room("r").join(ann.websocket) as room:
            first = await room.publish("said", key="a")
            await trio.sleep(3599)
            assert await room.publish("said", key="a") == first
            await trio.sleep(2)
            assert await room.publish("said", key="a") != first
            assert await ann.heard(2) == ["said", "said"]


@pytest.mark.parametrize(
    ("key", "error"), [("", ValueError), ("\ud83d", ValueError), (5, TypeError), (b"k", TypeError)]
)
async def test_a_key_that_cannot_be_is_refused(key: Any, error: type[Exception]) -> None:
    with pytest.raises(error, match="the key of a message"):
        await Rooms().room("r").publish("said", key=key)


async def test_a_backplane_without_keys_is_not_given_any() -> None:
    class Older(MemoryBackplane):
        async def publish(self, room, message, exclude) -> str:  # type: ignore[no-untyped-def, override]
            return "id"

    room = Rooms(Older()).room("r")
    assert await room.publish("said") == "id"
    with pytest.raises(TypeError, match="key"):
        await room.publish("said", key="a")
