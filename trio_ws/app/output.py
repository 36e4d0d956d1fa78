"""The narrowing of replies: what is sent has the fields that the return annotation names, and no others."""

from __future__ import annotations

import collections.abc
import dataclasses
import inspect
import logging
from collections.abc import Callable, Mapping
from types import UnionType
from typing import Annotated, Any, Final, Union, get_args, get_origin

import attrs
from pydantic import BaseModel, PlainValidator, TypeAdapter, ValidationError
from typing_extensions import is_typeddict

from trio_ws.app.errors import RegistrationError
from trio_ws.app.parameters.annotations import Scope, label_of
from trio_ws.app.replies import Reply, plain

__all__ = ["Output", "output_of"]

logger: Final = logging.getLogger("trio_ws")

# What a function for messages may be annotated to return one of, or several of one after the other.
_AROUND: Final = frozenset(
    {
        collections.abc.AsyncGenerator,
        collections.abc.AsyncIterable,
        collections.abc.AsyncIterator,
        collections.abc.Awaitable,
        collections.abc.Coroutine,
        collections.abc.Generator,
        collections.abc.Iterator,
    }
)


@attrs.frozen
class Output:
    """The type of a callback's replies."""

    adapter: TypeAdapter[Any]
    name: str

    def plain(self, value: Any) -> Any:
        """Return a reply made of what JSON has, numbers that JSON has not included.

        Raises:
            ValueError: the value is not of the annotated type, and cannot be made into it.
        """
        return self.adapter.dump_python(self._narrowed(value), mode="json", by_alias=True, fallback=plain)

    def json(self, value: Any) -> bytes:
        """Return a reply as JSON; infinities and NaN are as the model's configuration has them."""
        return self.adapter.dump_json(self._narrowed(value), by_alias=True, fallback=plain)

    def _narrowed(self, value: Any) -> Any:
        try:
            return self.adapter.validate_python(value)
        except ValidationError:  # an object of another class is made into one of this
            return self.adapter.validate_python(value, from_attributes=True)


def output_of(function: Callable[..., Any]) -> Output | None:
    """Return what the return annotation of a function says of replies; None if it names no class with fields.

    An annotation that cannot be resolved is a WARNING in the log, and narrows nothing.

    Raises:
        RegistrationError: the annotated type has a class with fields in it, and cannot be sent.
    """
    try:
        annotation = inspect.signature(function).return_annotation
        if annotation is inspect.Signature.empty:
            return None
        annotation = Scope(function).resolve("return", annotation)
    except Exception as error:
        logger.warning("replies of %s are not narrowed: return annotation unresolved: %s", label_of(function), error)
        return None
    annotation = _item(annotation)
    if annotation is None or not _has_fields(annotation):
        return None
    try:
        return Output(TypeAdapter(_shape(annotation)), getattr(annotation, "__name__", str(annotation)))
    except Exception as error:
        raise RegistrationError(f"{label_of(function)}: replies cannot be {annotation}: {error}") from error


def _item(annotation: Any) -> Any:
    """Return the type of one reply, None if replies may be anything."""
    while get_origin(annotation) in _AROUND:
        args = get_args(annotation)
        annotation = args[-1] if get_origin(annotation) is collections.abc.Coroutine else args[0]
    if _is_union(annotation):
        members = [member for member in get_args(annotation) if member is not Reply]
        return Union[tuple(members)] if members else None  # noqa: UP007 - the members vary
    return annotation


def _is_union(annotation: Any) -> bool:
    return get_origin(annotation) in (Union, UnionType)


def _has_fields(annotation: Any) -> bool:
    """Return whether a class with fields is in it, at any depth."""
    if get_args(annotation):
        return any(map(_has_fields, get_args(annotation)))
    if not inspect.isclass(annotation) or annotation is Reply:
        return False
    model = issubclass(annotation, BaseModel) and annotation is not BaseModel
    return model or dataclasses.is_dataclass(annotation) or is_typeddict(annotation) or attrs.has(annotation)


def _shape(annotation: Any) -> Any:
    """Return an annotation that pydantic can narrow by: attrs classes, which it does not take, by their fields."""
    origin, args = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return Annotated[(_shape(args[0]), *args[1:])]
    if args:
        shapes = tuple(map(_shape, args))
        if all(shape is arg for shape, arg in zip(shapes, args, strict=True)):
            return annotation
        return Union[shapes] if _is_union(annotation) else origin[shapes]  # noqa: UP007 - the members vary
    if (
        inspect.isclass(annotation)
        and attrs.has(annotation)
        and not hasattr(annotation, "__get_pydantic_core_schema__")
    ):
        return Annotated[Any, PlainValidator(_fields_of(annotation))]
    return annotation


def _fields_of(kind: type[attrs.AttrsInstance]) -> Callable[[Any], dict[str, Any]]:
    fields = attrs.fields(kind)

    def narrow(value: Any) -> dict[str, Any]:
        if isinstance(value, kind):
            return {field.alias: getattr(value, field.name) for field in fields}
        if isinstance(value, Mapping):
            return {field.alias: value[field.alias] for field in fields if field.alias in value}
        raise ValueError(f"{type(value).__name__} is not {kind.__name__}")

    return narrow
