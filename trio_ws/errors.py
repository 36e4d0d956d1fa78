"""The exceptions, named by who caused them.

Foreign exceptions (h11, ssl, OSError) are translated into these in one place each and never reach users.
"""

from __future__ import annotations

from typing import Final, Literal, TypeAlias

from trio_ws.codes import CloseCode, check_close
from trio_ws.escaping import printable
from trio_ws.headers import Headers, HeaderSource, header_pairs

__all__ = [
    "BackplaneError",
    "BackplaneFull",
    "BackplaneRefused",
    "BackplaneUnavailable",
    "ConnectError",
    "ConnectPhase",
    "ConnectTimeout",
    "ConnectionRejected",
    "HeaderSource",
    "InvalidMessage",
    "LocalProtocolError",
    "MessageTooLarge",
    "Reject",
    "RemoteProtocolError",
    "UnexpectedMessage",
    "WebSocketDisconnect",
    "WebSocketError",
    "WebSocketException",
]

_SHORT_BODY: Final = 200
"""Bytes of a refusal's body that are shown in an error's message."""

ConnectPhase: TypeAlias = Literal["url", "dns", "tcp", "proxy", "tls", "handshake"]
"""Where an attempt to connect failed."""


class WebSocketError(Exception):
    """The base of every exception of this library."""


# --- you ---------------------------------------------------------------------------------------------------------


class LocalProtocolError(WebSocketError, RuntimeError):
    """A call that the connection's state does not allow; nothing was sent.

    A second `close()`, `accept()` on an accepted connection and `send()` before `accept()` are examples. It is a
    `RuntimeError`, as the documents of our predecessors promise.
    """


class WebSocketException(WebSocketError):  # noqa: N818 - the name is the field's
    """An order to close the connection with a code, for handlers.

    Before the handshake's answer it becomes an HTTP 403.

    Args:
        code: the close code to send: 1000 to 1003, 1007 to 1014, or 3000 to 4999.
        reason: at most 123 bytes of UTF-8, shown to the peer; None is "".

    Raises:
        ValueError: code or reason cannot be sent.
    """

    def __init__(self, code: int, reason: str | None = "") -> None:
        reason = reason or ""
        check_close(code, reason)
        super().__init__(code, reason)
        self.code = code
        self.reason = reason

    def __str__(self) -> str:
        return f"close with {self.code}{f': {self.reason}' if self.reason else ''}"


class Reject(WebSocketError):  # noqa: N818 - an instruction, not an error
    """An order to answer the handshake with an HTTP status, not 101.

    Raise it before the handshake is answered, in a guard, say.

    Args:
        status: the HTTP status, 300 to 599.
        headers: extra headers of the answer.
        body: the answer's body.

    Raises:
        ValueError: the status is out of range.
    """

    def __init__(self, status: int = 403, headers: HeaderSource = (), body: bytes = b"") -> None:
        if not 300 <= status <= 599:
            raise ValueError(f"a handshake is rejected with an HTTP status from 300 to 599, not {status}")
        super().__init__(status)
        self.status = status
        self.headers: tuple[tuple[str, str], ...] = (*header_pairs(headers),)
        self.body = body

    def __str__(self) -> str:
        return f"reject with HTTP status {self.status}"


# --- the peer ----------------------------------------------------------------------------------------------------


class WebSocketDisconnect(WebSocketError):  # noqa: N818 - the name is the field's
    """The end of the connection, raised by every later receive and send.

    Attributes:
        code: the code of the first close frame, ours or the peer's; 1005 if it held none, 1006 if there was none.
        reason: the reason in that frame, `""` if none.
    """

    def __init__(self, code: int = CloseCode.NORMAL_CLOSURE, reason: str | None = "") -> None:
        reason = reason or ""
        super().__init__(code, reason)
        self.code: int = int(code)
        self.reason = reason
        self.while_sending: bool = False
        """Whether a call that sends has raised it."""
        self.origin: object = None
        """Identifies the connection that has ended, to the library; None if the exception was made by hand."""

    def __reduce__(self) -> tuple[type[WebSocketDisconnect], tuple[int, str]]:
        return type(self), (self.code, self.reason)

    def __str__(self) -> str:
        # The reason is the peer's text, and this is for logs.
        return f"connection closed with {self.code}{f': {printable(self.reason)}' if self.reason else ''}"


class RemoteProtocolError(WebSocketError):
    """A violation of the protocol by the peer.

    Attributes:
        code: the close code that such a breach is answered with (1002, 1007, 1009), or the HTTP status if the breach
            was in the handshake.
    """

    def __init__(self, message: str, code: int = CloseCode.PROTOCOL_ERROR) -> None:
        super().__init__(message)
        self.code: int = int(code)


class UnexpectedMessage(WebSocketError):  # noqa: N818 - what it is
    """A binary message for `receive_text()`, or text for `receive_bytes()`.

    It was taken from the inbox and is in `message`. Uncaught it closes the connection with 1003.
    """

    def __init__(self, expected: str, message: str | bytes) -> None:
        super().__init__(f"expected {expected}, the peer sent {'text' if isinstance(message, str) else 'binary'}")
        self.message = message


class InvalidMessage(WebSocketError, ValueError):  # noqa: N818 - what it is
    """A message with invalid content, such as malformed JSON.

    Uncaught it closes with 1007.

    The message was taken from the inbox and is in `message`. It is a `ValueError`, as `json.JSONDecodeError` is.
    """

    def __init__(self, problem: str, message: str | bytes) -> None:
        super().__init__(problem)
        self.message = message


# --- the network, and time ---------------------------------------------------------------------------------------


class ConnectError(WebSocketError):
    """A failed attempt of a client to connect.

    Attributes:
        phase: where it failed: "dns", "tcp", "proxy", "tls" or "handshake"; "url" if the time was up before it began. A
            malformed URL is a `ValueError`.
    """

    def __init__(self, phase: ConnectPhase, message: str) -> None:
        super().__init__(f"{phase}: {message}")
        self.phase = phase


class ConnectTimeout(ConnectError):  # noqa: N818 - a kind of ConnectError
    """An attempt to connect that took longer than `open_timeout`.

    `phase` is the one that it was in.
    """


class ConnectionRejected(ConnectError):  # noqa: N818 - a kind of ConnectError
    """An answer to the opening handshake with a status other than 101.

    Attributes:
        status: the HTTP status.
        headers: the answer's headers.
        body: at most the first 64 KiB of the answer's body; less if it was cut off or took too long.

    Args:
        why: why a redirect was not followed.
    """

    def __init__(self, status: int, headers: HeaderSource = (), body: bytes = b"", *, why: str = "") -> None:
        self.headers: Headers = headers if isinstance(headers, Headers) else Headers(headers)
        why = why or _explanation(self.headers, body)
        super().__init__("handshake", f"the server answered with HTTP status {status}{why and f': {why}'}")
        self.status = status
        self.body = body


def _explanation(headers: Headers, body: bytes) -> str:
    """Return a body that is one short line of text, escaped, else ""."""
    text = body.decode("utf-8", "replace").strip() if len(body) <= _SHORT_BODY else ""
    plain = headers.get("content-type", "").partition(";")[0].strip().lower() == "text/plain"
    return printable(text) if plain and "\n" not in text else ""


# --- the backplane -----------------------------------------------------------------------------------------------


class BackplaneError(WebSocketError):
    """A failure of the backplane, which carries rooms between processes.

    Attributes:
        local: whether it is about a message that the room's members in this process have had all the same.
    """

    local: bool = False


class BackplaneUnavailable(BackplaneError):  # noqa: N818 - what it is
    """A backplane that did not answer in time, or is unreachable.

    Uncaught in a handler it closes the connection with 1013, try again later.

    Attributes:
        uncertain: whether the message may have been published all the same. To publish it again may double it.
    """

    def __init__(self, message: str, *, uncertain: bool = False) -> None:
        super().__init__(message)
        self.uncertain = uncertain


class BackplaneFull(BackplaneError):  # noqa: N818 - what it is
    """A backplane without free memory: the message was not published.

    Other rooms and connections are not affected.
    """


class BackplaneRefused(BackplaneError):  # noqa: N818 - what it is
    """A backplane that rejects us: a wrong password, a missing permission.

    Waiting does not help.
    """


class MessageTooLarge(BackplaneError, ValueError):  # noqa: N818 - what it is
    """A message, or a member's info, over the backplane's limit.

    It was not published.

    Attributes:
        size: bytes of the message.
        limit: bytes that it may have.
    """

    def __init__(self, size: int, limit: int, what: str = "the message") -> None:
        super().__init__(
            f"{what} has {size} bytes, the backplane carries {limit}: send less, or say where it can be fetched"
        )
        self.size = size
        self.limit = limit
