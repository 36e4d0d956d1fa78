"""How a listener treats messages."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias

import attrs

from trio_ws.app.reply_makers import ReplyMaker
from trio_ws.options import check_text, check_when_full, flag, integer

if TYPE_CHECKING:
    from trio_ws.app.errors import ParameterError
    from trio_ws.connection.serialization import ValueType
    from trio_ws.options import WhenFull

__all__ = ["ListenerOptions", "OnInvalid"]

OnInvalid: TypeAlias = (
    "Literal['reply', 'close'] | Callable[[ParameterError], Any] | Callable[[ParameterError, Any], Any]"
)
"""The answer to an invalid message. It is the documented envelope with status 400; that, then a close with 1007; or the
result of a function of the error, or of the error and the message.
"""

_ENVELOPE: Final = ("statusCode", "body")
"""Members of replies that no reference can have."""


@attrs.frozen(kw_only=True, eq=False, repr=False)
class ListenerOptions:
    """How a listener treats messages.

    Raises:
        TypeError: an option is of another kind.
        ValueError: an option makes no sense.
    """

    encoding: ValueType = "json"
    on_invalid: OnInvalid = "reply"
    concurrency: int = attrs.field(default=1, validator=integer(1))
    reference: str | None = None
    inline: bool = attrs.field(default=False, validator=flag)
    when_full: WhenFull = "pause"
    explain: ReplyMaker | None = attrs.field(init=False, default=None)
    """Makes the reply to an invalid message, if `on_invalid` is a function."""

    def __attrs_post_init__(self) -> None:
        if self.encoding not in ("json", "text", "bytes"):
            raise ValueError(f'encoding is "json", "text" or "bytes", not {self.encoding!r}')
        if not callable(self.on_invalid) and self.on_invalid not in ("reply", "close"):
            raise ValueError(f'on_invalid is "reply", "close" or a function, not {self.on_invalid!r}')
        if callable(self.on_invalid):
            object.__setattr__(self, "explain", ReplyMaker.of("on_invalid", self.on_invalid))
        if self.reference is not None:
            self._check_reference(self.reference)
        check_when_full(self.when_full)
        if self.inline and self.concurrency != 1:
            raise ValueError("inline=True calls the function with one message after the other: leave concurrency= out")
        if self.when_full != "pause" and not self.inline:
            raise ValueError('when_full="call" is for inline=True: other listeners wait for room')

    def _check_reference(self, name: str) -> None:
        check_text("reference", name)
        if not name or name in _ENVELOPE:
            raise ValueError(f"reference is the name of a member of messages, and none of {_ENVELOPE}, not {name!r}")
        if self.encoding != "json":
            raise ValueError(
                f'reference names a member of JSON objects, and the listener has encoding="{self.encoding}"'
            )
