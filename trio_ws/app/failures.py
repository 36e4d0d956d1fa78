"""Close codes, replies and callbacks for errors of an application's handlers."""

from __future__ import annotations

import inspect
from collections import ChainMap
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Final

import trio

from trio_ws.app.errors import RegistrationError
from trio_ws.app.replies import Reply
from trio_ws.app.reply_makers import ReplyMaker
from trio_ws.codes import CloseCode, check_close
from trio_ws.errors import BackplaneUnavailable, InvalidMessage, Reject, UnexpectedMessage, WebSocketException
from trio_ws.options import check_number
from trio_ws.runtime.threads import call, in_loop

if TYPE_CHECKING:
    from trio_ws.websocket.websocket import WebSocket

__all__ = ["Failures"]

_CODED: Final = (WebSocketException, UnexpectedMessage, InvalidMessage)
"""Errors that close with a code of their own: a code for `Exception` is not for them."""
_ORDERS: Final = (*_CODED, Reject)
"""Errors that are no reply unless their type was named."""
_DEFAULTS: Final[dict[type[BaseException], int]] = {BackplaneUnavailable: CloseCode.TRY_AGAIN_LATER}

_AS_IT_IS: Final = ReplyMaker(in_loop(lambda reply: reply), takes_message=False)
"""The reply to a `Reply` that was raised."""


class Failures:
    """The close codes, the replies and the callback for errors of one application's handlers."""

    def __init__(self) -> None:
        self.outer: Failures | None = None
        """The failures of the including application while it runs, used second."""
        self.callback: Callable[[WebSocket, BaseException], Any] | None = None
        self._codes: dict[type[BaseException], int] = {}
        self._makers: dict[type[BaseException], ReplyMaker] = {}

    def close_on(self, error: type[Exception], code: int) -> None:
        """Close with `code` on that type of error; see `App.close_on`."""
        if not (inspect.isclass(error) and issubclass(error, Exception)):
            raise TypeError(f"close_on() takes a type of error and a code, not {error!r}")
        check_number("code", code, 1000, 4999)
        check_close(code, "")
        _check_free(error, self._makers, "close_on() and reply_on()")
        self._codes[error] = code

    def reply_on(self, error: type[Exception], maker: object) -> None:
        """Reply with what `maker` makes of that type of error; see `App.reply_on`."""
        if not (inspect.isclass(error) and issubclass(error, Exception)):
            raise TypeError(f"reply_on() takes a type of error and a function that makes the reply, not {error!r}")
        made = ReplyMaker.of("reply_on()", maker)
        _check_free(error, self._codes, "close_on() and reply_on()")
        _check_free(error, self._makers, "two functions of reply_on()")
        self._makers[error] = made

    def close_code_of(self, error: BaseException) -> int | None:
        """Return the close code for an error, None for the default one.

        An error with a code of its own has another one only if its type was named.
        """
        codes = ChainMap(*(failures._codes for failures in self._chain()), _DEFAULTS)
        for kind in type(error).__mro__:
            if kind in codes or kind in _CODED:
                return codes.get(kind)
        if isinstance(error, Reply) and 400 <= error.status_code < 500:
            return CloseCode.POLICY_VIOLATION  # raised where there is no message to reply to
        return None

    def close_codes(self) -> Mapping[type[BaseException], int]:
        """Return the close codes by type of error, those of the including applications too."""
        return {kind: code for each in reversed([*self._chain()]) for kind, code in each._codes.items()}

    def reply_maker_for(self, error: BaseException) -> ReplyMaker | None:
        """Return the function that makes the reply to an error; None if it is no reply.

        The most derived type counts, of those of `close_on`, too. An error with a code of its own is a reply only if
        its type was named.
        """
        for kind in type(error).__mro__:
            for failures in self._chain():
                if kind in failures._makers:
                    return failures._makers[kind]
                if kind in failures._codes:
                    return None
            if kind in _ORDERS or kind in _DEFAULTS:
                return None
            if kind is Reply:
                return _AS_IT_IS
        return None

    async def report(self, websocket: WebSocket, error: BaseException, limiter: trio.CapacityLimiter | None) -> None:
        """Call the application's callback, else that of the application around it."""
        callback = next((each.callback for each in self._chain() if each.callback is not None), None)
        if callback is not None:
            await call(callback, websocket, error, limiter=limiter)

    def _chain(self) -> Iterator[Failures]:
        failures: Failures | None = self
        while failures is not None:
            yield failures
            failures = failures.outer


def _check_free(error: type[Exception], others: Mapping[type[BaseException], object], what: str) -> None:
    if error in others:
        raise RegistrationError(f"{what} name {error.__qualname__}: an error has one outcome")
