"""`cancel_everywhere` tries each checkpoint, and finds what is left behind, torn, endless or wrong."""

from __future__ import annotations

import os
from typing import Any

import pytest
import trio
from support.handlers import echo

from trio_ws import App
from trio_ws.testing import (
    CancellationPoint,
    InvalidFrame,
    LeakedDescriptor,
    LeakedTask,
    TestTimeout,
    TornFrame,
    cancel_everywhere,
)

app = App()


app.websocket("/echo")(echo)


async def test_each_checkpoint_is_cancelled_once(autojump_clock: Any) -> None:
    reached: list[tuple[int, bool]] = []

    async def scenario(point: CancellationPoint) -> None:
        steps = 0
        with point():
            for _ in range(3):
                await trio.sleep(1)
                steps += 1
        reached.append((steps, point.cancelled))

    runs = await cancel_everywhere(scenario)
    assert runs == len(reached) == 9
    assert {steps for steps, cancelled in reached if cancelled} == {0, 1, 2}
    assert [steps for steps, cancelled in reached if not cancelled] == [3, 3]


async def test_sends_are_whole_or_not_at_all(autojump_clock: Any) -> None:
    async def scenario(point: CancellationPoint) -> None:
        async with app.test_client() as client, client.websocket_connect("/echo") as ws:
            with point():
                await ws.send("x" * 100_000)
            await ws.send("last")
            received = [await ws.receive()]
            if received != ["last"]:
                received.append(await ws.receive())
            assert received in (["last"], ["x" * 100_000, "last"])

    assert await cancel_everywhere(scenario) >= 3


async def test_a_scenario_without_a_point_is_cancelled_as_a_whole(autojump_clock: Any) -> None:
    checked: list[bool] = []

    async def scenario() -> None:
        for _ in range(3):
            await trio.sleep(1)

    async def check(point: CancellationPoint) -> None:
        checked.append(point.cancelled)

    runs = await cancel_everywhere(scenario, check=check)
    assert len(checked) == runs == 9
    assert checked.count(False) == 2


@pytest.mark.thorough("test_a_scenario_without_a_point_is_cancelled_as_a_whole")
async def test_a_connection_without_a_point_is_cancelled_as_a_whole(autojump_clock: Any) -> None:
    checked: list[bool] = []

    async def scenario() -> None:
        async with app.test_client() as client, client.websocket_connect("/echo") as ws:
            await ws.send("hello")
            await ws.receive()

    async def check(point: CancellationPoint) -> None:
        checked.append(point.cancelled)

    runs = await cancel_everywhere(scenario, check=check)
    assert len(checked) == runs > 10
    assert checked.count(False) >= 2


async def test_a_failed_check_names_the_place(autojump_clock: Any) -> None:
    async def scenario() -> None:
        await trio.sleep(1)

    def check(point: CancellationPoint) -> None:
        assert not point.cancelled or point.step == 0, "not good"

    with pytest.raises(AssertionError, match="not good") as caught:
        await cancel_everywhere(scenario, check=check)
    (note,) = caught.value.__notes__
    assert "step 1 waits" in note
    assert f"{os.path.basename(__file__)}" in note
    assert "in scenario" in note


async def test_a_leaked_task_is_named(autojump_clock: Any) -> None:
    async def forgotten() -> None:
        await trio.sleep_forever()

    async with trio.open_nursery() as nursery:

        async def scenario() -> None:
            await trio.sleep(1)
            nursery.start_soon(forgotten)

        with pytest.raises(LeakedTask, match=r"forgotten at .*test_cancellation"):
            await cancel_everywhere(scenario)
        nursery.cancel_scope.cancel()


@pytest.mark.skipif(not os.path.isdir("/proc/self/fd"), reason="descriptors cannot be listed here")
async def test_a_leaked_descriptor_is_found(autojump_clock: Any) -> None:
    ends: list[int] = []

    async def scenario() -> None:
        ends.extend(os.pipe())
        await trio.sleep(1)

    with pytest.raises(LeakedDescriptor, match="2 file descriptors"):
        await cancel_everywhere(scenario)
    for end in ends:
        os.close(end)


@pytest.mark.parametrize(
    ("data", "error"),
    [(b"\x82\x85\0\0\0\0he", TornFrame), (b"\x83\x80\0\0\0\0", InvalidFrame)],
    ids=["torn", "invalid"],
)
async def test_a_bad_frame_of_a_side_is_found(autojump_clock: Any, data: bytes, error: type[Exception]) -> None:
    async def scenario(point: CancellationPoint) -> None:
        client = app.test_client(raise_server_errors=False)
        async with client, client.raw("/echo") as peer:
            with point():
                await peer.send(data)
                peer.half_close()
                await peer.receive_all()

    with pytest.raises(error):
        await cancel_everywhere(scenario)
    assert await cancel_everywhere(scenario, frames=False) > 3


async def test_a_scenario_that_never_ends_is_an_error(autojump_clock: Any) -> None:
    async def endless() -> None:
        while True:
            await trio.lowlevel.checkpoint()

    async def stuck(point: CancellationPoint) -> None:
        with point():
            await trio.sleep(1)
        await trio.sleep_forever()

    with pytest.raises(RuntimeError, match="more than 20 checkpoints"):
        await cancel_everywhere(endless, max_steps=20)
    with pytest.raises(TestTimeout, match="the end of the scenario"):
        await cancel_everywhere(stuck)


async def test_a_scenario_that_marks_no_part_is_an_error(autojump_clock: Any) -> None:
    async def scenario(point: CancellationPoint) -> None:
        await trio.sleep(1)

    async def twice(point: CancellationPoint) -> None:
        with point():
            pass
        with point():
            pass

    with pytest.raises(RuntimeError, match="marks no part"):
        await cancel_everywhere(scenario)
    with pytest.raises(RuntimeError, match="entered twice"):
        await cancel_everywhere(twice)


async def test_a_scenario_that_raises_ends_the_runs(autojump_clock: Any) -> None:
    async def scenario() -> None:
        await trio.sleep(1)
        raise ValueError("wrong")

    with pytest.raises(ValueError, match="wrong"):
        await cancel_everywhere(scenario)


async def test_the_call_itself_can_be_cancelled(autojump_clock: Any) -> None:
    async def scenario(point: CancellationPoint) -> None:
        await trio.sleep(100)
        with point():
            pass

    with trio.move_on_after(1) as scope:
        await cancel_everywhere(scenario, timeout=1000)
    assert scope.cancelled_caught


async def test_it_may_be_nested(autojump_clock: Any) -> None:
    async def inner() -> None:
        await trio.sleep(1)

    async def scenario(point: CancellationPoint) -> None:
        with point():
            await trio.sleep(1)
        assert await cancel_everywhere(inner) == 5

    assert await cancel_everywhere(scenario) == 5
