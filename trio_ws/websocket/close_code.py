"""Verdict: the close frame that an error of the handler's asks for, on either side. It sends and logs nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs

from trio_ws.codes import CloseCode, is_wire_code
from trio_ws.errors import InvalidMessage, UnexpectedMessage, WebSocketException

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = ["Verdict", "judge", "leaves"]


@attrs.frozen
class Verdict:
    """What to close with."""

    code: int
    reason: str = ""
    foreseen: bool = True
    """Whether somebody thought of it: else it is an error to be logged."""


WELL = Verdict(CloseCode.NORMAL_CLOSURE)
UNFORESEEN = Verdict(CloseCode.INTERNAL_ERROR, foreseen=False)


def judge(
    error: BaseException | None,
    *,
    is_own: Callable[[BaseException], bool],
    close_code_of: Callable[[BaseException], int | None] | None,
) -> Verdict:
    """Return what `error` asks for; for a group, what all of its leaves ask for if that is one code.

    Args:
        error: what left the handler, None if nothing did.
        is_own: whether an error is the end of this connection, which asks for nothing; another's is an error.
        close_code_of: the application's own map, which is asked first; None for an error that it does not know.
    """

    if error is None:
        return WELL

    def of_leaf(leaf: BaseException) -> Verdict | None:
        if is_own(leaf):
            return None
        code = None if close_code_of is None else close_code_of(leaf)
        return _by_type(leaf) if code is None or not is_wire_code(code) else Verdict(code)

    verdicts = {verdict for leaf in leaves(error) if (verdict := of_leaf(leaf)) is not None}
    if not verdicts:
        return WELL
    if len({verdict.code for verdict in verdicts}) > 1 or UNFORESEEN in verdicts:
        return UNFORESEEN
    return min(verdicts, key=lambda verdict: verdict.reason)


def _by_type(error: BaseException) -> Verdict:
    match error:
        case WebSocketException():
            return Verdict(error.code, error.reason)
        case UnexpectedMessage():
            return Verdict(CloseCode.UNSUPPORTED_DATA, str(error))
        case InvalidMessage():
            return Verdict(CloseCode.INVALID_PAYLOAD, "invalid message")
        case _:
            return UNFORESEEN


def leaves(error: BaseException | None) -> Iterator[BaseException]:
    """Go through the errors in a group, or the one error that is none."""
    if isinstance(error, BaseExceptionGroup):
        for inner in error.exceptions:
            yield from leaves(inner)
    elif error is not None:
        yield error
