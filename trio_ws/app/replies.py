"""Replies: what a listener's callback may return, and what is sent for it.

A bare value is the body alone; `Ok` and its family wrap it as Cafeto documents: `{"statusCode": 200, "body": ...}`.
"""

from __future__ import annotations

import dataclasses
from typing import Any, Final

import attrs
from pydantic_core import PydanticSerializationError, to_jsonable_python

from trio_ws.connection.serialization import Payload, ValueType, to_json

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
    """A callback returned something that cannot be sent; the connection is closed with 1011."""


@attrs.frozen
class Reply:
    """A reply with a status code, in the manner of HTTP.

    Args:
        status_code: any number that the client understands.
        body: what JSON, pydantic, dataclasses or attrs can express.
    """

    status_code: int
    body: Any = None


def Ok(body: Any = None) -> Reply:  # noqa: N802 - the documented name
    """Reply with 200."""
    return Reply(200, body)


def Created(body: Any = None) -> Reply:  # noqa: N802 - the documented name
    """Reply with 201."""
    return Reply(201, body)


def Accepted(body: Any = None) -> Reply:  # noqa: N802 - the documented name
    """Reply with 202."""
    return Reply(202, body)


def BadRequest(body: Any = None) -> Reply:  # noqa: N802 - the documented name
    """Reply with 400."""
    return Reply(400, body)


def Unauthorized(body: Any = None) -> Reply:  # noqa: N802 - the documented name
    """Reply with 401."""
    return Reply(401, body)


def Forbidden(body: Any = None) -> Reply:  # noqa: N802 - the documented name
    """Reply with 403."""
    return Reply(403, body)


def NotFound(body: Any = None) -> Reply:  # noqa: N802 - the documented name
    """Reply with 404."""
    return Reply(404, body)


def Conflict(body: Any = None) -> Reply:  # noqa: N802 - the documented name
    """Reply with 409."""
    return Reply(409, body)


def UnprocessableEntity(body: Any = None) -> Reply:  # noqa: N802 - the documented name
    """Reply with 422."""
    return Reply(422, body)


def InternalServerError(body: Any = None) -> Reply:  # noqa: N802 - the documented name
    """Reply with 500."""
    return Reply(500, body)


ModelWSResponse: Final = Ok
"""Cafeto's classic name for `Ok`."""


def encode_reply(value: Any, encoding: ValueType) -> Payload:
    """Return the message for a reply.

    Args:
        value: what the callback returned or yielded, not None.
        encoding: of the listener. Text and bytes go out as they are on a listener of their kind; everything else, and
            every `Reply`, as JSON.

    Raises:
        NotAReply: the value cannot be expressed.
    """
    if encoding == "text" and isinstance(value, str):
        return value
    if encoding == "bytes" and isinstance(value, (bytes, bytearray, memoryview)):
        return value
    wrapped = 0
    if isinstance(value, Reply):
        value, wrapped = {"statusCode": value.status_code, "body": value.body}, 1
    try:
        try:
            plain = to_jsonable_python(value, fallback=_plain, by_alias=True)
        except UnicodeEncodeError:  # a lone surrogate in a key, which pydantic does not pass on
            return to_json(value, wrapped=wrapped, default=_one_level)
        return to_json(plain, wrapped=wrapped)
    except (PydanticSerializationError, TypeError, ValueError) as error:
        raise NotAReply(f"a callback returned {type(value).__name__}, which is no reply: {error}") from None


def _plain(value: Any) -> Any:
    """Return what pydantic does not know as something that it does."""
    if attrs.has(type(value)):
        return {field.name: getattr(value, field.name) for field in attrs.fields(type(value))}
    raise TypeError(f"{type(value).__name__} cannot be expressed in JSON")


def _one_level(value: Any) -> Any:
    """Return the fields of a model or dataclass unconverted, and whatever else pydantic makes of `value`."""
    serializer = getattr(type(value), "__pydantic_serializer__", None)
    if serializer is not None:
        return serializer.to_python(value, by_alias=True)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
    if attrs.has(type(value)):
        return _plain(value)
    return to_jsonable_python(value, fallback=_plain, by_alias=True)
