"""Bad networks: what each step does to the bytes and when, and runs that are the same for the same seed or schedule."""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any

import pytest
import trio
from support.handlers import echo
from support.tls import contexts
from trio.testing import MockClock, check_half_closeable_stream

from trio_ws import App, ConnectError, WebSocketDisconnect, open_websocket
from trio_ws.testing import (
    GENTLE_KINDS,
    CancellationPoint,
    ChaosNetwork,
    ChaosScript,
    ChaosStream,
    Deliver,
    HalfClose,
    MemoryNetwork,
    RawPeer,
    Reset,
    SocketNetwork,
    Throttle,
    cancel_everywhere,
)
from trio_ws.testing.chaos_network import SHOWN_STEPS
from trio_ws.testing.chaos_steps import CHAOS_KINDS, drawn_steps
from trio_ws.testing.memory_stream import BUFFER_BYTES, MemoryStream, memory_pair

app = App()


app.websocket("/echo")(echo)


def bad(**directions: Any) -> tuple[ChaosStream, MemoryStream]:
    """Return a stream with the steps given, and the other end."""
    left, right = memory_pair()
    return ChaosStream(left, script=ChaosScript(**directions)), right


async def received(stream: trio.abc.ReceiveStream) -> list[tuple[float, bytes]]:
    """Return the pieces that arrive up to the end, with their times since now."""
    began = trio.current_time()
    pieces = []
    with suppress(trio.BrokenResourceError):
        async for piece in stream:
            pieces.append((round(trio.current_time() - began, 6), piece))
    pieces.append((round(trio.current_time() - began, 6), b""))
    return pieces


# --- one step at a time -------------------------------------------------------------------------------------------


async def test_a_good_chaos_stream_is_a_stream_for_trio() -> None:
    async def fresh() -> tuple[ChaosStream, ChaosStream]:
        left, right = memory_pair()
        return ChaosStream(left, script=ChaosScript()), ChaosStream(right, script=ChaosScript())

    async def clogged() -> tuple[ChaosStream, ChaosStream]:
        left, right = await fresh()
        await left.send_all(bytes(BUFFER_BYTES))
        await right.send_all(bytes(BUFFER_BYTES))
        return left, right

    await check_half_closeable_stream(fresh, clogged)


THIRDS = (0.333333, 0.666667, 1.0, 1.333333, 1.666667, 2.0)
SINGLE = (b"a", b"b", b"c", b"d", b"e", b"f")
RECEIVED: dict[str, tuple[list[Any], list[tuple[float, bytes]]]] = {
    "nothing": ([], [(0, b"abcdef"), (1, b"gh"), (1, b"")]),
    "split": ([Deliver(1), Deliver(2)], [(0, b"a"), (0, b"bc"), (0, b"def"), (1, b"gh"), (1, b"")]),
    "split in time": ([Deliver(4, after=0.25)], [(0.25, b"abcd"), (0.25, b"ef"), (1, b"gh"), (1, b"")]),
    "delay": ([Deliver(after=0.5)], [(0.5, b"abcdef"), (1, b"gh"), (1, b"")]),
    "join": ([Deliver(after=1.5)], [(1.5, b"abcdefgh"), (1.5, b"")]),
    "over two writes": ([Deliver(7), Deliver(after=2)], [(0, b"abcdef"), (1, b"g"), (3, b"h"), (3, b"")]),
    "throttle": (
        [Throttle(7, rate=2)],
        [(n / 2, bytes([96 + n * 1])) for n in range(1, 8)] + [(3.5, b"h"), (3.5, b"")],
    ),
    "half-close": ([Deliver(3), HalfClose(after=0.25)], [(0, b"abc"), (0.25, b"")]),
    "reset": ([Deliver(3), Reset(after=0.25)], [(0, b"abc"), (0.25, b"")]),
}


@pytest.mark.parametrize("name", RECEIVED)
async def test_each_step_changes_what_is_received(name: str, autojump_clock: MockClock) -> None:
    steps, expected = RECEIVED[name]
    stream, other = bad(down=steps)

    async def send() -> None:
        with suppress(trio.BrokenResourceError):
            await other.send_all(b"abcdef")
            await trio.sleep(1)
            await other.send_all(b"gh")
            await other.send_eof()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(send)
        assert await received(stream) == expected
    assert stream.schedule == ChaosScript(down=steps)


SENT: dict[str, tuple[list[Any], list[tuple[float, bytes]]]] = {
    "split": ([Deliver(1), Deliver(2, after=1), Deliver(after=1)], [(0, b"a"), (1, b"bc"), (2, b"def"), (2, b"")]),
    "delay": ([Deliver(after=0.5)], [(0.5, b"abcdef"), (0.5, b"")]),
    "throttle": ([Throttle(6, rate=20)], [(0.1, b"ab"), (0.2, b"cd"), (0.3, b"ef"), (0.3, b"")]),
    "half-close": ([Deliver(3), HalfClose(after=0.25)], [(0, b"abc"), (0.25, b"")]),
    "reset": ([Deliver(3), Reset(after=0.25)], [(0, b"abc"), (0.25, b"")]),
}


@pytest.mark.parametrize("name", SENT)
async def test_each_step_changes_what_is_sent(name: str, autojump_clock: MockClock) -> None:
    steps, expected = SENT[name]
    stream, other = bad(up=steps)
    errors = []

    async def send() -> None:
        try:
            await stream.send_all(b"abcdef")
        except trio.BrokenResourceError as error:
            errors.append(error)
        else:
            await stream.send_eof()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(send)
        assert await received(other) == expected
    assert len(errors) == name.endswith(("close", "reset"))


async def test_a_half_close_leaves_the_other_direction() -> None:
    stream, other = bad(down=[HalfClose()])
    assert await stream.receive_some() == b""
    await stream.send_all(b"still there")
    assert await other.receive_some() == b"still there"


@pytest.mark.parametrize("direction", ["up", "down"])
async def test_a_reset_ends_both_directions_of_both_ends(direction: str) -> None:
    stream, other = bad(**{direction: [Reset()]})
    with pytest.raises(trio.BrokenResourceError):
        await (stream.send_all(b"x") if direction == "up" else stream.receive_some())
    for call in (
        partial(stream.send_all, b"x"),
        stream.receive_some,
        partial(other.send_all, b"x"),
        other.receive_some,
    ):
        with pytest.raises(trio.BrokenResourceError):
            await call()


@pytest.mark.parametrize("end", ["closed", "reset"])
@pytest.mark.parametrize("direction", ["up", "down"])
async def test_a_stream_that_has_ended_takes_no_more_steps(end: str, direction: str, autojump_clock: MockClock) -> None:
    """Not even the time of one: the schedule has what the connection has lived through."""
    steps = [Deliver(1, after=0.5), Deliver(1, after=0.5)]
    other = "down" if direction == "up" else "up"
    stream, peer = bad(**{direction: steps, other: [Reset()]})
    if end == "closed":
        await stream.aclose()
    else:
        with pytest.raises(trio.BrokenResourceError):
            await (stream.send_all(b"x") if other == "up" else stream.receive_some())
    taken, began = stream.schedule, trio.current_time()
    with pytest.raises(trio.ClosedResourceError if end == "closed" else trio.BrokenResourceError):
        await (stream.send_all(b"x") if direction == "up" else stream.receive_some())
    assert (stream.schedule, trio.current_time()) == (taken, began)
    await peer.aclose()


async def test_a_reset_wakes_who_waits_in_the_other_direction(autojump_clock: MockClock) -> None:
    stream, _ = bad(up=[Reset(after=1)])
    async with trio.open_nursery() as nursery:

        async def wait() -> None:
            with pytest.raises(trio.BrokenResourceError, match="the network has reset"):
                await stream.receive_some()

        nursery.start_soon(wait)
        with pytest.raises(trio.BrokenResourceError):
            await stream.send_all(b"x")


async def test_cancelling_loses_no_received_byte(autojump_clock: MockClock) -> None:
    sent = bytes(range(40))

    async def receive(cut: CancellationPoint) -> None:
        stream, other = bad(down=[Deliver(3, after=0.5), Deliver(after=1), Throttle(20, rate=40)])
        async with trio.open_nursery() as nursery:

            async def send() -> None:
                for start in range(0, len(sent), 7):
                    await other.send_all(sent[start : start + 7])
                    await trio.sleep(0.3)
                await other.send_eof()

            nursery.start_soon(send)
            got = b""
            with cut():
                async for piece in stream:
                    got += piece
            async for piece in stream:
                got += piece
            assert got == sent

    assert await cancel_everywhere(receive) > 5


# --- by seed ------------------------------------------------------------------------------------------------------


def test_a_seed_draws_the_same_steps_everywhere() -> None:
    """A seed in a report draws the same steps on another machine."""
    assert list(itertools.islice(drawn_steps((7, 0, "up"), CHAOS_KINDS), 3)) == [
        Deliver(after=0.047),
        Deliver(68352, after=0.05),
        Deliver(54992, after=0.162),
    ]


@pytest.mark.parametrize("kind", CHAOS_KINDS)
def test_each_kind_is_drawn_alone(kind: str) -> None:
    steps = list(itertools.islice(drawn_steps(1, (kind,)), 50))
    kinds = {"half_close": HalfClose, "reset": Reset, "throttle": Throttle}
    assert {type(step) for step in steps} == {kinds.get(kind, Deliver)}


async def converse(network: ChaosNetwork) -> list[tuple[float, object]]:
    """Send messages to an echo over a bad network; return when each came back, and how it ended."""
    began, seen = trio.current_time(), list[tuple[float, object]]()
    async with app.test_client(network=network, timeout=100) as client:
        for _ in range(2):
            try:
                async with client.websocket_connect("/echo") as ws:
                    for size in (0, 1, 200, 5000, 70_000):
                        await ws.send("x" * size)
                        seen.append((round(trio.current_time() - began, 6), len(await ws.receive())))
            except (WebSocketDisconnect, ConnectError) as end:
                seen.append((round(trio.current_time() - began, 6), str(end)))
    return seen


@pytest.mark.parametrize("seed", range(8))
async def test_a_run_is_the_same_for_its_seed_and_schedule(seed: int, autojump_clock: MockClock) -> None:
    first = ChaosNetwork(seed=seed)
    seen = await converse(first)
    again = ChaosNetwork(seed=seed)
    assert await converse(again) == seen
    assert again.schedule == first.schedule
    script = eval(
        repr(first.schedule), {each.__name__: each for each in (ChaosScript, Deliver, HalfClose, Reset, Throttle)}
    )
    assert await converse(ChaosNetwork(script=script)) == seen


async def test_seeds_differ_in_their_runs(autojump_clock: MockClock) -> None:
    runs = [await converse(ChaosNetwork(seed=seed)) for seed in range(12)]
    assert len({str(run) for run in runs}) == 12
    ends = " ".join(str(run) for run in runs)
    assert "1006" in ends  # some connections were broken
    assert "70000" in ends  # others lived


@pytest.mark.parametrize("seed", range(5))
async def test_gentle_kinds_lose_nothing(seed: int, autojump_clock: MockClock) -> None:
    seen = await converse(ChaosNetwork(seed=seed, kinds=GENTLE_KINDS))
    assert [what for _, what in seen] == [0, 1, 200, 5000, 70_000] * 2


async def test_a_failing_test_shows_seed_and_schedule(autojump_clock: MockClock) -> None:
    network = ChaosNetwork(seed=11, kinds=["delay", "split"])
    with pytest.raises(AssertionError, match="the test's") as failed:
        async with app.test_client(network=network) as client, client.websocket_connect("/echo") as ws:
            await ws.send("hello")
            await ws.receive()
            raise AssertionError("the test's")
    (note,) = failed.value.__notes__
    assert note.startswith(
        "this ran on ChaosNetwork(seed=11, kinds=('delay', 'split')); the schedule of each connection:"
    )
    assert note.endswith(f"  0: {network.schedule[0]}")


async def test_a_long_schedule_is_shortened_in_its_description(autojump_clock: MockClock) -> None:
    network = ChaosNetwork(script=[ChaosScript(up=[Deliver(1)] * 400)])
    with pytest.raises(ZeroDivisionError) as failed:
        async with app.test_client(network=network) as client, client.websocket_connect("/echo"):
            raise ZeroDivisionError
    (note,) = failed.value.__notes__
    assert "ChaosNetwork(script=[...])" in note
    more = re.search(r"after up to (\d+) steps more", note)
    assert more is not None
    assert note.count("Deliver(") == SHOWN_STEPS == 30
    assert int(more[1]) == max(len(way) for way in (network.schedule[0].up, network.schedule[0].down)) - SHOWN_STEPS
    assert len(note) < 1000


async def test_connections_beyond_the_script_are_good(autojump_clock: MockClock) -> None:
    network = ChaosNetwork(script=[ChaosScript(down=[Deliver(1), Reset()])])
    async with app.test_client(network=network) as client:
        with pytest.raises(ConnectError):
            async with client.websocket_connect("/echo"):
                pass
        async with client.websocket_connect("/echo") as ws:
            await ws.send("hello")
            assert await ws.receive() == "hello"


@pytest.mark.parametrize(
    "make",
    [
        ChaosNetwork,
        lambda: ChaosNetwork(seed=1, script=[]),
        lambda: ChaosNetwork(seed=1, kinds=["dealy"]),
        lambda: ChaosNetwork(seed=1, kinds=[]),
        lambda: ChaosStream(memory_pair()[0]),
        lambda: Deliver(0),
        lambda: Deliver(after=-1),
        lambda: Deliver(after=float("inf")),
        lambda: Throttle(5, rate=0),
        lambda: Reset(after=float("nan")),
    ],
    ids=["nothing", "both", "unknown", "none", "stream", "size", "past", "ever", "rate", "nan"],
)
def test_arguments_that_make_no_sense_are_refused(make: Callable[[], object]) -> None:
    with pytest.raises(ValueError, match=r"either|kinds|must be|seconds"):
        make()


# --- over other streams -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("way", ["memory", "socket", "tls"])
@pytest.mark.slow
async def test_any_stream_can_be_made_bad(way: str) -> None:
    server_tls, client_tls = contexts() if way == "tls" else (None, None)
    network = MemoryNetwork() if way == "memory" else SocketNetwork(ssl_context=client_tls)
    async with trio.open_nursery() as nursery:
        serve = partial(app.serve, port=None, listeners=[network.listen()], ssl_context=server_tls)
        server = await nursery.start(serve)
        stream = ChaosStream(await network.connect(), seed=3, kinds=["split", "delay"])
        async with open_websocket("ws://localhost/echo", stream=stream) as ws:
            await ws.send("x" * 1000)
            assert await ws.receive() == "x" * 1000
        broken = ChaosStream(await network.connect(), script=ChaosScript(up=[Deliver(), Reset()]))
        async with RawPeer(broken) as peer:
            await peer.handshake("/echo", host="localhost")
            with pytest.raises(trio.BrokenResourceError):
                await peer.message("never arrives")
            assert await peer.receive_all() == b""
            assert peer.end == "reset"
        server.shutdown(grace=0)


@pytest.mark.parametrize("step", [HalfClose(), Reset()])
async def test_streams_without_half_close_or_reset_are_closed(step: HalfClose | Reset) -> None:
    left, right = trio.testing.memory_stream_pair()
    stream = ChaosStream(trio.StapledStream(left.send_stream, left.receive_stream), script=ChaosScript(up=[step]))
    with pytest.raises(trio.BrokenResourceError):
        await stream.send_all(b"x")
    assert await right.receive_some() == b""
