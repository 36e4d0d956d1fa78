"""Replies of listeners, and their encoding.

A bare value is the body alone; `Ok` and its family wrap it as Cafeto documents: `{"statusCode": 200, "body": ...}`.
"""

from __future__ import annotations

from typing import Any, Final, Protocol

import attrs
import pydantic_core
from pydantic import ValidationError
from pydantic_core import PydanticSerializationError, to_jsonable_python

from trio_ws.app.keys import serialized
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
    "plain",
]


class NotAReply(TypeError):  # noqa: N818 - what it is
    """A callback's result that cannot be sent; the connection closes with 1011."""


@attrs.frozen
class Reply:
    """A reply with a status code, in the manner of HTTP.

    Args:
        status_code: any number that the client understands.
        body: JSON values, models of pydantic, dataclasses or attrs classes.
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


class ReplyType(Protocol):
    """A type of replies, which narrows them; see `output`."""

    @property
    def name(self) -> str: ...

    def plain(self, value: Any) -> Any: ...

    def json(self, value: Any) -> bytes: ...


def encode_reply(value: Any, encoding: ValueType, shape: ReplyType | None = None) -> Payload:
    """Return the message for a reply.

    Args:
        value: result of the callback, not None.
        encoding: of the listener. Text and bytes go out as they are on a listener of their kind; all else, and
            every `Reply`, as JSON.
        shape: narrows a value, or the body of a `Reply` with a status below 400; None for no filter.

    Raises:
        NotAReply: the value has no form in JSON, or does not fit the annotation.
    """
    if encoding == "text" and isinstance(value, str):
        return value
    if encoding == "bytes" and isinstance(value, (bytes, bytearray, memoryview)):
        return value
    body, wrapped = (value.body, 1) if isinstance(value, Reply) else (value, 0)
    if body is None or (isinstance(value, Reply) and value.status_code >= 400):
        shape = None
    try:
        made = serialized(body, _plain if shape is None else shape.plain)
        try:
            return to_json(_enveloped(value, made), wrapped=wrapped)
        except ValueError:
            # A float that JSON has not: models say in their configuration what becomes of it.
            encode = _json if shape is None else shape.json
            again = serialized(body, lambda kept: from_json(encode(kept)))
            return to_json(_enveloped(value, again), wrapped=wrapped)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(map(str, first["loc"]))
        raise NotAReply(
            f"a callback returned {type(body).__name__}, which is not the {shape and shape.name} of its return "
            f"annotation ({f'{where}: ' if where else ''}{first['msg']})"
        ) from None
    except (PydanticSerializationError, TypeError, ValueError) as error:
        raise NotAReply(f"a callback returned {type(body).__name__}, which is no reply: {error}. {_MAY_BE}") from None


_MAY_BE: Final = (
    "It may return None for no reply, what JSON has, models of pydantic, dataclasses, attrs classes, Ok(...) and its "
    "like, or Reply(status_code, body)"
)


def _enveloped(value: Any, body: Any) -> Any:
    return {"statusCode": value.status_code, "body": body} if isinstance(value, Reply) else body


def _plain(value: Any) -> Any:
    return to_jsonable_python(value, fallback=plain, by_alias=True)


def _json(value: Any) -> bytes:
    return pydantic_core.to_json(value, fallback=plain, by_alias=True)


def plain(value: Any) -> Any:
    """Return an attrs class instance as a dictionary, by its argument names."""
    if attrs.has(type(value)):
        return {field.alias: getattr(value, field.name) for field in attrs.fields(type(value))}
    raise TypeError(f"{type(value).__name__} cannot be expressed in JSON")
