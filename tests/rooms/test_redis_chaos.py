"""What holds of rooms over Redis whatever fails, and when; `chaos` says what that is, and what fails.

A few seeds run with every test run, and many more with `make soak`. A fault that is found is put among the few.
"""

from __future__ import annotations

import pytest
from support.redis import collects_coredis, forgives_coredis, needs_redis, redis_server

from .chaos import Chaos, cut, freeze, give_up, kill, lose, open_alone

pytestmark = [needs_redis, forgives_coredis, collects_coredis, pytest.mark.usefixtures("impatient")]

MANY = [pytest.param(seed, marks=pytest.mark.soak) for seed in range(100, 130)]


@pytest.mark.parametrize(
    "seed",
    [1, pytest.param(3, marks=pytest.mark.thorough("test_order_holds_when_rooms_are_opened_without_redis")), *MANY],
)
async def test_order_holds_when_rooms_are_opened_without_redis(redis, seed, system_clock) -> None:
    chaos = Chaos(seed, redis)
    async with chaos.running(3):
        await chaos.disturb(4, open_alone)


@pytest.mark.parametrize(
    "seed",
    [4, pytest.param(5, marks=pytest.mark.thorough("test_order_holds_when_publishers_give_up_and_links_break")), *MANY],
)
async def test_order_holds_when_publishers_give_up_and_links_break(redis, seed) -> None:
    chaos = Chaos(seed, redis)
    async with chaos.running(3):
        await chaos.disturb(4, freeze, cut, give_up, give_up)


@pytest.mark.parametrize(
    "seed",
    [
        1,
        pytest.param(2, marks=pytest.mark.thorough("test_every_loss_is_told_when_redis_is_back_with_older_data")),
        *MANY,
    ],
)
async def test_every_loss_is_told_when_redis_is_back_with_older_data(redis, seed) -> None:
    chaos = Chaos(seed, redis)
    async with chaos.running(3):
        await chaos.disturb(3, lose)


@pytest.mark.parametrize("seed", [1, *MANY])
async def test_nothing_is_lost_while_redis_keeps_everything(seed, system_clock) -> None:
    with redis_server("--appendonly", "yes", "--appendfsync", "always") as redis:
        chaos = Chaos(seed, redis)
        async with chaos.running(3):
            await chaos.disturb(4, kill, freeze, cut, give_up, open_alone)
        assert [listener.room for listener in chaos.listeners if ("a gap", 0) in listener.heard] == []


@pytest.mark.parametrize("seed", MANY)
async def test_all_holds_when_everything_fails(redis, seed, system_clock) -> None:
    chaos = Chaos(seed, redis)
    async with chaos.running(4):
        await chaos.disturb(12, lose, kill, freeze, cut, give_up, open_alone)
