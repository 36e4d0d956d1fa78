"""The disconnect rule: what happens to a handler whose peer is gone, wherever it waits."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

import attrs
import pytest
import trio
from support.networks import SocketNetwork, Witness, binary, close, dial, fragment, peer_of, serving, text
from support.turns import Streak

from trio_ws import Limits, Timeouts, WebSocket, WebSocketDisconnect, WebSocketMessage, open_websocket
from trio_ws.testing import MemoryNetwork, RawPeer

DRAIN = 1.0
CLEANUP = 5.0
TIMES = Timeouts(drain_timeout=DRAIN, cleanup_timeout=CLEANUP, ping_interval=None, shutdown_grace=0.0)
SMALL = Limits(outbox_bytes=1)
PATIENCE = 10
"""Real seconds, after which a test on sockets has hung."""


# --- ways to leave, and ways to hear of it ---


async def say_goodbye(peer: RawPeer) -> None:
    await peer.send(close(1001, "tab closed"))


async def drop(peer: RawPeer) -> None:
    await peer.close()


LEAVING: list[Any] = [
    pytest.param(say_goodbye, 1001, "peer closed: 1001 tab closed", id="close frame"),
    pytest.param(drop, 1006, "connection lost: 1006", id="drop"),
]


async def by_receive(ws: WebSocket, code: int) -> None:
    with pytest.raises(WebSocketDisconnect) as caught:
        await ws.receive()
    assert caught.value.code == code


async def by_recv(ws: WebSocket, code: int) -> None:
    if code != 1006:
        assert await ws.recv() == WebSocketMessage("close", code=1001, reason="tab closed")
    assert await ws.recv() is None


async def by_iteration(ws: WebSocket, code: int) -> None:
    if code == 1001:  # a code that is caught
        assert [message async for message in ws] == []
    else:
        with pytest.raises(WebSocketDisconnect, match=str(code)):
            await anext(aiter(ws))


async def by_send(ws: WebSocket, code: int) -> None:
    with pytest.raises(WebSocketDisconnect) as caught:
        await send_for_ever(ws)
    assert caught.value.code == code


async def send_for_ever(ws: WebSocket) -> None:
    while True:
        await ws.send(b"x" * 4096)


async def by_ping(ws: WebSocket, code: int) -> None:
    with pytest.raises(WebSocketDisconnect) as caught:
        await ws.ping()
    assert caught.value.code == code


async def by_stream(ws: WebSocket, code: int) -> None:
    with pytest.raises(WebSocketDisconnect) as caught:
        await anext(ws.receive_stream())
    assert caught.value.code == code


Telling = Callable[[WebSocket, int], Awaitable[None]]
TELLING: list[Telling] = [by_receive, by_recv, by_iteration, by_send, by_ping, by_stream]


async def talk(handler: Any, leave: Callable[[RawPeer], Awaitable[None]], ready: trio.Event, **options: Any) -> float:
    """Serve one connection in virtual time until its peer leaves; return when that was."""
    options = {"timeouts": TIMES, "limits": SMALL, **options}
    async with peer_of(handler, MemoryNetwork(capacity=0), **options) as peer:
        await ready.wait()
        await trio.sleep(3)
        left = trio.current_time()
        await leave(peer)
        await trio.sleep(100)
    return left


# --- the rule, in virtual time over memory streams ---


@pytest.mark.parametrize(("leave", "code", "why"), LEAVING)
@pytest.mark.parametrize("hear", TELLING)
async def test_notified_handler_has_cleanup_timeout_to_finish(hear, leave, code, why, autojump_clock):
    """Who was told has cleanup_timeout to say goodbye elsewhere."""
    fate = Witness()
    told: list[float] = []

    async def handler(ws: WebSocket) -> None:
        fate.began.set()
        await hear(ws, code)
        told.append(trio.current_time())
        await fate.stay()

    left = await talk(handler, leave, fate.began)
    assert told == [left]
    assert fate.time - left == pytest.approx(CLEANUP)
    assert fate.cancelled == why


@pytest.mark.parametrize(("leave", "code", "why"), LEAVING)
@pytest.mark.parametrize("hear", TELLING)
async def test_who_was_told_and_returns_in_time_is_not_cancelled(hear, leave, code, why, autojump_clock):
    fate = Witness()

    async def handler(ws: WebSocket) -> None:
        fate.began.set()
        await hear(ws, code)
        with fate.watch():
            await trio.sleep(CLEANUP - 0.1)

    await talk(handler, leave, fate.began)
    assert fate.ended.is_set()
    assert fate.cancelled is None


@pytest.mark.parametrize(("leave", "code", "why"), LEAVING)
async def test_who_never_reads_is_cancelled_at_once(leave, code, why, autojump_clock):
    fate = Witness()

    assert await talk(fate.stay, leave, fate.began) == fate.time
    assert fate.cancelled == why


@pytest.mark.parametrize(("leave", "code", "why"), LEAVING)
async def test_unnotified_reader_is_cancelled_after_drain_timeout(leave, code, why, autojump_clock):
    """Who reads and was not told is cancelled after drain_timeout."""
    fate = Witness()

    async def handler(ws: WebSocket) -> None:
        with trio.move_on_after(1):
            await ws.receive()
        fate.began.set()
        await fate.stay()

    left = await talk(handler, leave, fate.began)
    assert fate.time - left == pytest.approx(DRAIN)
    assert fate.cancelled == why


async def test_arrived_messages_are_received_and_each_renews_the_time(autojump_clock):
    """A handler that works 0.9 s on each of five messages is not cut off by a client that sends them and leaves."""
    got: list[str] = []
    fate = Witness()

    async def handler(ws: WebSocket) -> None:
        with fate.watch():
            async for message in ws:
                await trio.sleep(DRAIN - 0.1)
                got.append(message)
            got.append("told")

    async with peer_of(handler, timeouts=TIMES) as peer:
        await peer.send(*map(text, "abcde"), close(1000))
        await trio.sleep(60)
    assert got == [*"abcde", "told"]
    assert fate.cancelled is None


@pytest.mark.parametrize(("leave", "code", "why"), LEAVING)
@pytest.mark.parametrize("hear", [None, *TELLING])
async def test_cancel_cancels_at_once_wherever_the_handler_is(hear, leave, code, why, autojump_clock):
    """Who waits for the connection at that moment is told; the next thing that waits is cancelled."""
    fate = Witness()

    async def handler(ws: WebSocket) -> None:
        fate.began.set()
        with fate.watch():
            if hear is not None:
                await hear(ws, code)
            await trio.sleep_forever()

    assert await talk(handler, leave, fate.began, when_peer_leaves="cancel") == fate.time
    assert fate.cancelled == why


@pytest.mark.parametrize(("leave", "code", "why"), LEAVING)
@pytest.mark.parametrize("hear", [None, *TELLING])
async def test_finish_never_cancels(hear, leave, code, why, autojump_clock):
    fate = Witness()

    async def handler(ws: WebSocket) -> None:
        fate.began.set()
        with fate.watch():
            if hear is not None:
                await hear(ws, code)
            await trio.sleep(50)

    left = await talk(handler, leave, fate.began, when_peer_leaves="finish")
    assert fate.cancelled is None
    assert fate.time >= left + 47


async def test_child_tasks_live_until_the_handler_has_ended(autojump_clock):
    child, handler_end = Witness(), Witness()

    async def work() -> None:
        await child.stay()

    async def handler(ws: WebSocket) -> None:
        ws.nursery.start_soon(work)
        child.began.set()
        with handler_end.watch():
            await by_receive(ws, 1006)
            await trio.sleep(3)

    left = await talk(handler, drop, child.began)
    assert handler_end.cancelled is None
    assert handler_end.time - left == pytest.approx(3)
    assert child.time == handler_end.time
    assert child.cancelled == "the handler has ended"


async def test_a_child_task_that_reads_counts_as_the_handler_reading(autojump_clock):
    fate = Witness()

    async def read(ws: WebSocket) -> None:
        with trio.move_on_after(0.5):
            await ws.receive()
        fate.began.set()

    async def handler(ws: WebSocket) -> None:
        ws.nursery.start_soon(read, ws)
        await fate.stay()

    left = await talk(handler, drop, fate.began)
    assert fate.time - left == pytest.approx(DRAIN)


async def test_the_handlers_own_close_does_not_get_it_cancelled(autojump_clock):
    fate = Witness()

    async def handler(ws: WebSocket) -> None:
        fate.began.set()
        await ws.close(4000, "mine")
        with pytest.raises(WebSocketDisconnect, match="4000: mine"):
            await ws.receive()
        with fate.watch():
            await trio.sleep(50)

    await talk(handler, drop, fate.began, timeouts=TIMES)
    assert fate.ended.is_set()
    assert fate.cancelled is None


async def test_the_body_of_a_client_is_cancelled_by_the_same_rule(autojump_clock):
    """The server closes; the client's block, which never reads, is cancelled, and learns why behind the block."""
    network = MemoryNetwork()
    fate = Witness()

    async def handler(ws: WebSocket) -> None:
        await trio.sleep(2)
        await ws.close(4001, "enough")

    async with serving(network, handler, timeouts=TIMES):
        with pytest.raises(WebSocketDisconnect, match="4001: enough"):
            async with open_websocket("ws://localhost/", stream=await network.connect()):
                began = trio.current_time()
                await fate.stay()
        assert fate.time - began == pytest.approx(2)
        assert fate.cancelled == "peer closed: 4001 enough"


# --- everyone who waits ---


async def test_all_waiters_get_a_disconnect_and_none_is_cancelled(autojump_clock):
    """Every waiter wakes with a disconnect and none is cancelled."""
    woken: list[str] = []
    ready = trio.Event()

    async def wait(name: str, method: Callable[..., Awaitable[object]], *args: Any) -> None:
        with pytest.raises(WebSocketDisconnect) as caught:
            await method(*args)
        assert caught.value.code == 1001
        woken.append(name)

    async def fragments() -> Any:
        yield b"one"
        await trio.sleep(1)
        yield b"two"

    async def handler(ws: WebSocket) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(wait, "receive", ws.receive)
            nursery.start_soon(wait, "ping", ws.ping)
            nursery.start_soon(wait, "ping", ws.ping, b"another")
            await trio.sleep(1)
            await ws.send(b"x" * 100)  # fills the outbox
            nursery.start_soon(wait, "send", ws.send, b"y")
            nursery.start_soon(wait, "send", ws.send_text, "y")
            nursery.start_soon(wait, "pong", ws.pong)
            nursery.start_soon(wait, "stream", ws.send_stream, fragments())
            await trio.sleep(1)
            ready.set()

    await talk(handler, say_goodbye, ready, limits=Limits(outbox_bytes=64))
    assert sorted(woken) == ["ping", "ping", "pong", "receive", "send", "send", "stream"]


async def test_a_send_from_outside_the_connection_raises_in_the_caller(autojump_clock):
    """Whoever sends on a connection that has ended is told so; being cancelled is only for the handler."""
    held: list[WebSocket] = []

    async def handler(ws: WebSocket) -> None:
        held.append(ws)
        await trio.sleep_forever()

    async with peer_of(handler, timeouts=TIMES) as peer:
        await trio.sleep(1)
        await peer.send(close(1000))
        await trio.sleep(1)
        for action in (held[0].send("a"), held[0].ping(), held[0].pong(), held[0].receive()):
            with pytest.raises(WebSocketDisconnect, match="1000"):
                await action


async def test_sender_outliving_the_connection_gets_a_disconnect(autojump_clock):
    """The handler ends while a task elsewhere waits in `send`."""
    held: list[WebSocket] = []
    fate = Witness()
    network = MemoryNetwork(capacity=0)

    async def handler(ws: WebSocket) -> None:
        held.append(ws)
        await trio.sleep(2)

    async def send_on() -> None:
        with fate.watch(), pytest.raises(WebSocketDisconnect, match="1000"):
            await send_for_ever(held[0])

    async with serving(network, handler, timeouts=TIMES, limits=SMALL), trio.open_nursery() as nursery:
        await dial(network)
        await trio.sleep(1)
        nursery.start_soon(send_on)
    assert fate.ended.is_set()
    assert fate.cancelled is None


# --- receiving ---


async def test_receive_in_a_timeout_loses_nothing(autojump_clock):
    got: list[str] = []

    async def handler(ws: WebSocket) -> None:
        while len(got) < 20:
            with trio.move_on_after(0.13):
                got.append(await ws.receive())

    async with peer_of(handler, timeouts=TIMES) as peer:
        for number in range(20):
            await peer.send(text(str(number)))
            await trio.sleep(0.1)
        await peer.receive_frames()
    assert got == [str(number) for number in range(20)]


async def test_cancelled_receive_leaves_the_arriving_message_in_place(autojump_clock):
    """Message and deadline meet in one scheduler turn."""
    got: list[str] = []

    async def handler(ws: WebSocket) -> None:
        with trio.move_on_after(0):
            await ws.receive()
            pytest.fail("a cancelled receive returned a message")
        with trio.CancelScope() as scope:
            ws.nursery.start_soon(cancel_when_it_arrives, ws, scope)
            got.append(await ws.receive())
        got.append(await ws.receive())

    async def cancel_when_it_arrives(ws: WebSocket, scope: trio.CancelScope) -> None:
        while not ws.context.channel.reader.inbox.items:
            await trio.lowlevel.checkpoint()
        scope.cancel()

    async with peer_of(handler, timeouts=TIMES) as peer:
        await peer.send(text("a"), text("b"), close(1000))
        with trio.move_on_after(1):
            await peer.receive_frames()
    assert got in (["a", "b"], ["a"])  # never "b" alone: what was cancelled took nothing


async def test_no_stream_begins_inside_a_message_dropped_after_close(autojump_clock):
    """What came before the close is received; of what is dropped nothing is, also not the beginning of a message."""
    got = list[Any]()

    async def handler(ws: WebSocket) -> None:
        await trio.sleep(1)
        ws.nursery.start_soon(ws.close, 4000)
        await trio.sleep(1)
        got.append(await ws.receive())
        with pytest.raises(WebSocketDisconnect, match="4000"):
            got.append(await anext(ws.receive_stream()))

    async with peer_of(handler, timeouts=TIMES, limits=Limits(inbox_messages=1)) as peer:
        await peer.send(text("taken"), text("dropped"), fragment(b"begun", first=True))
        await peer.receive_frames()
    assert got == ["taken"]


async def test_two_readers_at_once_are_a_busy_resource_error(autojump_clock):
    got: list[str] = []

    async def read(ws: WebSocket) -> None:
        got.append(await ws.receive())

    async def handler(ws: WebSocket) -> None:
        ws.nursery.start_soon(read, ws)
        await trio.sleep(1)
        with pytest.raises(trio.BusyResourceError):
            await ws.receive()
        await trio.sleep(5)

    async with peer_of(handler, timeouts=TIMES) as peer:
        await trio.sleep(2)
        await peer.send(text("for the first"))
        await trio.sleep(2)
    assert got == ["for the first"]


async def test_receiving_buffered_messages_yields_at_least_every_64(autojump_clock):
    streaks: list[Streak] = []

    async def handler(ws: WebSocket) -> None:
        await trio.sleep(1)
        streaks.append(Streak())
        for _ in range(300):
            await ws.receive()
            streaks[0].step()

    async with peer_of(handler, timeouts=TIMES, limits=Limits(inbox_messages=1000)) as peer:
        await peer.send(*[binary(b"x")] * 300)
        await peer.receive_frames()
    assert streaks[0].longest == 64


async def test_receive_after_the_end_yields_and_can_be_cancelled(autojump_clock):
    """A handler that catches every error and tries again must not stop the world."""
    streaks: list[Streak] = []

    async def handler(ws: WebSocket) -> None:
        streaks.append(Streak())
        while streaks[0].longest <= 64:
            with suppress(WebSocketDisconnect):
                await ws.receive()
            streaks[0].step()

    async with peer_of(handler, timeouts=attrs.evolve(TIMES, cleanup_timeout=0)) as peer:
        await peer.send(close(1000))
        await peer.receive_frames()
    assert streaks[0].longest <= 64


async def test_sending_yields_at_least_every_64(autojump_clock):
    streaks: list[Streak] = []

    async def handler(ws: WebSocket) -> None:
        streaks.append(Streak())
        for _ in range(300):
            await ws.send(b"x")
            streaks[0].step()

    async with peer_of(handler, timeouts=TIMES, limits=Limits(outbox_bytes=1 << 20)) as peer:
        frames = await peer.receive_frames()
    assert len(frames) == 301  # and the close frame
    assert streaks[0].longest == 64


# --- causality, on real sockets and both transports ---


@pytest.fixture(params=["stream", "poller"])
def sockets(request):
    return SocketNetwork(poller=request.param == "poller")


async def reset(peer: RawPeer) -> None:
    await peer.reset()


SOCKET_LEAVING = [
    pytest.param(say_goodbye, 1001, id="close frame"),
    pytest.param(drop, 1006, id="end of stream"),
    pytest.param(reset, 1006, id="reset"),
]
LONG = 1000.0


@pytest.mark.parametrize(("leave", "code"), SOCKET_LEAVING)
@pytest.mark.parametrize("hear", TELLING)
async def test_on_sockets_each_way_of_waiting_is_told(sockets, hear, leave, code):
    """Nothing here depends on time: the timeouts are longer than the test's patience."""
    fate = Witness()

    async def handler(ws: WebSocket) -> None:
        fate.began.set()
        with fate.watch():
            await hear(ws, code)

    times = Timeouts(drain_timeout=LONG, cleanup_timeout=LONG, ping_interval=None, shutdown_grace=0.0)
    async with peer_of(handler, sockets, timeouts=times, limits=SMALL) as peer:
        await fate.began.wait()
        await trio.testing.wait_all_tasks_blocked(0.01)
        await leave(peer)
        await fate.ended.wait()
        await peer.close()
    assert fate.cancelled is None


@pytest.mark.parametrize(("leave", "code"), SOCKET_LEAVING)
@pytest.mark.parametrize(
    "case",
    [
        pytest.param((False, "drain", LONG), id="never reads"),
        pytest.param((True, "drain", 0.0), id="reads, was not told"),
        pytest.param((True, "cancel", LONG), id="policy cancel"),
    ],
)
async def test_on_sockets_who_was_not_told_is_cancelled(sockets, leave, code, case):
    reads, policy, drain = case
    fate = Witness()

    async def handler(ws: WebSocket) -> None:
        if reads:
            assert await ws.receive() == "hello"
        fate.began.set()
        await fate.stay()

    times = Timeouts(drain_timeout=drain, cleanup_timeout=LONG, ping_interval=None, shutdown_grace=0.0)
    async with peer_of(handler, sockets, timeouts=times, when_peer_leaves=policy) as peer:
        if reads:
            await peer.send(text("hello"))
        await fate.began.wait()
        await leave(peer)
        await fate.ended.wait()
        await peer.close()
    assert fate.cancelled is not None
    assert str(code) in fate.cancelled


async def test_notified_handler_on_sockets_is_cancelled_after_cleanup(sockets):
    """On sockets who was told is cancelled when cleanup is over."""
    fate = Witness()

    async def handler(ws: WebSocket) -> None:
        fate.began.set()
        await by_receive(ws, 1006)
        await fate.stay()

    times = Timeouts(drain_timeout=LONG, cleanup_timeout=0.0, ping_interval=None, shutdown_grace=0.0)
    async with peer_of(handler, sockets, timeouts=times) as peer:
        await fate.began.wait()
        await drop(peer)
        await fate.ended.wait()
    assert fate.cancelled == "connection lost: 1006"


async def receive_all(ws: WebSocket, got: list[str]) -> None:
    while True:
        got.append(await ws.receive())


async def test_on_sockets_what_arrived_before_the_end_is_received(sockets):
    """Two hundred messages and the end are in the socket before the handler looks."""
    got: list[str] = []
    go, done = trio.Event(), trio.Event()

    async def handler(ws: WebSocket) -> None:
        await go.wait()
        with pytest.raises(WebSocketDisconnect, match="4002"):
            await receive_all(ws, got)
        done.set()

    times = Timeouts(drain_timeout=LONG, cleanup_timeout=LONG, ping_interval=None, shutdown_grace=0.0)
    async with peer_of(handler, sockets, timeouts=times, when_peer_leaves="finish") as peer:
        await peer.send(*(text(str(number)) for number in range(200)), close(4002))
        await peer.close()
        go.set()
        await done.wait()
    assert got == [str(number) for number in range(200)]
