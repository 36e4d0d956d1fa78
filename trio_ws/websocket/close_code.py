"""Verdict: the close frame that an error of the handler's asks for, on either side. It sends and logs nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs

from trio_ws.codes import CloseCode, is_wire_code
from trio_ws.errors import InvalidMessage, UnexpectedMessage, WebSocketException

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = ["CloseDecision", "close_decision_for", "leaves"]


@attrs.frozen
class CloseDecision:
    """What to close with."""

    code: int
    reason: str = ""
    foreseen: bool = True
    """Whether somebody thought of it: else it is an error to be logged."""


NORMAL = CloseDecision(CloseCode.NORMAL_CLOSURE)
UNHANDLED = CloseDecision(CloseCode.INTERNAL_ERROR, foreseen=False)


def close_decision_for(
    error: BaseException | None,
    *,
    is_own: Callable[[BaseException], bool],
    close_code_of: Callable[[BaseException], int | None] | None,
) -> CloseDecision:
    """Return what `error` asks for; for a group, what all of its leaves ask for if that is one code.

    Args:
        error: what left the handler, None if nothing did.
        is_own: whether an error is the end of this connection, which asks for nothing; another's is an error.
        close_code_of: the application's own map, which is asked first; None for an error that it does not know.
    """

    if error is None:
        return NORMAL

    def of_leaf(leaf: BaseException) -> CloseDecision | None:
        if is_own(leaf):
            return None
        code = None if close_code_of is None else close_code_of(leaf)
        return _by_type(leaf) if code is None or not is_wire_code(code) else CloseDecision(code)

    verdicts = {verdict for leaf in leaves(error) if (verdict := of_leaf(leaf)) is not None}
    if not verdicts:
        return NORMAL
    if len({verdict.code for verdict in verdicts}) > 1 or UNHANDLED in verdicts:
        return UNHANDLED
    return min(verdicts, key=lambda verdict: verdict.reason)


def _by_type(error: BaseException) -> CloseDecision:
    match error:
        case WebSocketException():
            return CloseDecision(error.code, error.reason)
        case UnexpectedMessage():
            return CloseDecision(CloseCode.UNSUPPORTED_DATA, str(error))
        case InvalidMessage():
            return CloseDecision(CloseCode.INVALID_PAYLOAD, "invalid message")
        case _:
            return UNHANDLED


def leaves(error: BaseException | None) -> Iterator[BaseException]:
    """Go through the errors in a group, or the one error that is none."""
    if isinstance(error, BaseExceptionGroup):
        for inner in error.exceptions:
            yield from leaves(inner)
    elif error is not None:
        yield error
