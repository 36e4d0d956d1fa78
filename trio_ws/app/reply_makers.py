"""Functions that make the replies to errors."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from inspect import Parameter
from typing import TYPE_CHECKING, Any, Final

import attrs

from trio_ws.app.options import check_callback
from trio_ws.app.replies import Reply
from trio_ws.runtime.threads import in_loop, runs_in_thread

if TYPE_CHECKING:
    from trio_ws.runtime.threads import Limiters
    from trio_ws.websocket.websocket import WebSocket

__all__ = ["ReplyMaker"]

_BY_POSITION: Final = (Parameter.POSITIONAL_ONLY, Parameter.POSITIONAL_OR_KEYWORD)


@attrs.frozen(eq=False, repr=False)
class ReplyMaker:
    """A function of an error, and of the message if it takes that, too."""

    function: Callable[..., Any]
    takes_message: bool

    @classmethod
    def of(cls, option: str, function: object) -> ReplyMaker:
        """Return the maker for a function; a `Reply` or a class of replies stands for itself.

        Args:
            option: the name of the option, for messages.
            function: called with the error. It gets the message, too, if it has a second parameter that has no default
                or is called `message`.

        Raises:
            TypeError: it cannot be called with an error, or with an error and a message; or it is a reply without a
                status.
        """
        if isinstance(function, Reply):
            return cls(in_loop(lambda _: function), takes_message=False)
        if function is Reply:
            raise TypeError(f"{option} takes Reply(status_code, body), not Reply itself, which has no status")
        if inspect.isclass(function) and issubclass(function, Reply):
            made: Callable[[], Reply] = function
            return cls(in_loop(lambda _: made()), takes_message=False)
        takes_message = callable(function) and _takes_message(function)
        check_callback(option, function, "the error", *(("the message",) if takes_message else ()))
        return cls(function, takes_message)  # type: ignore[arg-type]

    def call(self, websocket: WebSocket, limiters: Limiters, error: Exception, message: Any) -> Any:
        """Return the function's result, which may be awaitable or a generator.

        Args:
            websocket: the connection.
            limiters: bound the threads of plain functions.
            error: the first argument.
            message: the second one.
        """
        function = self.function
        if runs_in_thread(function):
            from trio_ws.blocking.threads import in_thread  # noqa: PLC0415 - for plain functions only

            function = in_thread(function, websocket, limiters)
        return function(error, message) if self.takes_message else function(error)


def _takes_message(function: Callable[..., Any]) -> bool:
    try:
        parameters = [*inspect.signature(function).parameters.values()]
    except (TypeError, ValueError):  # of something built in
        return False
    if len(parameters) < 2 or any(each.kind not in _BY_POSITION for each in parameters[:2]):
        return False
    return parameters[1].default is Parameter.empty or parameters[1].name == "message"
