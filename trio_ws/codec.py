"""What a route's `receive_type` and `send_type` mean: between messages and the values that handlers work with."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, Final, Literal, NoReturn, TypeAlias

from trio_ws.errors import InvalidMessage, UnexpectedMessage

__all__ = ["Payload", "ValueType", "decoder_of", "encoder_of", "from_json", "resolve_types", "to_json"]

ValueType: TypeAlias = Literal["json", "text", "bytes"]
Payload: TypeAlias = str | bytes | bytearray | memoryview
"""What a message is made of: text, or bytes."""


def to_json(value: Any) -> str:
    """Return `value` as compact JSON.

    Raises:
        TypeError: it is not made of dicts, lists, strings, numbers, booleans and None.
        ValueError: it contains itself, or NaN or infinity, which JSON does not have.
    """
    return json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))


def from_json(message: str | bytes) -> Any:
    """Return the value of a JSON message, text or binary.

    Raises:
        InvalidMessage: it is not JSON (RFC 8259), NaN and infinity included, or is nested too deeply.
    """
    try:
        return json.loads(message, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise InvalidMessage(f"not JSON: {error}", message) from None


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not in JSON")


def as_text(message: str | bytes) -> str:
    """Return a text message as it is; raise `UnexpectedMessage` for a binary one."""
    if isinstance(message, str):
        return message
    raise UnexpectedMessage("text", message)


def as_bytes(message: str | bytes) -> bytes:
    """Return a binary message as it is; raise `UnexpectedMessage` for a text one."""
    if isinstance(message, bytes):
        return message
    raise UnexpectedMessage("binary", message)


def only_text(value: Any) -> str:
    """Return `value` if it is text; raise `TypeError` for everything else."""
    if isinstance(value, str):
        return value
    raise TypeError(f"this takes str, not {type(value).__name__}")


def only_bytes(value: Any) -> bytes | bytearray | memoryview:
    """Return `value` if it is bytes-like; raise `TypeError` for everything else."""
    if isinstance(value, (bytes, bytearray, memoryview)):
        return value
    raise TypeError(f"this takes bytes, not {type(value).__name__}")


decoder_of: Final[dict[ValueType, Callable[[str | bytes], Any]]] = {
    "json": from_json,
    "text": as_text,
    "bytes": as_bytes,
}
encoder_of: Final[dict[ValueType, Callable[[Any], Payload]]] = {
    "json": to_json,
    "text": only_text,
    "bytes": only_bytes,
}


def resolve_types(
    receive_type: ValueType | None, send_type: ValueType | None, value_type: ValueType | None
) -> tuple[ValueType | None, ValueType | None]:
    """Return the types to receive and to send in, `value_type` standing for both.

    Raises:
        ValueError: a type is not one of "json", "text" and "bytes", or `value_type` differs from another one.
    """
    for name, given in (("receive_type", receive_type), ("send_type", send_type), ("value_type", value_type)):
        if given is not None and not (isinstance(given, str) and given in decoder_of):
            raise ValueError(f'{name} must be "json", "text" or "bytes", not {given!r}')
        if None not in (value_type, given) and given != value_type:
            raise ValueError(f"value_type {value_type!r} and {name} {given!r} differ: give one of them")
    return receive_type or value_type, send_type or value_type
