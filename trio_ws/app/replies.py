"""Replies of listeners, and their encoding.

A bare value is the body alone; `Ok` and its family wrap it as Cafeto documents: `{"statusCode": 200, "body": ...}`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, ClassVar, Final, Protocol

from trio_ws.app.parameters.kinds import is_validation_error
from trio_ws.connection.encoders import ToJSON
from trio_ws.connection.serialization import Payload, ValueType, from_json, to_json

__all__ = [
    "Accepted",
    "BadRequest",
    "Conflict",
    "Created",
    "Forbidden",
    "InternalServerError",
    "ModelWSResponse",
    "NotAReply",
    "NotFound",
    "Ok",
    "Reply",
    "Unauthorized",
    "UnprocessableEntity",
    "encode_reply",
]


class NotAReply(TypeError):  # noqa: N818 - what it is
    """A callback's result that cannot be sent; the connection closes with 1011."""


class Reply(Exception):  # noqa: N818 - what it is
    """A reply with a status code, in the manner of HTTP: to return, to yield or to raise.

    Raised in a listener, it is the reply to the message, and the connection stays. Before the handshake's answer, in a
    guard or a dependency, it refuses the handshake with its status. Replies with the same status and body are equal.

    Args:
        status_code: any number that the client understands.
        body: JSON values, models of pydantic, dataclasses or attrs classes.
    """

    __match_args__ = ("status_code", "body")

    def __init__(self, status_code: int, body: Any = None) -> None:
        super().__init__(status_code, body)
        self.status_code: int = status_code
        self.body: Any = body

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Reply):
            return NotImplemented
        return self.status_code == other.status_code and bool(self.body == other.body)

    def __hash__(self) -> int:
        return hash(self.status_code)  # a body need not have one

    def __repr__(self) -> str:
        return f"Reply(status_code={self.status_code!r}, body={self.body!r})"

    def __str__(self) -> str:
        return f"reply with {self.status_code}"

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), self._arguments()

    def __json__(self) -> dict[str, Any]:
        """Return the envelope, for a reply inside another one."""
        return {"statusCode": self.status_code, "body": self.body}

    def _arguments(self) -> tuple[Any, ...]:
        return self.status_code, self.body


class _StatusReply(Reply):
    """A reply with the status of its class."""

    __match_args__ = ("body",)
    _STATUS: ClassVar[int]

    def __init__(self, body: Any = None) -> None:
        super().__init__(self._STATUS, body)

    def _arguments(self) -> tuple[Any, ...]:
        return (self.body,)


class Ok(_StatusReply):
    """A reply with 200, to return or to raise."""

    _STATUS = 200


class Created(_StatusReply):
    """A reply with 201, to return or to raise."""

    _STATUS = 201


class Accepted(_StatusReply):
    """A reply with 202, to return or to raise."""

    _STATUS = 202


class BadRequest(_StatusReply):
    """A reply with 400, to return or to raise."""

    _STATUS = 400


class Unauthorized(_StatusReply):
    """A reply with 401, to return or to raise."""

    _STATUS = 401


class Forbidden(_StatusReply):
    """A reply with 403, to return or to raise."""

    _STATUS = 403


class NotFound(_StatusReply):
    """A reply with 404, to return or to raise."""

    _STATUS = 404


class Conflict(_StatusReply):
    """A reply with 409, to return or to raise."""

    _STATUS = 409


class UnprocessableEntity(_StatusReply):
    """A reply with 422, to return or to raise."""

    _STATUS = 422


class InternalServerError(_StatusReply):
    """A reply with 500, to return or to raise."""

    _STATUS = 500


ModelWSResponse: Final = Ok
"""Cafeto's classic name for `Ok`."""


class ReplyType(Protocol):
    """A type of replies, which narrows them; see `output`."""

    @property
    def name(self) -> str:
        """The type as text, for errors."""

    def plain(self, value: Any) -> Any:
        """Return the value as JSON's own types."""

    def json(self, value: Any) -> bytes:
        """Return the value as JSON."""


def encode_reply(
    value: Any,
    encoding: ValueType,
    shape: ReplyType | None = None,
    reference: Mapping[str, Any] | None = None,
    encode: ToJSON = to_json,
) -> Payload:
    """Return the message for a reply.

    Args:
        value: result of the callback, not None.
        encoding: of the listener. Text and bytes go out as they are on a listener of their kind; all else, and
            every `Reply`, as JSON.
        shape: narrows a value, or the body of a `Reply` with a status below 400; None for no filter.
        reference: of the request, a member of the reply; a value that is no object goes beside it as "body".
        encode: the application's encoder of JSON.

    Raises:
        NotAReply: the value has no form in JSON, or does not fit the annotation.
    """
    if encoding == "text" and isinstance(value, str):
        return value
    if encoding == "bytes" and isinstance(value, (bytes, bytearray, memoryview)):
        return value
    body = value.body if isinstance(value, Reply) else value
    if body is None or (isinstance(value, Reply) and value.status_code >= 400):
        shape = None
    try:
        encode_enveloped = partial(_encode_enveloped, value, reference, encode)
        if shape is None and reference is None and not isinstance(body, bytes | bytearray):
            return encode_enveloped(body)
        return _encode_plain(body, shape, encode_enveloped)
    except (TypeError, ValueError) as error:  # pydantic's are of these kinds
        if is_validation_error(error):
            first = error.errors(include_url=False, include_input=False)[0]
            where = ".".join(map(str, first["loc"]))
            raise NotAReply(
                f"a callback returned {type(body).__name__}, which is not the {shape and shape.name} of its return "
                f"annotation ({f'{where}: ' if where else ''}{first['msg']})"
            ) from None
        raise NotAReply(f"a callback returned {type(body).__name__}, which is no reply: {error}. {_MAY_BE}") from None


_MAY_BE: Final = (
    "It may return None for no reply, what JSON has, models of pydantic, dataclasses, attrs classes, Ok(...) and its "
    "like, or Reply(status_code, body)"
)


def _encode_plain(body: Any, shape: ReplyType | None, encode: Callable[[Any], str]) -> str:
    from trio_ws.connection.jsonable import jsonable, jsonable_as_configured, serialized  # noqa: PLC0415 - it imports pydantic

    try:
        return encode(jsonable(body) if shape is None else serialized(body, shape.plain))
    except ValueError:
        # A float that JSON has not: models say in their configuration what becomes of it.
        if shape is None:
            return encode(jsonable_as_configured(body))
        return encode(serialized(body, lambda kept: from_json(shape.json(kept))))


def _encode_enveloped(value: Any, reference: Mapping[str, Any] | None, encode: ToJSON, body: Any) -> str:
    is_around = isinstance(value, Reply) or not (reference is None or isinstance(body, dict))
    return encode(_enveloped(value, reference, body), wrapped=int(is_around))


def _enveloped(value: Any, reference: Mapping[str, Any] | None, body: Any) -> Any:
    if isinstance(value, Reply):
        return {"statusCode": value.status_code, "body": body, **(reference or {})}
    if reference is None:
        return body
    return {**(body if isinstance(body, dict) else {"body": body}), **reference}
