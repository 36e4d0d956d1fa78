"""Conversion between messages and the values that handlers work with."""

from __future__ import annotations

import json
import math
import operator
from collections.abc import Callable
from typing import Any, Final, Literal, NoReturn, TypeAlias

from trio_ws.errors import InvalidMessage, UnexpectedMessage

__all__ = [
    "MAX_DEPTH",
    "Payload",
    "ValueType",
    "check_depth",
    "decoder_of",
    "encodable",
    "encoder_for",
    "from_json",
    "may_exceed",
    "resolve_types",
    "to_json",
]

ValueType: TypeAlias = Literal["json", "text", "bytes"]
Payload: TypeAlias = str | bytes | bytearray | memoryview
"""What a message is made of: text, or bytes."""

MAX_DEPTH: Final = 128
"""Arrays and objects inside each other that one JSON message may have, in both directions (RFC 8259 9)."""

_CONTAINERS: Final = (dict, list, tuple)
_SCALARS: Final = (str, int, float, type(None))
_BYTES: Final = (bytes, bytearray, memoryview)
_SHOWN_DIGITS: Final = 20


def to_json(value: Any, *, wrapped: int = 0, spaced: bool = False) -> str:
    """Return `value` as JSON that UTF-8 can carry.

    A lone surrogate, which JSON allows as an escape, goes out as the escape that it came in as.

    Args:
        value: values of JSON, and objects that `jsonable` takes, at any depth and as keys. Bytes alone are no JSON.
        wrapped: levels around the caller's value that the library has added; they do not count.
        spaced: for people to read; messages are compact.

    Raises:
        TypeError: it holds something else.
        ValueError: it contains itself, NaN or infinity, which JSON does not have, or is nested deeper than `MAX_DEPTH`.
    """
    text = _encoded(value, spaced=spaced)
    check_depth(text, value, wrapped)
    return text if text.isascii() else encodable(text)


def check_depth(text: str, value: Any, wrapped: int = 0) -> None:
    """Refuse JSON that is nested too deeply.

    Args:
        text: the JSON.
        value: the value that was encoded.
        wrapped: as of `to_json`.

    Raises:
        ValueError: it is nested deeper than `MAX_DEPTH`.
    """
    bound = MAX_DEPTH + wrapped
    if may_exceed(text, bound) and _exceeds(DECODER.decode(text) if _holds_objects(value) else value, bound):
        raise ValueError(too_deep(bound))


def _encoded(value: Any, *, spaced: bool) -> str:
    if isinstance(value, _BYTES):
        raise TypeError(f"{type(value).__name__} alone is no JSON: send_bytes() sends it")
    try:
        return (_SPACED_ENCODER if spaced else _ENCODER).encode(value)
    except RecursionError:
        raise ValueError(too_deep(MAX_DEPTH)) from None
    except TypeError:
        keyed = _with_text_keys(value)
        if keyed is value:
            raise
        return _encoded(keyed, spaced=spaced)
    except ValueError as error:
        try:
            return _encoded_as_configured(value, spaced=spaced)
        except ValueError:
            if "Circular reference" not in str(error):
                raise error from None
            raise ValueError("the value contains itself") from None


def _encoded_as_configured(value: Any, *, spaced: bool) -> str:
    """Encode NaN and infinities in a model as its configuration sets."""
    from trio_ws.connection.jsonable import jsonable_as_configured  # noqa: PLC0415 - clients do without pydantic

    separators = None if spaced else _COMPACT
    encoder = json.JSONEncoder(**_STRICT, separators=separators, default=jsonable_as_configured)
    return encoder.encode(_with_text_keys(value))


def _default(value: Any) -> Any:
    """Return an object that the encoder does not take as values that it takes."""
    from trio_ws.connection.jsonable import jsonable  # noqa: PLC0415 - clients do without pydantic

    return jsonable(value)


def _with_text_keys(value: Any) -> Any:
    """Return a value with keys that the encoder takes; the value itself if it has no others."""
    try:
        return _keyed(value)
    except RecursionError:
        raise ValueError("the value is nested too deeply, or contains itself") from None


def _keyed(value: Any) -> Any:
    if isinstance(value, dict):
        pairs = [(key if isinstance(key, _SCALARS) else _key(key), _keyed(each)) for key, each in value.items()]
        same = all(key is other and each is value[other] for (key, each), other in zip(pairs, value, strict=True))
        return value if same else dict(pairs)
    if isinstance(value, list | tuple):
        items = [_keyed(each) for each in value]
        return value if all(map(operator.is_, items, value)) else items
    return value


def _key(key: Any) -> Any:
    from trio_ws.connection.jsonable import as_key  # noqa: PLC0415 - clients do without pydantic

    return as_key(key)


def from_json(message: str | bytes, *, wrapped: int = 0) -> Any:
    """Return the value of a JSON message, text or binary; `to_json` takes all that it returns.

    Args:
        message: UTF-8, or text; UTF-16 and UTF-32 are recognised.
        wrapped: levels around the caller's value that the library has added; they do not count.

    Raises:
        InvalidMessage: it is not JSON (RFC 8259), has NaN or a number beyond the range of a float, or is nested deeper
            than `MAX_DEPTH`.
    """
    bound = MAX_DEPTH + wrapped
    try:
        text = message if isinstance(message, str) else message.decode(json.detect_encoding(message))
        value = DECODER.decode(text)
    except RecursionError:
        raise InvalidMessage(too_deep(bound), message) from None
    except ValueError as error:
        raise InvalidMessage(f"not JSON: {error}", message) from None
    if exceeds_depth(text, value, bound):
        raise InvalidMessage(too_deep(bound), message)
    return value


def too_deep(bound: int) -> str:
    """Return the error text for JSON that `exceeds_depth`."""
    return f"JSON is nested deeper than {bound} levels"


def _holds_objects(value: Any) -> bool:
    """Return whether a value has something in it that is not JSON's own."""
    level = [value]
    while level:
        if not all(isinstance(each, _CONTAINERS + _SCALARS) for each in level):
            return True
        containers = [each for each in level if isinstance(each, _CONTAINERS)]
        level = [child for each in containers for child in (each.values() if isinstance(each, dict) else each)]
    return False


def exceeds_depth(text: str, value: Any, bound: int) -> bool:
    """Return whether JSON is nested deeper than `bound` levels, from its text and its value."""
    return may_exceed(text, bound) and _exceeds(value, bound)


def may_exceed(message: str | bytes, bound: int = MAX_DEPTH) -> bool:
    """Return False if JSON is too short, or has too few brackets, to be nested deeper."""
    if len(message) <= 2 * bound:
        return False
    if isinstance(message, bytes):
        return message.count(b"[") + message.count(b"{") > bound
    return message.count("[") + message.count("{") > bound


def _exceeds(value: Any, bound: int) -> bool:
    """Return whether arrays and objects are nested deeper than `bound`; one pass for each level, no recursion."""
    level = [value] if isinstance(value, _CONTAINERS) else []
    for _ in range(bound):
        level = [
            child
            for container in level
            for child in (container.values() if isinstance(container, dict) else container)
            if isinstance(child, _CONTAINERS)
        ]
        if not level:
            return False
    return True


def encodable(text: str) -> str:
    """Return JSON with its lone surrogates escaped: outside of strings there are none."""
    try:
        text.encode()
    except UnicodeEncodeError:  # whose handler writes what JSON does
        return text.encode(errors="backslashreplace").decode()
    return text


def _finite(literal: str) -> float:
    number = float(literal)
    if math.isinf(number):
        shown = literal if len(literal) <= _SHOWN_DIGITS else f"{literal[:_SHOWN_DIGITS]}..."
        raise ValueError(f"{shown} is beyond the range of a float")
    return number


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not in JSON")


_COMPACT: Final = (",", ":")
_STRICT: Final[dict[str, Any]] = {"ensure_ascii": False, "allow_nan": False}
_ENCODER: Final = json.JSONEncoder(**_STRICT, separators=_COMPACT, default=_default)
_SPACED_ENCODER: Final = json.JSONEncoder(**_STRICT, default=_default)
DECODER: Final = json.JSONDecoder(parse_float=_finite, parse_constant=_refuse_constant)


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


def _other_call(value: object) -> str:
    """Return a hint with the call for a value of another type."""
    match value:
        case str():
            return ": send_text() sends it"
        case bytes() | bytearray() | memoryview():
            return ": send_bytes() sends it"
        case dict() | list() | tuple() | int() | float():
            return ": send_json() sends it as JSON, and so does send() with send_type='json'"
        case _:
            return ""


def only_text(value: Any) -> str:
    """Return `value` if it is text; raise `TypeError` for everything else."""
    if isinstance(value, str):
        return value
    raise TypeError(f"a text message is str, not {type(value).__name__}{_other_call(value)}")


def only_bytes(value: Any) -> bytes | bytearray | memoryview:
    """Return `value` if it is bytes-like; raise `TypeError` for everything else."""
    if isinstance(value, (bytes, bytearray, memoryview)):
        return value
    raise TypeError(f"a binary message is bytes, not {type(value).__name__}{_other_call(value)}")


decoder_of: Final[dict[ValueType, Callable[[str | bytes], Any]]] = {
    "json": from_json,
    "text": as_text,
    "bytes": as_bytes,
}
_encoder_of: Final[dict[ValueType, Callable[[Any], Payload]]] = {"text": only_text, "bytes": only_bytes}


def encoder_for(send_type: ValueType, encode_json: Callable[[Any], str] = to_json) -> Callable[[Any], Payload]:
    """Return the function that makes a message of a value of a type."""
    return _encoder_of.get(send_type, encode_json)


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
