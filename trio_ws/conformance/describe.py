"""Descriptions of cases in words."""

from __future__ import annotations

from collections.abc import Iterator

from trio_ws.conformance.case import Case
from trio_ws.conformance.deflate import offer
from trio_ws.conformance.steps import Flood, RoundTrips
from trio_ws.testing.raw_frame import RawFrame

__all__ = ["allowed", "sent"]


def sent(case: Case) -> Iterator[str]:
    """Yield a line for each step of the suite."""
    opening = case.request if case.side == "server" else case.response
    if opening is not None:
        shown = "\n".join(line[:200] for line in opening.lines) or "nothing"
        yield f"{shown}\n(octet by octet)" if opening.chop else shown
    offers = case.offers or tuple(map(offer, case.wishes))
    if offers:
        yield f"Sec-WebSocket-Extensions: {', '.join(offers)}"
    yield from map(str, case.steps)


def allowed(case: Case) -> Iterator[str]:
    """Yield a line for each outcome that is allowed."""
    if case.opening == "refused":
        if case.side == "server":
            yield "an HTTP error, or the end of the connection without one (NON-STRICT)"
        else:
            yield "the client ends the connection, and answers no frame"
        return
    if case.opening == "either":
        yield "the opening handshake is refused"
    if case.offers and case.side == "server":
        which = " or ".join(case.offers[index].strip() for index in case.acceptable)
        yield f"permessage-deflate is declined{f', or accepted as offered: {which}' if which else ''}"
    yield f"{_answers(case.answers, case)}; then {case.ending}"
    if case.nonstrict:
        yield f"the same with a part of the answers (NON-STRICT): {case.nonstrict}"
    for outcome in case.also:
        answers = "any of the answers" if outcome.answers is None else _answers(outcome.answers, case)
        yield f"{answers}; then {outcome.ending}{f' (NON-STRICT): {outcome.why}' if outcome.why else ''}"


def _answers(answers: tuple[RawFrame, ...], case: Case) -> str:
    words = ["every message"] if any(isinstance(step, (RoundTrips, Flood)) for step in case.steps) else []
    words += list(map(str, answers[:4]))
    words += [f"... {len(answers)} in all"] if len(answers) > 4 else []
    return "; ".join(words) or "no answer"
