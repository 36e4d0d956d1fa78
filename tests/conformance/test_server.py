"""Our server, with an echo handler, passes every case of the list."""

from __future__ import annotations

import pytest
import trio

from .judge import judge
from .peer import FuzzingPeer
from .rigs import Witness, server_in_memory, server_on_loopback
from .table import CASES


async def run(rig, case):
    witness = Witness()
    async with rig(case, witness) as stream:
        verdict = await judge(case, FuzzingPeer(stream, client=True))
        await witness.confirm(case.ending)
    return verdict


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.id)
async def test_in_memory(case, record, autojump_clock):
    """No case needs a timeout of ours to end: the clock, which only moves when all wait for it, stands still."""
    began = trio.current_time()
    record("server in memory", case, await run(server_in_memory, case))
    assert trio.current_time() == began


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.id)
async def test_on_loopback(case, record):
    record("server on loopback", case, await run(server_on_loopback, case))
