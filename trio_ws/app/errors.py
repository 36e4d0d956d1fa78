"""Errors of registrations and of request parameters."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import attrs

from trio_ws.errors import WebSocketError

__all__ = ["ErrorDetail", "ParameterError", "RegistrationError"]


def _encodable(text: str) -> str:
    """Return a text that UTF-8 can encode, with "?" for lone surrogates."""
    return text.encode("utf-8", "replace").decode()


def _encodable_parts(parts: Iterable[str | int]) -> tuple[str | int, ...]:
    return tuple(_encodable(part) if isinstance(part, str) else part for part in parts)


@attrs.frozen
class ErrorDetail:
    """One error in the data of a client."""

    loc: tuple[str | int, ...] = attrs.field(converter=_encodable_parts)
    """The location, relative to a message's body; beginning with "query", "header", "cookie" or "path" in requests."""
    type: str
    """The kind of error, for programs: "missing", "int_parsing", ..."""
    msg: str = attrs.field(converter=_encodable)
    """A message for people."""

    def with_prefix(self, *loc: str | int) -> ErrorDetail:
        """Return the same error with a longer location."""
        return attrs.evolve(self, loc=(*loc, *self.loc))

    def as_dict(self) -> dict[str, Any]:
        """Return the item of an `errorList`, encodable as JSON and UTF-8."""
        return {"loc": list(self.loc), "type": self.type, "msg": self.msg}


class ParameterError(WebSocketError):
    """Invalid data from a client in a request (HTTP 400) or a message.

    Attributes:
        errors: all errors, not only the first.
    """

    def __init__(self, errors: Iterable[ErrorDetail]) -> None:
        self.errors: tuple[ErrorDetail, ...] = tuple(errors)
        super().__init__(self.errors)

    @property
    def error_list(self) -> list[dict[str, Any]]:
        """The errors as items of an `errorList`."""
        return [detail.as_dict() for detail in self.errors]

    def body(self) -> dict[str, Any]:
        """Return the body of the answer to the client: `{"errorList": [...]}`."""
        return {"errorList": self.error_list}

    def __str__(self) -> str:
        return "; ".join(f"{'.'.join(map(str, detail.loc))}: {detail.msg}" for detail in self.errors)


class RegistrationError(WebSocketError, TypeError):
    """A function, class or route that cannot work as it was registered.

    The message names it, its parameter, and the fix. The error is raised at registration, never later.
    """
