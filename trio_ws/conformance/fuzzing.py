"""Generated conversations against a server, with a model of a receiver as the oracle.

`testing.strategies` generates what is sent, `testing.oracle` says what it means, and `judge` compares that with what
comes back. Needs Hypothesis, which also finds the smallest conversation that fails.
"""

from __future__ import annotations

import time
from typing import Final

import attrs
import trio
from hypothesis import HealthCheck, Phase, assume, given, seed, settings
from hypothesis import strategies as st
from hypothesis.errors import Flaky

from trio_ws.conformance.case import Case
from trio_ws.conformance.frames import binary, pong, text
from trio_ws.conformance.judge import judge
from trio_ws.conformance.outcomes import CLEAN, Outcome, answered, fails
from trio_ws.conformance.peer import Pace
from trio_ws.conformance.results import Result, Verdict
from trio_ws.conformance.server_under_test import CannotTest, ServerUnderTest
from trio_ws.conformance.steps import BY_FRAME, TOGETHER, Chop, Send
from trio_ws.testing.strategies import Conversation, conversations

__all__ = ["Fuzzer", "case_of", "generated_cases"]

ROUND: Final = 200
"""Conversations of one run of Hypothesis; the next run has the next seed."""
SHRINK_SECONDS: Final = 60.0
"""That finding the smallest conversation may take, beside the budget."""
IN_ONE_WRITE: Final = "a message was sent together with what ends the connection"


class _OutOfTime(BaseException):
    """Leaves Hypothesis, which catches every `Exception`."""


class _Failing(Exception):  # noqa: N818 - a result
    """A conversation fails, for Hypothesis to shrink."""


def case_of(conversation: Conversation, chop: Chop = TOGETHER) -> Case:
    """Return the case of a conversation: the model says what has to come back.

    Args:
        conversation: of a client.
        chop: how its bytes are cut into writes.
    """
    answers = [text(each) if isinstance(each, str) else binary(each) for each in conversation.messages]
    answers += map(pong, conversation.pings)
    violation, code = conversation.violation, conversation.close_code
    ending, section = CLEAN, "RFC 6455 5"
    also: tuple[Outcome, ...] = ()
    if violation is not None:
        ending, section = fails(violation.code), violation.section
        also = (Outcome(fails(1002, 1007), None, f"another code than {violation.code}"),)
    elif code is not None:
        ending = answered(code)
    ends = violation is not None or code is not None
    return Case(
        "fuzz",
        "a generated conversation",
        [Send(tuple(conversation.frames), chop, exact=True)] if conversation.frames else [],
        answers,
        ending,
        IN_ONE_WRITE if ends else "",
        section=section,
        also=also,
    )


@st.composite
def generated_cases(draw: st.DrawFn) -> Case:
    """Draw cases, half of them with a violation.

    Lengths that are longer than needed are left out: no rule says what a receiver does about them.
    """
    conversation = draw(st.one_of(conversations(), conversations(valid=False)))
    assume(all(frame.length_bytes is None for frame in conversation.frames))
    size = sum(len(frame.payload) for frame in conversation.frames)
    chops: list[Chop] = [TOGETHER, BY_FRAME, 1 if size < 1000 else 1000, 7 if size < 5000 else 4096]
    return case_of(conversation, draw(st.sampled_from(chops)))


@attrs.define
class Fuzzer:
    """One run against a server.

    Args:
        target: the server.
        seed: of the first round.
        budget: seconds, without those for the smallest conversation.
        pace: how long to wait; the timeout is that of one conversation.

    Attributes:
        count: conversations so far.
        failing: the smallest one that failed, with what was wrong.
    """

    target: ServerUnderTest
    seed: int
    budget: float
    pace: Pace
    count: int = 0
    failing: Result | None = None
    _until: float = attrs.field(init=False, default=0.0)

    def run(self) -> Result | None:
        """Play conversations until one fails or the time is over; return the smallest failing one.

        Raises:
            CannotTest: the server is not there any more.
            KeyboardInterrupt: Ctrl-C; `count` and `failing` say what was found.
        """
        self._until = time.monotonic() + self.budget
        try:
            for number in range(self.seed, self.seed + 1_000_000):
                self._round(number)
        except _OutOfTime:
            pass
        except (_Failing, Flaky):
            self.seed = number
        return self.failing

    def _round(self, number: int) -> None:
        @seed(number)
        @settings(
            max_examples=ROUND,
            deadline=None,
            database=None,
            phases=[Phase.generate, Phase.shrink],
            suppress_health_check=list(HealthCheck),
            report_multiple_bugs=False,
        )
        @given(generated_cases())
        def play(case: Case) -> None:
            self._play(case)

        play()

    def _play(self, case: Case) -> None:
        if time.monotonic() > self._until:
            raise _OutOfTime
        result = trio.run(self._judge, case)
        self.count += 1
        if result.verdict.passed:
            return
        if self.failing is None:
            self._until = time.monotonic() + SHRINK_SECONDS
        if self.failing is None or _weight(case) <= _weight(self.failing.case):
            self.failing = result
        raise _Failing(result.text)

    async def _judge(self, case: Case) -> Result:
        try:
            stream = await self.target.connect(self.pace.timeout)
        except CannotTest as error:
            if self.failing is None:
                raise
            return Result(case, Verdict.ERROR, text=str(error))
        return await judge(case, stream, client=True, pace=self.pace, context=self.target.context())


def _weight(case: Case) -> tuple[int, int]:
    frames = [frame for step in case.steps if isinstance(step, Send) for frame in step.frames]
    return len(frames), sum(len(frame.payload) for frame in frames)
