"""Close codes and callbacks for errors of an application's handlers."""

from __future__ import annotations

import inspect
from collections import ChainMap
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, Final

import trio

from trio_ws.codes import CloseCode, check_close
from trio_ws.errors import BackplaneUnavailable, InvalidMessage, UnexpectedMessage, WebSocketException
from trio_ws.options import check_number
from trio_ws.runtime.threads import call

if TYPE_CHECKING:
    from trio_ws.websocket.websocket import WebSocket

__all__ = ["Failures"]

_CODED: Final = (WebSocketException, UnexpectedMessage, InvalidMessage)
"""Errors that close with a code of their own: a code for `Exception` is not for them."""
_DEFAULTS: Final[dict[type[BaseException], int]] = {BackplaneUnavailable: CloseCode.TRY_AGAIN_LATER}


class Failures:
    """The close codes and the callback for errors of one application's handlers."""

    def __init__(self) -> None:
        self.outer: Failures | None = None
        """The failures of the including application while it runs, used second."""
        self.callback: Callable[[WebSocket, BaseException], Any] | None = None
        self._codes: dict[type[BaseException], int] = {}

    def close_on(self, error: type[Exception], code: int) -> None:
        """Close with `code` on that type of error; see `App.close_on`."""
        if not (inspect.isclass(error) and issubclass(error, Exception)):
            raise TypeError(f"close_on() takes a type of error and a code, not {error!r}")
        check_number("code", code, 1000, 4999)
        check_close(code, "")
        self._codes[error] = code

    def close_code_of(self, error: BaseException) -> int | None:
        """Return the close code for an error, None for the default one.

        An error with a code of its own has another one only if its type was named.
        """
        codes = ChainMap(*(failures._codes for failures in self._chain()), _DEFAULTS)
        for kind in type(error).__mro__:
            if kind in codes or kind in _CODED:
                return codes.get(kind)
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
