"""Close codes of a handler's errors, and the codes that end a connection normally."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from typing import TYPE_CHECKING, Any, TypeAlias

import attrs

from trio_ws.codes import CloseCode, is_normal_close, is_wire_code
from trio_ws.errors import InvalidMessage, UnexpectedMessage, WebSocketException
from trio_ws.options import check_number

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = [
    "NORMAL_CLOSE_CODES",
    "CaughtCodes",
    "CloseDecision",
    "caught_codes",
    "close_decision_for",
    "is_normal_close_code",
    "leaves",
]

CaughtCodes: TypeAlias = "Collection[int] | Callable[[Iterable[object]], bool]"
"""Close codes that count as a normal end; the built-in `all` stands for every code.

If 1000 is among them, a close frame without a code (1005) counts, too: a browser's `close()` sends that."""

NORMAL_CLOSE_CODES = (CloseCode.NORMAL_CLOSURE, CloseCode.GOING_AWAY)
"""The default of `caught_close_codes`."""


def caught_codes(value: Any) -> Any:
    """Check `caught_close_codes=`: close codes, or the built-in `all`.

    Raises:
        TypeError: it is something else.
        ValueError: no connection ends with one of the codes.
    """
    if value is all:
        return value
    listed = isinstance(value, Collection) and not isinstance(value, (str, bytes, Mapping))
    if not listed or any(isinstance(code, bool) or not isinstance(code, int) for code in value):
        raise TypeError(
            f"caught_close_codes takes a list of codes, or the built-in all, not {value!r}: write [1000, 1001], say"
        )
    for code in value:
        check_number("a code in caught_close_codes", code, 1000, 4999)
        if not is_wire_code(code) and code not in (CloseCode.NO_STATUS_RECEIVED, CloseCode.ABNORMAL_CLOSURE):
            raise ValueError(f"no connection ends with {code}, which is in caught_close_codes")
    return value


def is_normal_close_code(code: int, caught: CaughtCodes, *, uncertain: bool) -> bool:
    """Return True if a close code counts as a normal end.

    Args:
        code: the close code.
        caught: the connection's `caught_close_codes`.
        uncertain: the peer's close frame may have been lost; then any code passes if a normal one is caught.
    """
    if caught is all or not isinstance(caught, Collection):
        return caught is all
    if uncertain:  # else each client that leaves would be an error to an application that catches normal ends only
        return any(each in caught for each in (code, *NORMAL_CLOSE_CODES))
    return is_normal_close(code, caught)


@attrs.frozen
class CloseDecision:
    """The close frame that ends a connection."""

    code: int
    reason: str = ""
    handled: bool = True
    """False for an unhandled error, which is logged."""


NORMAL = CloseDecision(CloseCode.NORMAL_CLOSURE)
UNHANDLED = CloseDecision(CloseCode.INTERNAL_ERROR, handled=False)


def close_decision_for(
    error: BaseException | None,
    *,
    is_own: Callable[[BaseException], bool],
    close_code_of: Callable[[BaseException], int | None] | None,
) -> CloseDecision:
    """Return the close frame for an error; a group counts as one code if all its leaves agree.

    Args:
        error: the handler's, None if it returned.
        is_own: returns True for the end of this connection, which decides nothing; another connection's is an error.
        close_code_of: the application's map from errors to codes, which takes precedence; None if it has no code.
    """

    if error is None:
        return NORMAL

    def of_leaf(leaf: BaseException) -> CloseDecision | None:
        if is_own(leaf):
            return None
        code = None if close_code_of is None else close_code_of(leaf)
        return _by_type(leaf) if code is None or not is_wire_code(code) else CloseDecision(code)

    decisions = {decision for leaf in leaves(error) if (decision := of_leaf(leaf)) is not None}
    if not decisions:
        return NORMAL
    if len({decision.code for decision in decisions}) > 1 or UNHANDLED in decisions:
        return UNHANDLED
    return min(decisions, key=lambda decision: decision.reason)


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
    """Yield the errors of a group, nested ones too, or the one error itself."""
    if isinstance(error, BaseExceptionGroup):
        for inner in error.exceptions:
            yield from leaves(inner)
    elif error is not None:
        yield error
