"""Objects of the application as values for JSON, by the serializers of pydantic."""

from __future__ import annotations

import copy
import dataclasses
import importlib
import json
import re
import secrets
from collections.abc import Callable, Mapping
from typing import Any, Final, NoReturn

import attrs
import pydantic_core
from pydantic import BaseModel
from pydantic_core import PydanticSerializationError, to_jsonable_python

__all__ = ["as_key", "fields_of", "jsonable", "jsonable_as_configured", "serialized"]

_LONE_SURROGATE: Final = re.compile("[\ud800-\udfff]")


def jsonable(value: Any) -> Any:
    """Return an object as values for JSON, NaN and infinities included.

    Args:
        value: a model of pydantic, a dataclass, an instance of an attrs class, a mapping, a set, a date or time, a
            UUID, a Decimal, an enum member, a path, an IP address, bytes of UTF-8, or a container of these.

    Raises:
        TypeError: it is, or holds, something else.
        ValueError: it contains itself, or a serializer of a model refuses it.
    """
    return serialized(value, _plain)


def jsonable_as_configured(value: Any) -> Any:
    """Return an object as values for JSON, without NaN: the configuration of its model replaces it.

    Raises:
        ValueError: one is in no model, or its model keeps it; or it contains itself.
    """
    return serialized(value, _configured)


def as_key(key: Any) -> Any:
    """Return an object as the key of an object of JSON.

    Raises:
        TypeError: it has no form as a text.
    """
    try:
        return next(iter(to_jsonable_python({key: None})))
    except PydanticSerializationError:
        raise TypeError(f"{type(key).__name__} cannot be the key of an object in JSON") from None


def _plain(value: Any) -> Any:
    return to_jsonable_python(value, fallback=fields_of, by_alias=True)


def _configured(value: Any) -> Any:
    return json.loads(pydantic_core.to_json(value, fallback=fields_of, by_alias=True), parse_constant=_refuse)


def _refuse(name: str) -> NoReturn:
    raise ValueError(f"{name} is not in JSON")


def fields_of(value: Any) -> dict[Any, Any]:
    """Return an instance of an attrs class by its argument names, a mapping, or a `msgspec.Struct` as a dictionary.

    Raises:
        TypeError: it is neither.
    """
    if attrs.has(type(value)):
        return {field.alias: getattr(value, field.name) for field in attrs.fields(type(value))}
    as_fields = getattr(type(value), "__json__", None)
    if as_fields is not None:
        inner: dict[Any, Any] = as_fields(value)
        return inner
    if isinstance(value, Mapping):
        return dict(value)
    if hasattr(type(value), "__struct_fields__"):
        fields: dict[Any, Any] = importlib.import_module("msgspec").to_builtins(value, enc_hook=jsonable)
        return fields
    raise TypeError(f"{type(value).__name__} cannot be expressed in JSON")


def serialized(value: Any, serialize: Callable[[Any], Any]) -> Any:
    """Return the result of `serialize` for a value, with any keys.

    If it fails at a key, it is called again with another name in its place, so that every serializer of a model is
    called as for any other value.

    Args:
        value: of dicts, lists, pydantic's models, dataclasses and attrs classes; anything else is left as it is.
        serialize: returns dicts, lists and what JSON holds besides.

    Raises:
        ValueError: the value is nested too deeply, or contains itself; likewise what `serialize` raises.
    """
    try:
        return serialize(value)
    except UnicodeEncodeError:
        pass
    keys = _KeyAliases()
    try:
        renamed = keys.renamed(value)
    except RecursionError:
        raise ValueError("the value is nested too deeply, or contains itself") from None
    return keys.restored(serialize(renamed))


class _KeyAliases:
    """Names in place of the keys of one value."""

    __slots__ = ("_originals", "_prefix")

    def __init__(self) -> None:
        self._prefix = secrets.token_hex(8)  # of no key that a client could send
        self._originals: dict[str, str] = {}

    def renamed(self, value: Any) -> Any:
        """Return a copy of `value` without lone surrogates in its keys."""
        if isinstance(value, dict):
            return {self._name(key): self.renamed(each) for key, each in value.items()}
        if isinstance(value, list):
            return [self.renamed(each) for each in value]
        if isinstance(value, tuple):
            members = [self.renamed(each) for each in value]
            return type(value)(*members) if hasattr(value, "_fields") else tuple(members)
        if isinstance(value, BaseModel):
            extra = value.__pydantic_extra__
            changed = value.model_copy()
            object.__setattr__(changed, "__dict__", {name: self.renamed(each) for name, each in vars(value).items()})
            object.__setattr__(changed, "__pydantic_extra__", None if extra is None else self.renamed(extra))
            return changed
        names = _fields(value)
        if not names:
            return value
        changed = copy.copy(value)
        for name in names:
            object.__setattr__(changed, name, self.renamed(getattr(value, name)))
        return changed

    def _name(self, key: Any) -> Any:
        if not isinstance(key, str) or _LONE_SURROGATE.search(key) is None:
            return key
        name = f"{self._prefix}{len(self._originals)}"
        self._originals[name] = key
        return name

    def restored(self, plain: Any) -> Any:
        """Return a serialized value with its original keys."""
        if isinstance(plain, dict):
            return {self._originals.get(key, key): self.restored(each) for key, each in plain.items()}
        if isinstance(plain, list):
            return [self.restored(each) for each in plain]
        return plain


def _fields(value: Any) -> list[str]:
    """Return the field names of a dataclass or attrs class instance."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return [field.name for field in dataclasses.fields(value) if hasattr(value, field.name)]
    if attrs.has(type(value)):
        return [field.name for field in attrs.fields(type(value))]
    return []
