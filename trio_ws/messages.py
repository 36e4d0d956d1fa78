"""A message with its kind, for `recv()` and `send()`.

Plain `str` and `bytes` are messages too, and the faster ones; this class is for code that needs the kind of a message.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, TypeAlias, overload

from trio_ws.codes import CloseCode, check_close

__all__ = ["MessageType", "WebSocketMessage"]

MessageType: TypeAlias = Literal["text", "binary", "ping", "pong", "close"]


class _TextAccess:
    """A descriptor for both uses of `WebSocketMessage.text`.

    `WebSocketMessage.text("hello")` makes a message, `message.text` is its text: Cello documents both.
    """

    @overload
    def __get__(self, instance: None, owner: type[WebSocketMessage]) -> Callable[[str], WebSocketMessage]: ...
    @overload
    def __get__(self, instance: WebSocketMessage, owner: type[WebSocketMessage]) -> str | None: ...
    def __get__(self, instance: WebSocketMessage | None, owner: type[WebSocketMessage]) -> Any:
        return _text_message if instance is None else instance._text


class WebSocketMessage:
    """An immutable message: its `msg_type`, and its `text` or `data`.

    Make one with `WebSocketMessage.text("hello")`, `.binary(b"...")`, `.ping()`, `.pong()` or `.close()`. It follows
    the class of the same name in Cello's documents, plus pong.
    """

    __slots__ = ("_text", "code", "data", "msg_type", "reason")
    _text: str | None

    msg_type: MessageType
    """What the message is."""
    data: bytes | None
    """The payload of a binary, ping or pong message, else None."""
    code: int | None
    """The close code of a close message, else None."""
    reason: str
    """The close reason of a close message, else `""`."""
    text: _TextAccess = _TextAccess()
    """On an instance: the text of a text message, else None. On the class: the factory of text messages."""

    def __init__(
        self,
        msg_type: MessageType,
        *,
        text: str | None = None,
        data: bytes | None = None,
        code: int | None = None,
        reason: str = "",
    ) -> None:
        put = object.__setattr__
        put(self, "msg_type", msg_type)
        put(self, "_text", text)
        put(self, "data", data)
        put(self, "code", code)
        put(self, "reason", reason)

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"WebSocketMessage is immutable: cannot set {name!r}")

    def __delattr__(self, name: str) -> None:
        raise AttributeError(f"WebSocketMessage is immutable: cannot delete {name!r}")

    @staticmethod
    def binary(data: bytes | bytearray | memoryview) -> WebSocketMessage:
        """Make a binary message; `data` is copied if it is mutable."""
        return WebSocketMessage("binary", data=bytes(data))

    @staticmethod
    def ping(data: bytes = b"") -> WebSocketMessage:
        """Make a ping with at most 125 bytes of payload (RFC 6455 5.5.2)."""
        return WebSocketMessage("ping", data=data)

    @staticmethod
    def pong(data: bytes = b"") -> WebSocketMessage:
        """Make a pong with at most 125 bytes of payload (RFC 6455 5.5.3)."""
        return WebSocketMessage("pong", data=data)

    @staticmethod
    def close(code: int = CloseCode.NORMAL_CLOSURE, reason: str | None = "") -> WebSocketMessage:
        """Make a close message.

        Raises:
            ValueError: a code that may not be sent, or a reason of more than 123 bytes.
        """
        check_close(code, reason or "")
        return WebSocketMessage("close", code=int(code), reason=reason or "")

    def is_text(self) -> bool:
        """Return whether this is a text message."""
        return self.msg_type == "text"

    def is_binary(self) -> bool:
        """Return whether this is a binary message."""
        return self.msg_type == "binary"

    def is_ping(self) -> bool:
        """Return whether this is a ping."""
        return self.msg_type == "ping"

    def is_pong(self) -> bool:
        """Return whether this is a pong."""
        return self.msg_type == "pong"

    def is_close(self) -> bool:
        """Return whether this is a close message."""
        return self.msg_type == "close"

    def _key(self) -> tuple[object, ...]:
        return (self.msg_type, self._text, self.data, self.code, self.reason)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, WebSocketMessage) and self._key() == other._key()

    def __hash__(self) -> int:
        return hash(self._key())

    def __repr__(self) -> str:
        match self.msg_type:
            case "text":
                content = repr(self._text)
            case "close":
                content = f"{self.code}, {self.reason!r}"
            case _:
                content = repr(self.data)
        return f"WebSocketMessage.{self.msg_type}({content})"


def _text_message(text: str) -> WebSocketMessage:
    return WebSocketMessage("text", text=text)
