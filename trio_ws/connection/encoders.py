"""The encoder of all JSON that an application sends, the library's own or another one."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any, Final, Literal, Protocol, TypeAlias

import attrs

from trio_ws.connection.serialization import check_depth, encodable, to_json

__all__ = ["ForeignEncoder", "JSONOption", "ToJSON", "encoder_from"]

Dumps: TypeAlias = Callable[[Any], str | bytes]
"""Returns a value as JSON, text or UTF-8."""
JSONOption: TypeAlias = "Literal['orjson', 'msgspec'] | Dumps | None"
"""What encodes JSON: a package by its name, a function, or None for the library's own encoder."""


class ToJSON(Protocol):
    """An encoder, called as `serialization.to_json` is."""

    def __call__(self, value: Any, *, wrapped: int = 0, spaced: bool = False) -> str:
        """Return a value as JSON."""


@attrs.frozen
class ForeignEncoder:
    """An encoder of the application's choice.

    The library's own encodes what it refuses with a `TypeError`, as models that it has not heard of, or with a
    `UnicodeEncodeError`, as lone surrogates: a value that was received can be sent.

    Args:
        option: the function, or the name of the package.
        dumps: encodes a value.
    """

    option: object
    dumps: Dumps = attrs.field(eq=False, repr=False)

    def __call__(self, value: Any, *, wrapped: int = 0, spaced: bool = False) -> str:
        """Return a value as JSON; see `serialization.to_json`.

        Raises:
            TypeError: neither encoder takes it, or the function returned something else than JSON.
            ValueError: likewise, or it is nested too deeply.
        """
        if isinstance(value, bytes | bytearray | memoryview):
            return to_json(value)  # which refuses it
        try:
            encoded = self.dumps(value)
        except (TypeError, UnicodeEncodeError, RecursionError):
            return to_json(value, wrapped=wrapped, spaced=spaced)
        if not isinstance(encoded, str | bytes | bytearray | memoryview):
            raise TypeError(f"json= returned {type(encoded).__name__}, where JSON is text or bytes")
        text = encoded if isinstance(encoded, str) else bytes(encoded).decode()
        check_depth(text, value, wrapped)
        return text if text.isascii() else encodable(text)


def encoder_from(option: Any) -> ToJSON:
    """Return the encoder of a `json=` option.

    Raises:
        ImportError: the named package is not installed.
        TypeError: it is nothing of that kind.
        ValueError: no package of that name is known.
    """
    match option:
        case None:
            return to_json
        case ForeignEncoder():
            return option
        case str():
            if option not in _PACKAGES:
                raise ValueError(f'json takes "orjson", "msgspec" or a function, not {option!r}')
            return ForeignEncoder(option, _PACKAGES[option](_import(option)))
        case _ if callable(option) and not isinstance(option, type):
            return to_json if option is to_json else ForeignEncoder(option, option)
    has = next((name for name in ("dumps", "encode") if callable(getattr(option, name, None))), None)
    hint = f": give its {has}" if has else ""
    raise TypeError(f'json takes "orjson", "msgspec" or a function that returns JSON, not {option!r}{hint}')


def _import(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError:
        raise ImportError(f'json="{name}" needs {name}: pip install trio-ws[{name}]') from None


def _orjson(orjson: Any) -> Dumps:
    """Return the encoder of orjson for JSON's own values and texts; objects are encoded as the library does."""
    from trio_ws.connection.jsonable import jsonable  # noqa: PLC0415 - clients do without pydantic

    # A dataclass may be pydantic's, with serializers and fields that are left out.
    options = orjson.OPT_PASSTHROUGH_DATACLASS | orjson.OPT_NON_STR_KEYS | orjson.OPT_UTC_Z

    def dumps(value: Any) -> bytes:
        encoded: bytes = orjson.dumps(value, jsonable, options)
        return encoded

    return dumps


def _msgspec(msgspec: Any) -> Dumps:
    from trio_ws.connection.jsonable import jsonable  # noqa: PLC0415 - clients do without pydantic

    encode: Dumps = msgspec.json.Encoder(enc_hook=jsonable).encode
    return encode


_PACKAGES: Final[dict[str, Callable[[Any], Dumps]]] = {"orjson": _orjson, "msgspec": _msgspec}
