"""Budgets: how much clients may send, of one connection, address or user, and what happens to more."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st
from support.endings import code_of, end_of
from support.handlers import app_of_listener, echo

from tests.documented.ways import Way
from trio_ws import (
    App,
    BackplaneUnavailable,
    BlockingWebSocket,
    Budget,
    MemoryBackplane,
    TestTimeout,
    WebSocket,
    WebSocketDisconnect,
)
from trio_ws.app.budgets import BudgetBook, address_key
from trio_ws.connection.budgeted import BudgetedReader
from trio_ws.runtime.token_bucket import Allowance, TokenBucket

NEVER = 1e6
"""Seconds of a budget that is not filled again within a test."""


def echoing(budget: Any = None, *, of_app: Any = None, seen: list[Any] | None = None) -> App:
    """Return an application with an echo that has a budget, for each kind of route."""
    app = App(budget=of_app)
    note = [].append if seen is None else seen.append

    @app.websocket("/view", budget=budget)
    async def view(ws: WebSocket) -> None:
        async for message in ws:
            note(message)
            await ws.send(message)

    @app.websocket("/plain", budget=budget)
    def plain(ws: BlockingWebSocket) -> None:
        for message in ws:
            ws.send(message)

    @app.listener("/listener", encoding="text", budget=budget)
    async def listen(data: str) -> str:
        note(data)
        return data

    @app.listener("/inline", encoding="text", budget=budget, inline=True)
    def inline(data: str) -> str:
        return data

    @app.websocket("/callback", budget=budget)
    async def callback(ws: WebSocket) -> None:
        await ws.call_for_each_message(ws.offer)

    @app.websocket("/stream", budget=budget)
    async def stream(ws: WebSocket) -> None:
        while True:
            async for part in ws.receive_stream():
                await ws.send(part)

    return app


KINDS = ["view", "plain", "listener", "inline", "callback"]


# --- the bucket ----------------------------------------------------------------------------------------------------


@given(
    st.integers(1, 5),
    st.floats(0.5, 10),
    st.lists(st.tuples(st.floats(0, 3), st.integers(0, 10)), max_size=60),
)
def test_bucket_never_passes_more_than_its_allowance(limit: int, per: float, arrivals: list[tuple[float, int]]) -> None:
    """In any stretch of time: what it holds, and what has come back in that time."""
    bucket, now, passed = TokenBucket(Allowance(limit, 10 * limit, per)), 0.0, []
    for gap, size in arrivals:
        now += gap
        wait = bucket.spend(now, size, in_debt=False)
        if wait:
            assert TokenBucket.spend(bucket, now + wait + 1e-6, size, in_debt=False) == 0 or size > 10 * limit
            now += wait + 1e-6
        if not wait or size <= 10 * limit:
            passed.append((now, size))
    for index, (start, _) in enumerate(passed):
        for end_index in range(index, len(passed)):
            part = passed[index : end_index + 1]
            allowed = 1 + (part[-1][0] - start) / per
            assert len(part) <= limit * allowed + 0.01
            assert sum(size for _, size in part) <= 10 * limit * allowed + 0.1


def test_full_bucket_is_as_good_as_a_new_one() -> None:
    bucket = TokenBucket(Allowance(2, float("inf"), 4))
    assert bucket.is_full(0)
    assert [bucket.spend(0, 1, in_debt=False) for _ in range(3)] == [0, 0, 2]
    assert not bucket.is_full(3.9)
    assert bucket.is_full(4)


def test_debt_is_paid_at_the_rate_of_the_allowance() -> None:
    bucket = TokenBucket(Allowance(float("inf"), 100, 1))
    assert [bucket.spend(0, 100, in_debt=True), bucket.spend(0, 300, in_debt=True)] == [0, 3]
    assert bucket.spend(3, 100, in_debt=True) == 1


# --- slow ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["view", "listener", "inline", "callback"])
async def test_slow_connection_is_read_at_the_rate_of_its_budget(autojump_clock, kind: str) -> None:
    app = echoing(Budget(messages=2, per=4))
    async with app.test_client() as client, client.websocket_connect(f"/{kind}") as ws:
        begin, times = trio.current_time(), []
        for number in range(6):
            await ws.send(str(number))
        for number in range(6):
            assert await ws.receive() == str(number)
            times.append(round(trio.current_time() - begin, 3))
        assert times == [0, 0, 0, 2, 4, 6]
        assert app.server.statistics().over_budget == {"slow": 4}


async def test_slow_connection_of_bytes_waits_for_its_debt(autojump_clock) -> None:
    async with echoing(Budget(bytes=10)).test_client() as client, client.websocket_connect("/view") as ws:
        begin = trio.current_time()
        for text in ("ü" * 20, "x"):  # 40 bytes of UTF-8
            await ws.send(text)
            await ws.receive()
        assert round(trio.current_time() - begin, 3) == 3


async def test_cancelled_receive_loses_no_message(autojump_clock) -> None:
    app, got = App(), []

    @app.websocket("/", budget=Budget(messages=1, per=10))
    async def view(ws: WebSocket) -> None:
        while len(got) < 4:
            with trio.move_on_after(1):
                got.append(await ws.receive())

    async with app.test_client() as client, client.websocket_connect("/") as ws:
        for number in range(4):
            await ws.send(str(number))
        await ws.wait_closed()
    assert got == ["0", "1", "2", "3"]


async def test_two_tasks_cannot_receive_at_once(autojump_clock) -> None:
    """Not even while one of them waits for its turn."""
    app, errors = App(), []

    @app.websocket("/", budget=Budget(messages=1, per=10))
    async def view(ws: WebSocket) -> None:
        await ws.receive()
        await ws.receive()
        ws.nursery.start_soon(ws.receive)
        await trio.sleep(1)
        with pytest.raises(trio.BusyResourceError) as caught:
            await ws.receive()
        errors.append(caught.value)

    async with app.test_client() as client, client.websocket_connect("/") as ws:
        for number in range(3):
            await ws.send(str(number))
        await ws.wait_closed()
    assert len(errors) == 1


async def test_end_of_the_peer_ends_the_wait(autojump_clock) -> None:
    """What has arrived before is received at once, then the end."""
    seen: list[Any] = []
    app = echoing(Budget(messages=1, per=NEVER), seen=seen)
    async with app.test_client() as client:
        begin = trio.current_time()
        async with client.websocket_connect("/view") as ws:
            for number in range(5):
                await ws.send(str(number))
            await ws.receive()
        assert trio.current_time() - begin < 10
    assert seen[:2] == ["0", "1"]


async def test_reading_stops_while_a_connection_is_slowed(autojump_clock) -> None:
    """Its inbox fills up, and the network does the rest."""
    app = echoing(Budget(messages=1, per=NEVER))
    async with app.test_client() as client, client.websocket_connect("/view") as ws:
        sent = 0
        with pytest.raises(TestTimeout):
            while sent < 5000:
                await ws.send("x" * 10_000)
                sent += 1
        assert sent < 1000
        assert app.server.statistics().messages_received < 200
        app.server.shutdown(grace=0)  # the handler would wait for its turn


# --- reply ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
async def test_message_beyond_a_budget_is_answered_and_dropped(kind: str) -> None:
    app = echoing(Budget(messages=2, per=NEVER, over="reply"))
    async with app.test_client() as client, client.websocket_connect(f"/{kind}") as ws:
        for text in ("a", "b", "c", "d"):
            await ws.send(text)
        assert [await ws.receive() for _ in range(2)] == ["a", "b"]
        for _ in range(2):
            reply = await ws.receive_json()
            assert reply["statusCode"] == 429
            assert 0 < reply["body"]["retryAfter"] <= NEVER / 2
        assert app.server.statistics().over_budget == {"reply": 2}


async def test_refused_messages_cost_nothing(autojump_clock) -> None:
    app = echoing(Budget(messages=1, bytes=10, per=2, over="reply"))
    async with app.test_client() as client, client.websocket_connect("/view") as ws:
        for text in ("a", "b", "x" * 50):
            await ws.send(text)
        assert await ws.receive() == "a"
        assert (await ws.receive_json())["body"]["retryAfter"] == 2
        await ws.receive()
        await trio.sleep(2)
        await ws.send("c")
        assert await ws.receive() == "c"


async def test_reply_has_the_reference_of_its_message() -> None:
    async def listen(data: Any) -> Any:
        return {}

    app = app_of_listener(listen, reference="ref", budget=Budget(messages=1, per=NEVER, over="reply"))
    async with app.test_client() as client, client.websocket_connect("/") as ws:
        for message in ('{"ref": 1}', '{"ref": 2}', '{"ref": [3]}', "no JSON"):
            await ws.send(message)
        assert await ws.receive_json() == {"ref": 1}
        replies = [await ws.receive_json() for _ in range(3)]
    assert [reply.get("ref") for reply in replies] == [2, None, None]
    assert {reply["statusCode"] for reply in replies} == {429}


# --- close ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("code", [1008, 4429])
@pytest.mark.parametrize("kind", KINDS)
async def test_message_beyond_a_budget_ends_the_connection(kind: str, code: int) -> None:
    app = echoing(Budget(messages=2, per=NEVER, over="close", code=code))
    async with app.test_client() as client, client.websocket_connect(f"/{kind}") as ws:
        for text in ("a", "b", "c", "d"):
            await ws.send(text)
        assert [await ws.receive() for _ in range(2)] == ["a", "b"]
        end = await end_of(ws)
        assert (end.code, end.reason) == (code, "too many messages")
        assert app.server.statistics().over_budget == {"close": 1}


async def test_handler_that_catches_everything_gets_no_more() -> None:
    app, got = App(), []

    @app.websocket("/", budget=Budget(messages=1, per=NEVER, over="close"))
    async def view(ws: WebSocket) -> None:
        for _ in range(5):
            try:
                got.append(await ws.receive())
            except WebSocketDisconnect as end:
                got.append(end.code)

    async with app.test_client() as client, client.websocket_connect("/") as ws:
        for text in "abc":
            await ws.send(text)
        await ws.wait_closed()
    assert got == ["a", 1008, 1008, 1008, 1008]


@pytest.mark.parametrize("over", ["slow", "reply"])
async def test_message_received_as_a_stream_is_late_and_whole(autojump_clock, over: Any) -> None:
    app = echoing(Budget(messages=1, per=2, over=over))
    async with app.test_client() as client, client.websocket_connect("/stream") as ws:
        begin = trio.current_time()
        for number in range(3):
            await ws.send(str(number))
        assert [await ws.receive() for _ in range(3)] == ["0", "1", "2"]
        assert trio.current_time() - begin >= 2


async def test_message_received_as_a_stream_may_end_the_connection() -> None:
    app = echoing(Budget(messages=1, per=NEVER, over="close"))
    async with app.test_client() as client, client.websocket_connect("/stream") as ws:
        await ws.send("0")
        await ws.send("1")
        assert await ws.receive() == "0"
        assert await code_of(ws) == 1008


@pytest.fixture(params=["poller", "stream", "memory", "http1", "http2"])
def way(request: pytest.FixtureRequest) -> Way:
    return Way(request.param)


async def test_budgets_hold_on_every_transport(way: Way) -> None:
    app = App(budget=Budget(messages=4, per=NEVER, by="address", over="close", code=4429))

    app.websocket("/echo", budget=[Budget(messages=2, per=NEVER, over="reply"), *app.services.budget])(echo)

    async with way.visit(app) as visitor:
        async with visitor.connect("/echo") as ws:
            for text in "abc":
                await ws.send(text)
            assert [await ws.receive() for _ in range(2)] == ["a", "b"]
            assert (await ws.receive_json())["statusCode"] == 429
        async with visitor.connect("/echo") as ws:
            for text in "de":
                await ws.send(text)
            assert [await ws.receive() for _ in range(2)] == ["d", "e"]
        async with visitor.connect("/echo") as ws:
            await ws.send("f")
            assert await code_of(ws) == 4429
        assert visitor.server.statistics().over_budget == {"reply": 1, "close": 1}


# --- whose budget --------------------------------------------------------------------------------------------------


async def spend(app: App, *paths: str) -> list[str]:
    """Connect to each path in turn, send a message, and return the answers."""
    answers = []
    async with app.test_client() as client:
        for path in paths:
            async with client.websocket_connect(path) as ws:
                await ws.send("x")
                answers.append("passes" if await ws.receive() == "x" else "refused")
    return answers


ONE = partial(Budget, messages=1, per=NEVER, over="reply")


async def test_connections_of_one_address_share_its_budget() -> None:
    assert await spend(echoing(ONE(by="address")), "/view", "/view") == ["passes", "refused"]
    assert await spend(echoing(ONE()), "/view", "/view") == ["passes", "passes"]


async def test_budget_of_a_user_follows_the_user() -> None:
    def user(ws: WebSocket) -> str | None:
        return ws.query_parameters.get("user")

    app = echoing(ONE(by=user))
    paths = ["/view?user=ada", "/view?user=grace", "/listener?user=ada", "/view", "/view"]
    assert await spend(app, *paths) == ["passes", "passes", "refused", "passes", "passes"]


async def test_key_may_depend_on_what_a_guard_has_found() -> None:
    app = App()

    def sign_in(context: Any) -> bool:
        context.state.user = context.request.headers["x-user"]
        return True

    app = App()

    @app.websocket("/", guards=[sign_in], budget=ONE(by=lambda ws: ws.state.user))
    async def view(ws: WebSocket) -> None:
        await ws.send(await ws.receive())

    async with app.test_client() as client:
        for user, status in (("ada", None), ("grace", None), ("ada", 429)):
            async with client.websocket_connect("/", headers={"x-user": user}) as ws:
                await ws.send("0")
                answer = await ws.receive_json()
                assert answer == 0 if status is None else answer["statusCode"] == status
                await ws.close()


@pytest.mark.parametrize("by", [lambda ws: [], lambda ws: 1 / 0])
async def test_function_that_fails_refuses_its_connection_alone(by: Any) -> None:
    app = echoing(Budget(messages=1, by=by))
    app.websocket("/other")(lambda ws: None)
    async with app.test_client(raise_server_errors=False) as client:
        with pytest.raises(Exception, match="500"):
            async with client.websocket_connect("/view"):
                pass
        async with client.websocket_connect("/other"):
            pass


@pytest.mark.parametrize(
    ("client", "key"),
    [
        (("192.0.2.1", 4000), "192.0.2.1"),
        (("::ffff:192.0.2.1", 4000), "192.0.2.1"),
        (("2001:db8:1:2:3:4:5:6", 1), "2001:db8:1:2::/64"),
        (("fe80::1%eth0", 1), "fe80::/64"),
        (("a name", 1), "a name"),
        ("/run/socket", "/run/socket"),
        (None, ""),
    ],
)
def test_address_is_the_part_that_a_client_cannot_choose(client: Any, key: str) -> None:
    assert address_key(client) == key


async def test_accounts_are_dropped_when_their_tokens_are_back(autojump_clock) -> None:
    book, budget = BudgetBook(), Budget(messages=1, per=10, by="address")
    for number in range(1024):
        await book.account(budget, f"192.0.2.{number}", MemoryBackplane()).spend(1)
    await trio.sleep(5)
    late = book.account(budget, "late", MemoryBackplane())
    await late.spend(1)
    await trio.sleep(6)
    for number in range(2048):
        book.account(budget, f"198.51.100.{number}", MemoryBackplane())
    assert await book.account(budget, "late", MemoryBackplane()).spend(1) > 0
    assert len(book) < 3100


async def test_connections_that_stay_share_an_account_for_good(autojump_clock) -> None:
    """A full account that was dropped is not another one for those who had it."""
    book, budget = BudgetBook(), ONE(by="address")
    early = book.account(budget, "192.0.2.1", MemoryBackplane())
    for number in range(4096):
        book.account(budget, number, MemoryBackplane())
        await book.account(budget, number, MemoryBackplane()).spend(1)
    late = book.account(budget, "192.0.2.1", MemoryBackplane())
    assert await early.spend(1) == 0
    assert await late.spend(1) > 0


# --- where it stands -----------------------------------------------------------------------------------------------


async def test_budget_of_a_route_stands_for_that_of_the_application() -> None:
    app = echoing(of_app=ONE(by="address"))
    app.websocket("/free", budget=())(echo_once)
    app.websocket("/own", budget=Budget(messages=2, per=NEVER, over="reply", by="address"))(echo_once)
    paths = ["/view", "/listener", "/free", "/free", "/own", "/own", "/own"]
    assert await spend(app, *paths) == ["passes", "refused", "passes", "passes", "passes", "passes", "refused"]


async def echo_once(ws: WebSocket) -> None:
    await ws.send(await ws.receive())


async def test_included_application_has_the_budget_of_its_host() -> None:
    app = App(budget=ONE(by="address"))
    inner = App()
    inner.websocket("/view")(echo_once)
    app.include(inner, "/in")
    app.websocket("/view")(echo_once)
    assert await spend(app, "/view", "/in/view") == ["passes", "refused"]


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({}, ValueError),
        ({"messages": 0}, ValueError),
        ({"messages": "3"}, TypeError),
        ({"bytes": -1}, ValueError),
        ({"messages": 1, "per": 0}, ValueError),
        ({"messages": 1, "per": float("inf")}, ValueError),
        ({"messages": 1, "per": float("nan")}, ValueError),
        ({"messages": 1, "over": "drop"}, ValueError),
        ({"messages": 1, "by": "user"}, ValueError),
        ({"messages": 1, "by": trio.sleep}, TypeError),
        ({"messages": 1, "code": 1006}, ValueError),
        ({"messages": 1, "code": 99}, ValueError),
        ({"messages": 1, "shared": True, "by": "address"}, ValueError),
        ({"messages": 1, "shared": True, "name": "x"}, ValueError),
        ({"messages": 1, "shared": 1}, TypeError),
        ({"messages": 1, "name": b"x"}, TypeError),
    ],
)
def test_budget_that_makes_no_sense_is_refused(options: Any, error: type[Exception]) -> None:
    with pytest.raises(error):
        Budget(**options)


@pytest.mark.parametrize("value", [3, "3", [3], Budget])
def test_option_that_is_no_budget_is_refused(value: Any) -> None:
    for make in (partial(App, budget=value), partial(App().websocket, "/", budget=value)):
        with pytest.raises(TypeError, match="budget takes"):
            make()


async def test_connection_that_has_ended_is_released() -> None:
    """Its reader would hold the channel in a cycle."""
    app, held = App(), []

    @app.websocket("/", budget=ONE())
    async def view(ws: WebSocket) -> None:
        held.append(ws)
        assert type(ws.context.open_channel().reader) is BudgetedReader
        await ws.send(await ws.receive())

    async with app.test_client() as client, client.websocket_connect("/") as ws:
        await ws.send("x")
        await ws.receive()
    assert type(held[0].context.channel.reader) is not BudgetedReader


# --- across processes ----------------------------------------------------------------------------------------------


def sharing(backplane: Any, over: Any = "reply") -> App:
    app = App(backplane=backplane)
    app.websocket("/view", budget=Budget(messages=2, per=NEVER, over=over, by="address", shared=True, name="all"))(
        echo_once
    )
    return app


async def test_processes_share_a_budget_through_the_backplane() -> None:
    backplane = MemoryBackplane()
    assert await spend(sharing(backplane), "/view") == ["passes"]
    assert await spend(sharing(backplane), "/view", "/view") == ["passes", "refused"]


class AwayBackplane(MemoryBackplane):
    """Its accounts do not answer, or refuse to."""

    def __init__(self, answer: Callable[[], Any]) -> None:
        super().__init__()
        self._answer = answer

    async def spend(self, *_: Any, **__: Any) -> float:
        await self._answer()
        raise BackplaneUnavailable("away")


@pytest.mark.parametrize("answer", [trio.sleep_forever, trio.lowlevel.checkpoint], ids=["silent", "away"])
async def test_without_the_backplane_the_process_counts_alone(autojump_clock, answer: Any) -> None:
    app = sharing(AwayBackplane(answer))
    assert await spend(app, "/view", "/view", "/view") == ["passes", "passes", "refused"]


@pytest.mark.parametrize(("key", "error"), [((1, 2), TypeError), ("\ud800", ValueError)])
def test_key_that_redis_cannot_have_is_refused(key: Any, error: type[Exception]) -> None:
    budget = Budget(messages=1, by=lambda _: key, shared=True, name="x")
    with pytest.raises(error, match="shared"):
        budget.key_of(None)  # type: ignore[arg-type] # the function does not look at it


async def test_shared_budget_ends_a_connection_with_its_code(autojump_clock) -> None:
    backplane = MemoryBackplane()
    assert await spend(sharing(backplane), "/view", "/view") == ["passes", "passes"]
    app = sharing(backplane, "close")
    async with app.test_client() as client, client.websocket_connect("/view") as ws:
        await ws.send("x")
        assert await code_of(ws) == 1008


async def test_message_held_by_a_cancelled_receive_can_be_streamed(autojump_clock) -> None:
    app, got = App(backplane=AwayBackplane(trio.sleep_forever)), []

    @app.websocket("/", budget=Budget(messages=5, by="address", shared=True, name="x"))
    async def view(ws: WebSocket) -> None:
        with trio.move_on_after(0.1):
            await ws.receive()
        got.extend([part async for part in ws.receive_stream()])

    async with app.test_client() as client, client.websocket_connect("/") as ws:
        await ws.send("held")
        await ws.wait_closed()
    assert got == ["held"]
