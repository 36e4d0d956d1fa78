"""What every backplane owes, as tests. A test module subclasses `BackplaneContract` and says how to make one.

Several backplane objects may stand for several processes: a publisher and its subscribers need not share one.
"""

from __future__ import annotations

import time
from abc import abstractmethod
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from itertools import count
from typing import Any, cast

import pytest
import trio

from trio_ws import Credentials
from trio_ws.app.connections import ConnectionManager
from trio_ws.connection.prepared import PreparedMessage
from trio_ws.connection.serialization import MAX_DEPTH, from_json, to_json
from trio_ws.rooms import Backplane, Entry, Presence
from trio_ws.rooms.redis import RedisBackplane
from trio_ws.runtime.token_bucket import Allowance

NOBODY: frozenset[str] = frozenset()
PATIENCE = 60.0
"""Seconds that a Redis may take for one thing on a busy machine."""
_runs = count(1)


class Ear:
    """A subscriber that notes what it hears."""

    def __init__(self) -> None:
        self.entries: list[Entry] = []
        self.log: Any = None
        """What its subscription yields."""
        self._changed = trio.Event()

    def __call__(self, entry: Entry) -> None:
        self.entries.append(entry)
        self._changed.set()
        self._changed = trio.Event()

    @property
    def data(self) -> list[str | bytes]:
        return [entry.message.data for entry in self.entries]

    @property
    def ids(self) -> list[str]:
        return [entry.id for entry in self.entries]

    async def hears(self, count: int) -> None:
        """Wait until it has heard so many entries."""
        with trio.fail_after(PATIENCE):
            while len(self.entries) < count:
                await self._changed.wait()


@asynccontextmanager
async def hearing(backplane: Backplane, history: int = 0, **options: Any) -> AsyncIterator[Ear]:
    """Subscribe to the room."""
    ear = Ear()
    async with backplane.subscribe("room", ear, history=history, **options) as ear.log:
        yield ear


class Signed:
    """A connection with credentials, as revocations see it."""

    def __init__(self, credentials: Credentials) -> None:
        self.credentials = credentials
        self.ends: list[tuple[int, str]] = []
        self.expiry = self
        self.context = self

    def end(self, code: int, reason: str) -> None:
        self.ends.append((code, reason))


class BackplaneContract:
    """The tests. Names of rooms are `self.name(...)`, so that a lasting backplane can be used again and again."""

    @abstractmethod
    def open(self) -> AbstractAsyncContextManager[tuple[Backplane, Backplane]]:
        """Return a context of two running backplanes that are connected: two processes, or one object twice."""

    def name(self, room: str) -> str:
        return room

    async def test_an_account_is_one_for_all_processes(self) -> None:
        async with self.open() as (here, there):
            account, allowance = self.name("account"), Allowance(2, 100, 1000)
            assert await here.spend(account, allowance, 10, in_debt=False) == 0
            assert await there.spend(account, allowance, 10, in_debt=False) == 0
            wait = await here.spend(account, allowance, 10, in_debt=False)
            assert 400 < wait <= 500
            assert await there.spend(self.name("another"), allowance, 10, in_debt=False) == 0

    async def test_revocation_reaches_each_process_once(self) -> None:
        """Of one user, whatever the order of connections and revocations, and never of those who sign in again."""
        async with self.open() as (here, there):
            user = self.name("ada")
            managers = [ConnectionManager(each, to_json) for each in (here, there)]
            async with managers[0].running(), managers[1].running():
                users = [Signed(Credentials(name)) for name in (user, self.name("eve"), user)]
                for manager, signed in zip((*managers, managers[1]), users, strict=True):
                    assert manager.revocations.add(cast("Any", signed.context), signed.credentials, 0) is None
                await managers[0].revoke(user, 4401, "gone")
                with trio.fail_after(10):
                    while not users[2].ends:
                        await trio.sleep(0.01)
                again = Signed(Credentials(user))
                since = managers[1].revocations.count
                assert managers[1].revocations.add(cast("Any", again.context), again.credentials, since) is None
                overtaken = managers[1].revocations.add(cast("Any", again.context), again.credentials, since - 1)
                await managers[1].revoke(self.name("another"), 4401, "gone")
            assert [each.ends for each in (*users, again)] == [[(4401, "gone")], [], [(4401, "gone")], []]
            assert overtaken is not None

    async def test_an_account_may_be_in_debt(self) -> None:
        async with self.open() as (here, there):
            account, allowance = self.name("debtor"), Allowance(float("inf"), 100, 10)
            assert await here.spend(account, allowance, 100, in_debt=True) == 0
            assert 19 < await there.spend(account, allowance, 200, in_debt=True) <= 20
            assert 29 < await here.spend(account, allowance, 100, in_debt=True) <= 30
            assert await here.spend(account, allowance, 100, in_debt=False) > 30

    async def test_every_subscriber_gets_every_message_once_in_one_order(self) -> None:
        async with self.open() as (here, there):
            room, near, far = self.name("order"), Ear(), Ear()
            async with here.subscribe(room, near, history=0), there.subscribe(room, far, history=0):
                async with trio.open_nursery() as nursery:
                    for backplane in (here, there):

                        async def publish(backplane: Backplane = backplane) -> None:
                            for number in range(50):
                                await backplane.publish(room, PreparedMessage(f"{backplane is here} {number}"), NOBODY)

                        nursery.start_soon(publish)
                await near.hears(100)
                await far.hears(100)
            assert near.ids == far.ids
            assert near.data == far.data
            assert len(set(near.ids)) == 100
            for origin in {str(text).split()[0] for text in near.data}:
                numbers = [int(str(text).split()[1]) for text in near.data if str(text).startswith(origin)]
                assert numbers == sorted(numbers)

    async def test_publish_returns_the_id_of_the_entry(self) -> None:
        async with self.open() as (here, there):
            room, ear = self.name("id"), Ear()
            async with there.subscribe(room, ear, history=0):
                ids = [await here.publish(room, PreparedMessage(str(number)), NOBODY) for number in range(3)]
                await ear.hears(3)
            assert ear.ids == ids

    @pytest.mark.parametrize("message", ["", "text", "höher", b"", b"\x00\xff"])
    async def test_message_arrives_as_published_with_its_exclusions(self, message: str | bytes) -> None:
        """A message arrives as it was published with those it is not for."""
        async with self.open() as (here, there):
            room, ear = self.name("message"), Ear()
            async with there.subscribe(room, ear, history=0):
                await here.publish(room, PreparedMessage(message), frozenset({"a-1", "b-2"}))
                await ear.hears(1)
            assert ear.data == [message]
            assert type(ear.data[0]) is type(message)
            assert ear.entries[0].exclude == {"a-1", "b-2"}

    async def test_rooms_do_not_hear_each_other(self) -> None:
        async with self.open() as (here, there):
            one, two = Ear(), Ear()
            first, second = self.name("one"), self.name("two")
            async with there.subscribe(first, one, history=0), there.subscribe(second, two, history=0):
                await here.publish(first, PreparedMessage("for one"), NOBODY)
                await here.publish(second, PreparedMessage("for two"), NOBODY)
                await one.hears(1)
                await two.hears(1)
            assert (one.data, two.data) == (["for one"], ["for two"])

    async def test_nothing_is_delivered_outside_of_the_subscription(self) -> None:
        async with self.open() as (here, there):
            room, ear, witness = self.name("outside"), Ear(), Ear()
            async with there.subscribe(room, witness, history=0):
                await here.publish(room, PreparedMessage("before"), NOBODY)
                async with there.subscribe(room, ear, history=5):
                    await here.publish(room, PreparedMessage("within"), NOBODY)
                    await ear.hears(1)
                await here.publish(room, PreparedMessage("after"), NOBODY)
                await witness.hears(3)
            assert ear.data == ["within"]

    async def test_the_log_begins_with_history_and_goes_on_without_a_gap(self) -> None:
        async with self.open() as (here, there):
            room, early, late = self.name("history"), Ear(), Ear()
            async with here.subscribe(room, early, history=3):
                for number in range(5):
                    await here.publish(room, PreparedMessage(str(number)), NOBODY)
                await early.hears(5)
                async with here.subscribe(room, late, history=3) as log:
                    assert [entry.message.data for entry in log] == ["2", "3", "4"]
                    assert len(log) == 3
                    await there.publish(room, PreparedMessage("5"), NOBODY)
                    await late.hears(1)
                    assert [entry.message.data for entry in log] == ["3", "4", "5"]
            assert late.data == ["5"]

    async def test_an_entry_is_in_the_log_when_it_is_delivered(self) -> None:
        async with self.open() as (here, _there):
            room, newest = self.name("log"), Ear()
            seen: list[bool] = []

            def deliver(entry: Entry) -> None:
                seen.append(list(log)[-1] is entry)
                newest(entry)

            async with here.subscribe(room, deliver, history=2) as log:
                await here.publish(room, PreparedMessage("a"), NOBODY)
                await here.publish(room, PreparedMessage("b"), NOBODY)
                await newest.hears(2)
            assert seen == [True, True]

    async def test_since_says_what_followed_and_whether_that_is_all(self) -> None:
        async with self.open() as (here, _there):
            room, ear = self.name("since"), Ear()
            async with here.subscribe(room, ear, history=3) as log:
                ids = [await here.publish(room, PreparedMessage(str(number)), NOBODY) for number in range(6)]
                await ear.hears(6)
                for place, after in enumerate(ids):
                    replay = log.since(after)
                    assert replay.recovered == (place >= 2), "entries 3 to 5 are held: after 2 nothing is missing"
                    first = max(place + 1, 3)
                    assert [entry.message.data for entry in replay.entries] == [str(n) for n in range(first, 6)]
                assert not log.since("of another time").recovered

    async def test_id_received_in_one_process_resumes_in_another(self) -> None:
        """An id that was heard in one process is one to come back with in another."""
        async with self.open() as (here, there):
            room, near, far = self.name("come back"), Ear(), Ear()
            async with here.subscribe(room, near, history=0), there.subscribe(room, far, history=10) as log:
                for number in range(6):
                    await (here, there)[number % 2].publish(room, PreparedMessage(str(number)), NOBODY)
                await near.hears(6)
                await there.sync(room)
                for entry in near.entries:
                    replay = log.since(entry.id)
                    assert replay.recovered
                    following = [str(number) for number in range(6) if str(number) > str(entry.message.data)]
                    assert [each.message.data for each in replay.entries] == following

    async def test_a_cancelled_publish_publishes_nothing(self) -> None:
        async with self.open() as (here, there):
            room, ear = self.name("cancelled"), Ear()
            async with there.subscribe(room, ear, history=0):
                with trio.CancelScope() as scope:
                    scope.cancel()
                    await here.publish(room, PreparedMessage("never"), NOBODY)
                assert scope.cancelled_caught
                await here.publish(room, PreparedMessage("said"), NOBODY)
                await ear.hears(1)
            assert ear.data == ["said"]

    async def test_publishing_where_nobody_listens_succeeds(self) -> None:
        async with self.open() as (here, _there):
            first = await here.publish(self.name("void"), PreparedMessage("?"), NOBODY)
            assert first != await here.publish(self.name("void"), PreparedMessage("?"), NOBODY)

    async def test_sync_returns_after_delivery_of_published_messages(self) -> None:
        """What was published before sync has been delivered after it."""
        async with self.open() as (here, there):
            room, ear = self.name("sync"), Ear()
            async with there.subscribe(room, ear, history=0):
                for number in range(40):
                    await here.publish(room, PreparedMessage(str(number)), NOBODY)
                await there.sync(room)
                assert len(ear.entries) == 40
                await there.sync(room)
            await there.sync(self.name("a room that nobody is in"))

    async def test_nothing_is_reported_lost_that_is_not(self) -> None:
        async with self.open() as (here, there):
            room, ear, lost = self.name("no gap"), Ear(), []
            async with there.subscribe(room, ear, history=2, gap=lost.append):
                for number in range(40):
                    await here.publish(room, PreparedMessage(str(number)), NOBODY)
                await ear.hears(40)
            assert lost == []

    @pytest.mark.parametrize(
        "text",
        [r'"\ud83d"', r'{"\udc00":"gr\u00fc\u00dfe"}', "[" * MAX_DEPTH + "]" * MAX_DEPTH],
        ids=lambda text: text[:9],
    )
    async def test_info_is_whatever_json_a_member_may_have_sent(self, text: str) -> None:
        async with self.open() as (here, there):
            room, said = self.name("said"), from_json(text)
            here.enter(room, Presence("a-1", {"said": said}))
            with trio.fail_after(10):
                while not (found := await there.presence(room)):
                    await trio.sleep(0.01)
            assert found == (Presence("a-1", {"said": said}),)
            here.leave(room, "a-1")

    async def test_who_is_present_is_seen_everywhere_until_it_leaves(self) -> None:
        async with self.open() as (here, there):
            room, other = self.name("presence"), self.name("another room")
            here.enter(room, Presence("a-1", {"user": "Ann"}))
            there.enter(room, Presence("b-1", {"user": "Bob", "rights": ["read"]}))
            here.enter(room, Presence("a-2", {}))
            here.enter(other, Presence("a-3", {}))
            for backplane in (here, there):
                found = await self.present(backplane, room, 3)
                assert sorted(found, key=lambda each: each.id) == [
                    Presence("a-1", {"user": "Ann"}),
                    Presence("a-2", {}),
                    Presence("b-1", {"user": "Bob", "rights": ["read"]}),
                ]
                assert [each.id for each in found if each.id.startswith("a")] == ["a-1", "a-2"]
            here.leave(room, "a-1")
            assert {each.id for each in await self.present(there, room, 2)} == {"a-2", "b-1"}
            here.leave(room, "a-2")
            there.leave(room, "b-1")
            here.leave(other, "a-3")
            for backplane in (here, there):
                assert await self.present(backplane, room, 0) == ()
            assert await here.presence(self.name("nobody's")) == ()

    async def present(self, backplane: Backplane, room: str, count: int) -> tuple[Presence, ...]:
        """Return who is present, once there are so many: others may see it a little later."""
        with trio.fail_after(10):
            while True:
                found = await backplane.presence(room)
                if len(found) == count:
                    return found
                await trio.sleep(0.01)

    async def test_count_is_the_number_of_members_in_all_processes(self) -> None:
        async with self.open() as (here, there):
            room = self.name("count")
            assert await here.count(room) == 0
            here.enter(room, Presence("a-1", {}))
            there.enter(room, Presence("b-1", {"name": "Ben"}))
            there.enter(room, Presence("b-2", {}))
            for backplane in (here, there):
                with trio.fail_after(10):
                    while await backplane.count(room) < 3:
                        await trio.sleep(0.01)
            for backplane, member in ((here, "a-1"), (there, "b-1"), (there, "b-2")):
                backplane.leave(room, member)
            with trio.fail_after(10):
                while await here.count(room):
                    await trio.sleep(0.01)

    async def test_a_place_has_one_holder_until_it_is_released(self) -> None:
        async with self.open() as (here, there):
            room, other = self.name("place"), self.name("other place")
            assert await here.lease(room, "clock", "a", 60)
            assert await here.lease(room, "clock", "a", 60)
            assert not await there.lease(room, "clock", "b", 60)
            assert await there.lease(room, "bell", "b", 60)
            assert await there.lease(other, "clock", "b", 60)
            await there.release(room, "clock", "b")
            assert not await there.lease(room, "clock", "b", 60)
            await here.release(room, "clock", "a")
            assert await there.lease(room, "clock", "b", 60)

    async def test_a_place_is_free_after_its_time(self) -> None:
        async with self.open() as (here, there):
            room = self.name("expiry")
            assert await here.lease(room, "clock", "a", 0.05)
            with trio.fail_after(10):
                while not await there.lease(room, "clock", "b", 60):
                    await trio.sleep(0.02)
            assert not await here.lease(room, "clock", "a", 60)

    async def test_history_is_read_by_ids_and_limit(self) -> None:
        async with self.open() as (here, there):
            room, ear = self.name("history"), Ear()
            assert list(await here.history(room, None, None, 10)) == []
            async with there.subscribe(room, ear, history=10):
                ids = [await here.publish(room, PreparedMessage(f"{number}"), NOBODY) for number in range(6)]
                await ear.hears(6)

                async def read(after: str | None, before: str | None, limit: int) -> str:
                    found = await here.history(room, after, before, limit)
                    assert [ids.index(entry.id) for entry in found] == [int(entry.message.data) for entry in found]
                    return "".join(str(entry.message.data) for entry in found)

                assert await read(None, None, 10) == "012345"
                assert await read(None, None, 2) == "45"
                assert await read(None, ids[4], 2) == "23"
                assert await read(ids[1], None, 2) == "23"
                assert await read(ids[1], ids[4], 10) == "23"
                assert await read(ids[5], None, 10) == ""
                assert await read(None, ids[0], 10) == ""
                assert await read(ids[3], ids[3], 10) == ""
                assert await read(ids[4], ids[1], 10) == ""

    async def test_history_is_read_by_time(self) -> None:
        async with self.open() as (here, there):
            room, ear = self.name("times"), Ear()
            async with there.subscribe(room, ear, history=10):
                for text in ("early", "late"):
                    await here.publish(room, PreparedMessage(text), NOBODY)
                    await trio.sleep(0.01)
                await ear.hears(2)
                early, late = await here.history(room, None, None, 10)
                assert abs(late.time - time.time()) < 600
                assert early.time < late.time
                for after, before, found in (
                    (early.time, None, ["late"]),
                    (None, late.time, ["early"]),
                    (early.time - 3600, late.time + 3600, ["early", "late"]),
                    (late.time, None, []),
                    (-1e9, None, ["early", "late"]),
                    (None, -1.0, []),
                ):
                    entries = await here.history(room, after, before, 10)
                    assert [entry.message.data for entry in entries] == found

    @pytest.mark.parametrize("text", ["", "1", "x-1", "1-x", "-1-1", "1-1-1", " 1-1", "1-" + "9" * 30, "\ud83d"])
    async def test_history_refuses_a_text_that_is_no_id(self, text: str) -> None:
        async with self.open() as (here, _):
            with pytest.raises(ValueError, match="no id of a message"):
                await here.history(self.name("none"), text, None, 1)
            with pytest.raises(ValueError, match="no id of a message"):
                await here.history(self.name("none"), None, text, 1)

    async def test_changes_of_presence_are_signalled_to_subscribers(self) -> None:
        async with self.open() as (here, there):
            room, ear = self.name("signals"), Ear()
            async with here.subscribe(room, ear, history=0):
                for change in (lambda: there.enter(room, Presence("c-1", {})), lambda: there.leave(room, "c-1")):
                    event = here.presence_change(room)
                    assert not event.is_set()
                    change()
                    with trio.fail_after(10):
                        await event.wait()
                assert ear.entries == []

    async def test_an_order_has_its_place_among_the_messages(self) -> None:
        async with self.open() as (here, there):
            room, ear = self.name("orders"), Ear()
            async with there.subscribe(room, ear, history=2) as log:
                for text, order in (("a", False), ("do", True), ("b", False), ("undo", True)):
                    orders = {"order": True} if order else {}
                    await here.publish(room, PreparedMessage(text), NOBODY, **orders)
                await ear.hears(4)
                assert [(entry.message.data, entry.order) for entry in ear.entries] == [
                    ("a", False),
                    ("do", True),
                    ("b", False),
                    ("undo", True),
                ]
                assert [entry.message.data for entry in log] == ["a", "do", "b", "undo"]
                assert log.since(ear.ids[0]).recovered
                assert [each.message.data for each in await here.history(room, None, None, 2)] == ["a", "b"]
                assert [each.message.data for each in await here.history(room, ear.ids[0], None, 1)] == ["b"]

    async def test_a_message_with_a_key_is_published_once(self) -> None:
        async with self.open() as (here, there):
            room, other, near, far = self.name("keys"), self.name("other keys"), Ear(), Ear()
            async with here.subscribe(room, near, history=9), there.subscribe(room, far, history=9):
                first = await here.publish(room, PreparedMessage("once"), NOBODY, key="a")
                again = [
                    await backplane.publish(room, PreparedMessage("twice"), NOBODY, key="a")
                    for backplane in (here, there, here)
                ]
                assert again == [first] * 3
                await there.publish(room, PreparedMessage("another key"), NOBODY, key="b")
                await here.publish(other, PreparedMessage("another room"), NOBODY, key="a")
                await here.publish(room, PreparedMessage("no key"), NOBODY)
                for ear in (near, far):
                    await ear.hears(3)
                    assert ear.data == ["once", "another key", "no key"]
                assert near.ids[0] == far.ids[0] == first

    async def test_publishers_that_race_with_one_key_publish_once(self) -> None:
        async with self.open() as (here, there):
            room, ear, ids = self.name("race"), Ear(), []

            async def publish(backplane: Backplane, number: int) -> None:
                ids.append(await backplane.publish(room, PreparedMessage(f"{number}"), NOBODY, key="\N{SNOWMAN} key"))

            async with here.subscribe(room, ear, history=9):
                async with trio.open_nursery() as nursery:
                    for number in range(10):
                        nursery.start_soon(publish, (here, there)[number % 2], number)
                await here.publish(room, PreparedMessage("end"), NOBODY)
                await ear.hears(2)
                assert (len(set(ids)), len(ear.data), ear.data[1]) == (1, 2, "end")


class RedisBackplaneContract(BackplaneContract):
    """The same with a Redis, whose URL is the fixture `url`. Each test has rooms of its own."""

    @pytest.fixture(autouse=True)
    def _backplane(self, url: str) -> None:
        self.url, self.run = url, next(_runs)

    def name(self, room: str) -> str:
        return f"{room} {self.run}"

    @asynccontextmanager
    async def open(self) -> AsyncIterator[tuple[Backplane, Backplane]]:
        # A machine that is too busy for a second is no reason to give up the one order here.
        here, there = (RedisBackplane(self.url, local_after=60) for _ in range(2))
        async with here.running(), there.running():
            yield here, there
