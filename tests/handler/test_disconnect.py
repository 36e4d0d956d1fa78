"""DisconnectRule alone, over a channel that only says whether somebody reads. The whole rule is in contracts."""

from __future__ import annotations

import pytest
import trio
import trio.lowlevel

from trio_ws import Timeouts
from trio_ws.handler.disconnect import DisconnectRule
from trio_ws.handler.service import Service
from trio_ws.runtime.timers import Timers

TIMES = Timeouts(drain_timeout=1.0, cleanup_timeout=5.0)


class FakeChannel:
    def __init__(self) -> None:
        self.reads = False
        self.pending = False
        self.callbacks = 0
        self.observer = None
        self.reader = self.closing = self  # it is its parts


class Case:
    """A rule, and the scope it cancels."""

    def __init__(self, timers: Timers, policy: str) -> None:
        self.channel = FakeChannel()
        self.scope = trio.CancelScope()
        self.rule = DisconnectRule(self.channel, self.scope, policy, TIMES, timers)  # type: ignore[arg-type]

    async def after(self, seconds: float) -> bool:
        """Whether it is cancelled `seconds` from now, and was not shortly before."""
        await trio.sleep(seconds - 0.01)
        before = self.scope.cancel_called
        await trio.sleep(0.02)
        return self.scope.cancel_called and not before


@pytest.fixture
async def make(nursery):
    timers = Timers()
    nursery.start_soon(timers.run)
    await trio.lowlevel.checkpoint()
    return lambda policy="drain": Case(timers, policy)


@pytest.fixture
async def case(make):
    return make()


async def test_it_watches_the_channel_until_it_is_stopped(case, autojump_clock):
    assert case.channel.observer is case.rule
    case.channel.reader.reads = True
    case.rule.on_closed("why", waited_for=False)
    case.rule.stop()
    assert case.channel.observer is None
    await trio.sleep(100)
    assert not case.scope.cancel_called


@pytest.mark.parametrize("policy", ["drain", "cancel"])
async def test_idle_handler_is_cancelled_on_peer_exit_in_shutdown(make, policy, autojump_clock):
    """In a shutdown who has nothing to do with it is cancelled when the peer is gone."""
    case = make(policy)
    case.rule.on_drain(waited_for=False)
    await trio.sleep(100)
    assert not case.scope.cancel_called
    case.rule.on_peer_gone("closed by us: 1001")
    await trio.sleep(0.01)
    assert case.scope.cancel_called


@pytest.mark.parametrize("busy", ["reads", "pending", "callbacks", "waited for", "told", "finish"])
async def test_in_a_shutdown_who_is_busy_has_the_servers_grace(make, busy, autojump_clock):
    case = make("finish" if busy == "finish" else "drain")
    case.rule.on_drain(waited_for=busy == "waited for")
    if busy == "told":
        case.rule.on_end_raised()
    elif hasattr(case.channel, busy):
        setattr(case.channel, busy, 1)
    case.rule.on_peer_gone("closed by us: 1001")
    case.rule.on_read_after_end()
    case.rule.on_end_raised()
    await trio.sleep(100)
    assert not case.scope.cancel_called


async def test_shutdown_changes_nothing_after_the_peer_has_left(case, autojump_clock):
    """A shutdown changes nothing for whose peer has left before."""
    case.channel.reader.reads = True
    case.rule.on_closed("why", waited_for=False)
    await trio.sleep(0.5)
    case.rule.on_peer_gone("closed by us: 1001")
    assert await case.after(0.5)


async def test_stopped_before_the_end_it_has_nothing_to_do(case, autojump_clock):
    case.rule.stop()
    await trio.sleep(100)
    assert not case.scope.cancel_called


async def test_who_never_reads_is_cancelled_at_once(case, autojump_clock):
    case.rule.on_closed("why", waited_for=False)
    await trio.sleep(0.01)
    assert case.scope.cancel_called


async def test_who_has_not_read_what_waits_has_drain_timeout(case, autojump_clock):
    case.channel.reader.pending = True
    case.rule.on_closed("why", waited_for=False)
    assert await case.after(1)


@pytest.mark.parametrize("begin", ["reads", "pending"])
async def test_who_begins_to_read_in_that_moment_has_drain_timeout(case, begin, autojump_clock):
    case.rule.on_closed("why", waited_for=False)
    setattr(case.channel, begin, True)
    assert await case.after(1)


@pytest.mark.parametrize(("reads", "waited_for"), [(True, False), (False, True), (True, True)])
async def test_who_reads_or_waits_has_drain_timeout(case, reads, waited_for, autojump_clock):
    case.channel.reader.reads = reads
    case.rule.on_closed("why", waited_for=waited_for)
    assert await case.after(1)


async def test_who_was_told_has_cleanup_timeout_from_then_on_once(case, autojump_clock):
    case.channel.reader.reads = True
    case.rule.on_closed("why", waited_for=True)
    await trio.sleep(0.5)
    case.rule.on_end_raised()
    await trio.sleep(3)
    case.rule.on_end_raised()
    assert await case.after(2)


async def test_each_message_taken_renews_the_time_until_notice(case, autojump_clock):
    """Each message that is taken begins the time anew until told."""
    case.channel.reader.reads = True
    case.rule.on_closed("why", waited_for=False)
    for _ in range(10):
        await trio.sleep(0.9)
        case.rule.on_read_after_end()
    case.rule.on_end_raised()
    case.rule.on_read_after_end()
    assert await case.after(5)


async def test_a_listeners_callback_at_work_has_cleanup_timeout(case, autojump_clock):
    case.channel.callbacks = 1
    case.rule.on_closed("why", waited_for=False)
    assert await case.after(5)


async def test_notice_of_own_close_does_not_cancel_the_handler(case, autojump_clock):
    """Being told of one's own close is no reason to be cancelled."""
    case.rule.on_end_raised()
    await trio.sleep(100)
    assert not case.scope.cancel_called


async def test_receiving_data_before_own_close_starts_no_countdown(case, autojump_clock):
    """Receiving what came before one's own close begins no countdown."""
    case.channel.reader.reads = True
    case.rule.on_read_after_end()
    await trio.sleep(100)
    assert not case.scope.cancel_called


async def test_cancel_is_at_once_and_finish_is_never(make, autojump_clock):
    cancelled, finishing = make("cancel"), make("finish")
    for each in (cancelled, finishing):
        each.channel.reader.reads = True
        each.rule.on_closed("why", waited_for=True)
        each.rule.on_read_after_end()
        each.rule.on_end_raised()
    assert cancelled.scope.cancel_called
    await trio.sleep(100)
    assert not finishing.scope.cancel_called


async def test_the_cancellation_says_why(case, autojump_clock):
    case.rule.on_closed("peer closed: 1001 going away", waited_for=False)
    with case.scope, pytest.raises(trio.Cancelled) as caught:
        await trio.sleep_forever()
    assert caught.value.reason == "peer closed: 1001 going away"


def test_only_the_three_policies_exist():
    for policy in ("drain", "cancel", "finish"):
        assert Service(handler=print, when_peer_leaves=policy).when_peer_leaves == policy
    with pytest.raises(ValueError, match='when_peer_leaves must be "drain", "cancel" or "finish", not \'stay\''):
        Service(handler=print, when_peer_leaves="stay")  # type: ignore[arg-type]
