"""The judge: plays a case's script on a fuzzing peer, and says what came of it."""

from __future__ import annotations

from typing import Final

import trio

from .case import Case, Exchange, Part, Quiet, Send, close
from .peer import FuzzingPeer
from .wire import Frame, fragments

__all__ = ["NON_STRICT", "OK", "judge"]

OK: Final = "OK"
NON_STRICT: Final = "NON-STRICT"

PATIENCE: Final = 60
"""Seconds that a case may take at most; it is there for what hangs."""


async def judge(case: Case, peer: FuzzingPeer) -> str:
    """Play the case and return its verdict, OK or NON-STRICT; anything else is an `AssertionError`."""
    with trio.fail_after(PATIENCE):
        await peer.open(case)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(peer.read)
            exchanged = await _play(case, peer)
            await _end(case, peer)
    expected = [*exchanged, *case.answers]
    code = _code_of(peer.closing)
    assert code == case.ending.code, f"closed with {code}, not {case.ending.code}: {peer.closing}"
    if peer.answers == expected:
        return OK
    assert case.nonstrict, f"answered {peer.answers}, not {expected}"
    assert peer.answers == expected[: len(peer.answers)], f"answered {peer.answers}, no part of {expected}"
    return NON_STRICT


async def _play(case: Case, peer: FuzzingPeer) -> list[Frame]:
    """Play the script; return what its exchanges have to bring back."""
    expected: list[Frame] = []
    for step in case.steps:
        match step:
            case Send():
                await peer.send(step.frames, step.chop)
            case Part():
                await peer.send_part(step.frame, step.start, step.stop)
            case Quiet():
                await peer.settle()
                assert not peer.answers, f"answered early: {peer.answers}"
                assert peer.closing is None, f"closed early: {peer.closing}"
                assert not peer.ended, "ended early"
            case Exchange():
                for opcode, payload in step.messages:
                    sent, rsv = peer.compress(payload)
                    await peer.send(tuple(fragments(opcode, sent, step.fragment, rsv=rsv)))
                    expected.append(Frame(opcode, payload))
                    await _count(peer, len(expected))
    return expected


async def _count(peer: FuzzingPeer, number: int) -> None:
    await peer.wait_for(lambda: len(peer.answers) >= number)


async def _end(case: Case, peer: FuzzingPeer) -> None:
    """See the connection to its end, and do our part of it."""
    if case.ending.begun_by == "us":
        await _count(peer, len(case.answers))
        await peer.send((close(1000),))
    await peer.wait_for(lambda: peer.closing is not None)
    await peer.end()


def _code_of(frame: Frame | None) -> int | None:
    assert frame is not None, "the connection ended without a close frame"
    if not frame.payload:
        return None
    frame.payload[2:].decode()
    return int.from_bytes(frame.payload[:2])
