"""What a task is woken with: an outcome like another, but for being used again and again."""

from __future__ import annotations

import trio

from trio_ws.runtime.wakeup import RESUME


async def test_a_task_can_be_woken_with_it_any_number_of_times():
    task = trio.lowlevel.current_task()
    for _ in range(3):
        trio.lowlevel.current_trio_token().run_sync_soon(trio.lowlevel.reschedule, task, RESUME)
        assert await trio.lowlevel.wait_task_rescheduled(lambda _: trio.lowlevel.Abort.FAILED) is None


async def test_generators_go_on_with_nothing():
    def generator():
        got.append((yield 1))
        yield 2

    async def asynchronous():
        got.append((yield 3))
        yield 4

    got: list[object] = []
    plain, other = generator(), asynchronous()
    assert next(plain) == 1
    assert RESUME.send(plain) == 2
    assert await anext(other) == 3
    assert await RESUME.asend(other) == 4
    await other.aclose()
    assert got == [None, None]
