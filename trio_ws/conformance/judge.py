"""The judge, which plays a case against an implementation and gives a verdict."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from typing import Final

import attrs
import trio

from trio_ws.conformance.case import Case
from trio_ws.conformance.finding import Finding
from trio_ws.conformance.frames import HELLO, close, fragments, ping
from trio_ws.conformance.handshakes import (
    HandshakeContext,
    HandshakeFailed,
    Unimplemented,
    open_as_client,
    open_as_server,
)
from trio_ws.conformance.log import WireLog
from trio_ws.conformance.opening import OpeningHead
from trio_ws.conformance.outcomes import Ending, Outcome
from trio_ws.conformance.peer import Pace, SuitePeer
from trio_ws.conformance.results import Result, Verdict
from trio_ws.conformance.steps import (
    AwaitPong,
    EndOfStream,
    FailFast,
    Flood,
    FramePart,
    LateRest,
    Quiet,
    RawBytes,
    RoundTrips,
    Send,
    Step,
)
from trio_ws.testing.raw_frame import CLOSE_WITHOUT_CODE, Opcode, RawFrame

__all__ = ["judge"]

REPLY_CODE: Final = "a close frame is typically answered with its own code (RFC 6455 5.5.1)"
NO_CLOSE_FRAME: Final = "the connection ended without a close frame, which should come first (RFC 6455 7.1.7)"
PONG_ANSWERED: Final = "a pong was answered with a pong, which is not expected (RFC 6455 5.5.3)"
"""The remark on a side that answers pongs; two of them would never stop."""
LATEST_PONG: Final = "not every ping was answered, only later ones (RFC 6455 5.5.3)"
BROKEN_STREAM: Final = 20
"""Pauses after which a flood is read."""


async def judge(
    case: Case,
    stream: trio.abc.Stream,
    *,
    client: bool,
    pace: Pace,
    context: HandshakeContext,
    request: OpeningHead | None = None,
) -> Result:
    """Play a case and return the result. The stream is closed.

    Args:
        case: the case to play.
        stream: to the implementation under test.
        client: whether the suite is the client, and a server is under test.
        pace: how long to wait.
        context: the address, and the headers of the user.
        request: the client's request, if a client is under test.

    Cancellation closes the stream.
    """
    began = trio.current_time()
    log = WireLog()
    peer = SuitePeer(stream, client=client, pace=pace, log=log)
    trial = _Trial(case, peer, context, request)
    verdict, section, text = Verdict.OK, "", ""
    try:
        with trio.move_on_after(pace.timeout) as scope:
            await trial.run()
        if scope.cancelled_caught:
            raise Finding(trial.timeout_section, f"timed out after {pace.timeout:g} s waiting for {peer.waiting}")
    except Finding as finding:
        verdict, section, text = Verdict.FAILED, finding.section, finding.text
    except Unimplemented as missing:
        verdict, text = Verdict.UNIMPLEMENTED, str(missing)
    except HandshakeFailed as refused:
        verdict, text = Verdict.ERROR, str(refused)
    finally:
        await peer.close()
    if verdict is Verdict.OK and trial.remarks:
        verdict, text = Verdict.NON_STRICT, "; ".join(trial.remarks)
    if log.omitted:
        log.entries.append(attrs.evolve(log.entries[-1], direction="note", text=f"... {log.omitted} more", data=b""))
    return Result(case, verdict, section, text, tuple(log.entries), trio.current_time() - began)


class _Trial:
    """One run of a case."""

    def __init__(self, case: Case, peer: SuitePeer, context: HandshakeContext, request: OpeningHead | None) -> None:
        self.remarks: list[str] = []
        self._case = case
        self._peer = peer
        self._context = context
        self._request = request
        self._server_under_test = request is None
        self._exchanged: list[RawFrame] = []
        self._outcomes = (Outcome(case.ending, case.answers), *case.also)

    @property
    def timeout_section(self) -> str:
        """The section of the rule that a timeout breaks."""
        return "RFC 6455 5.5.1" if self._peer.closing is not None else self._case.section

    async def run(self) -> None:
        """Play the case to its end, and compare.

        Raises:
            Finding: a rule is broken.
            Unimplemented: the other side lacks what the case needs.
            HandshakeFailed: the opening handshake failed, and the case is about something else.
        """
        if self._request is None:
            opened = await open_as_client(self._case, self._peer, self._context, self.remarks)
        else:
            opened = await open_as_server(self._case, self._peer, self._context, self._request, self.remarks)
        if not opened:
            return
        if self._case.opening == "refused":
            await self._expect_refusal()
            return
        await self._while_reading(self._play_to_end)
        if self._case.opening == "either" and not self._server_under_test and not self._peer.messages:
            return  # the client has refused the response, which is its right here
        self._compare()
        if self._peer.pong_answered:
            self.remarks.append(PONG_ANSWERED)
        self._check_keys()

    async def _expect_refusal(self) -> None:
        """See a client refuse the response: it must end, and send nothing but a close frame."""
        peer = self._peer
        await self._while_reading(self._tempt)
        if peer.messages or peer.pongs:
            raise Finding(self._case.section, "the client accepted the response")

    async def _tempt(self) -> None:
        """Send what a client would answer that has accepted the response."""
        peer = self._peer
        await trio.sleep(peer.pace.pause)
        if self._case.response is not None and not self._case.response.complete:
            await peer.end_stream()
        else:
            await peer.send((ping("accepted?"), HELLO))
        await peer.wait_for(lambda: bool(peer.messages or peer.pongs or peer.closing), "the end of the connection")
        if peer.closing is not None and not peer.ended:
            await peer.send((_echo(peer.closing),))
        if not (peer.messages or peer.pongs):
            await self._finish()

    async def _while_reading(self, conduct: Callable[[], Awaitable[None]]) -> None:
        """Run `conduct` beside the task that reads.

        Raises:
            Finding: of the two, that of the reader first.
        """
        finding: Finding | None = None
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._peer.read)
            try:
                await conduct()
            except Finding as error:
                finding = error
            nursery.cancel_scope.cancel(reason="the script is over")
        finding = self._peer.finding or finding
        if finding is not None:
            raise finding

    async def _play_to_end(self) -> None:
        await self._play()
        await self._end()

    # --- the script ----------------------------------------------------------------------------------------------

    async def _play(self) -> None:
        for step in self._case.steps:
            if self._peer.ended and not isinstance(step, EndOfStream):
                return
            await self._play_step(step)

    async def _play_step(self, step: Step) -> None:
        peer = self._peer
        match step:
            case Send():
                await peer.send(step.frames, step.chop, exact=step.exact)
            case RawBytes():
                await peer.send_raw(step.data, step.what)
            case FramePart():
                await peer.send_part(step.frame, step.start, step.stop)
            case Quiet():
                await self._stay_quiet()
            case FailFast():
                if not await self._fails_in_time(step.why):
                    await peer.send(step.frames)
            case LateRest():
                if not await self._fails_in_time(step.why):
                    await peer.send_part(step.frame, step.start, len(step.frame.payload))
            case AwaitPong():
                await peer.wait_for(
                    lambda: any(each.payload == step.payload for each in peer.pongs), f"a pong {step.payload!r}"
                )
            case RoundTrips():
                await self._exchange(step)
            case Flood():
                await self._flood(step)
            case EndOfStream():
                await peer.end_stream()

    async def _stay_quiet(self) -> None:
        peer = self._peer
        await trio.sleep(peer.pace.pause)
        if peer.messages or peer.closing is not None or peer.ended:
            raise Finding(self._case.section, f"there was an answer too early: {self._answers_shown()}")

    async def _fails_in_time(self, why: str) -> bool:
        """Return whether the connection fails within moments; if not, note why."""
        peer = self._peer
        with trio.move_on_after(4 * peer.pace.pause):
            await peer.wait_for(lambda: peer.closing is not None, "the failure of the connection")
        in_time = peer.closing is not None or peer.ended
        self.remarks += [] if in_time else [why]
        return in_time

    async def _exchange(self, step: RoundTrips) -> None:
        peer = self._peer
        for opcode, payload in step.messages:
            sent, rsv = (payload, 0) if step.plain else peer.compress(payload)
            await peer.send(tuple(fragments(opcode, sent, step.fragment, rsv=rsv)))
            self._exchanged.append(RawFrame(opcode, payload))
            count = len(self._exchanged)
            await peer.wait_for(
                lambda: len(peer.messages) >= count or peer.closing is not None,  # noqa: B023 - awaited here
                f"the echo of message {count}",
            )
            if peer.closing is not None or peer.ended:
                return

    async def _flood(self, step: Flood) -> None:
        peer = self._peer
        message = RawFrame(step.opcode, step.payload)
        self._exchanged += [message] * step.count
        peer.stop_reading()
        async with trio.open_nursery() as sender:
            sender.start_soon(peer.send, (message,) * step.count)
            await trio.sleep(BROKEN_STREAM * peer.pace.pause)
            peer.go_on_reading()
            count = len(self._exchanged)
            await peer.wait_for(lambda: len(peer.messages) >= count or peer.closing is not None, f"{count} echoes")

    # --- the end -------------------------------------------------------------------------------------------------

    async def _end(self) -> None:
        """See the connection to its end, and do our part of it."""
        peer = self._peer
        begun = {outcome.ending.begun_by for outcome in self._outcomes}
        if "us" in begun:
            await peer.wait_for(lambda: self._complete() or peer.closing is not None, self._missing())
            if peer.closing is None and not peer.ended:
                await peer.send((close(1000),))
        if "stream" not in begun:
            must_fail = "us" not in begun
            await peer.wait_for(lambda: peer.closing is not None or (must_fail and self._excessive()), "a close frame")
            if peer.closing is None and must_fail and self._excessive():
                raise Finding(self._case.section, f"the connection did not fail: {self._answers_shown()} came back")
        if peer.closing is not None and peer.closing_first and not peer.ended:
            await peer.send((_echo(peer.closing),))
        await self._finish()

    async def _finish(self) -> None:
        """End the network connection: it is the server that does it, once both close frames have passed (7.1.1)."""
        peer = self._peer
        if self._server_under_test:
            await peer.wait_for(lambda: False, "the end of the TCP connection")
            return
        with trio.move_on_after(peer.pace.linger if peer.closing is not None else peer.pace.timeout):
            if peer.closing is not None:
                await peer.end_stream()
            await peer.wait_for(lambda: False, "the end of the TCP connection")
        await peer.close()

    def _complete(self) -> bool:
        expected = self._expected(self._case.answers)
        pings = [each for each in expected if each.opcode == Opcode.PONG]
        pongs = self._peer.pongs
        return len(self._peer.messages) >= len(expected) - len(pings) and (not pings or pings[-1] in pongs)

    def _excessive(self) -> bool:
        """Return whether more came back than is allowed, where the connection must fail."""
        expected = self._expected(self._case.answers)
        return len(self._peer.messages) + len(self._peer.pongs) > len(expected)

    def _missing(self) -> str:
        count = len(self._expected(self._case.answers))
        return "an answer" if count == 1 else f"{count} answers" if count else "the end"

    # --- the verdict ---------------------------------------------------------------------------------------------

    def _expected(self, answers: tuple[RawFrame, ...]) -> list[RawFrame]:
        return [*self._exchanged, *answers]

    def _compare(self) -> None:
        """Compare with each outcome that is allowed.

        Raises:
            Finding: it is none of them; the finding is that of the first.
        """
        findings: list[Finding] = []
        for outcome in self._outcomes:
            try:
                remarks = [*self._compare_answers(outcome), *self._compare_ending(outcome.ending)]
            except Finding as finding:
                findings.append(finding)
                continue
            self.remarks += remarks + ([outcome.why] if outcome.why else [])
            return
        raise findings[0]

    def _compare_answers(self, outcome: Outcome) -> Iterator[str]:
        partial = outcome.answers is None
        expected = self._expected(self._case.answers if outcome.answers is None else outcome.answers)
        messages = [each for each in expected if each.opcode != Opcode.PONG]
        pongs = [each for each in expected if each.opcode == Opcode.PONG]
        peer = self._peer
        if peer.messages != messages:
            short = peer.messages == messages[: len(peer.messages)]
            if not short or not (partial or self._case.nonstrict):
                raise Finding(self._case.section, f"answered {_shown(peer.messages)}, not {_shown(messages)}")
            if not partial:
                yield self._case.nonstrict
        if peer.pongs != pongs and not partial:
            yield self._judge_pongs(pongs)

    def _judge_pongs(self, expected: list[RawFrame]) -> str:
        """Return why the pongs are allowed: the latest is enough (RFC 6455 5.5.3)."""
        pongs = self._peer.pongs
        rest = iter(expected)
        if expected and pongs and pongs[-1] == expected[-1] and all(each in rest for each in pongs):
            return LATEST_PONG
        if self._case.nonstrict and pongs == expected[: len(pongs)]:
            return self._case.nonstrict
        raise Finding("RFC 6455 5.5.2", f"answered {_shown(pongs)}, not {_shown(expected)}")

    def _compare_ending(self, ending: Ending) -> Iterator[str]:
        peer = self._peer
        if ending.begun_by == "any" or (ending.begun_by == "stream" and peer.closing is None):
            return
        if peer.closing is None:
            if ending.begun_by != "them":
                raise Finding("RFC 6455 5.5.1", "the connection ended without a close frame")
            yield NO_CLOSE_FRAME
            return
        code = peer.closing.close_code
        if ending.begun_by == "them":
            if code not in ending.codes and not peer.closing_first:
                raise Finding(self._case.section, f"the connection did not fail: it ended with {peer.closing}")
            if code not in ending.codes:
                raise Finding("RFC 6455 7.4.1", f"failed with {peer.closing}, not {ending}")
        elif ending.begun_by == "us" and peer.closing_first:
            raise Finding(self._case.section, f"closed unasked: {peer.closing}")
        elif ending.begun_by in ("us", "script") and code not in ending.codes:
            if peer.closing_first or code not in (CLOSE_WITHOUT_CODE, 1000):
                raise Finding(self._case.section, f"closed with {peer.closing}, not {ending}")
            yield REPLY_CODE

    def _check_keys(self) -> None:
        """Check the masking keys of a client: each frame needs a new one (RFC 6455 5.3)."""
        if self._case.check != "fresh masks":
            return
        keys = self._peer.keys
        if len(set(keys)) < len(keys) - 1:
            raise Finding("RFC 6455 5.3", f"{len(keys)} frames have only {len(set(keys))} masking keys")

    def _answers_shown(self) -> str:
        peer = self._peer
        return _shown([*peer.messages, *peer.pongs, *([peer.closing] if peer.closing else [])])


def _echo(closing: RawFrame) -> RawFrame:
    """Return the close frame that answers one: with its code, if it has one (RFC 6455 5.5.1)."""
    return RawFrame(Opcode.CLOSE, closing.payload[:2])


def _shown(frames: list[RawFrame]) -> str:
    shown = [str(each) for each in frames[:3]] + [f"... {len(frames)} in all"] * (len(frames) > 3)
    return f"[{'; '.join(shown)}]"
