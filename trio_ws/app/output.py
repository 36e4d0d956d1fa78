"""Filters for replies by the return annotation of their function."""

from __future__ import annotations

import collections.abc
import dataclasses
import inspect
import logging
import operator
from collections.abc import Callable, Iterator, Mapping
from typing import Annotated, Any, Final, ForwardRef, Literal, NotRequired, TypeVar, Union, get_args, get_origin

import attrs
from pydantic import BaseModel, BeforeValidator, TypeAdapter, ValidationError
from typing_extensions import is_typeddict

from trio_ws.app.errors import RegistrationError
from trio_ws.app.parameters.annotations import Scope, get_label, is_union, unaliased
from trio_ws.app.parameters.schemas import BodySchemas, empty_typed_dict, field_hint
from trio_ws.app.replies import Reply
from trio_ws.connection.jsonable import fields_of

__all__ = ["Output", "output_from", "reply_type", "status_replies"]

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
        """Return a filtered reply as values for JSON, NaN and infinities included.

        Raises:
            ValueError: the value is not of the annotated type, and cannot be made into it.
        """
        return self.adapter.dump_python(self._narrowed(value), mode="json", by_alias=True, fallback=fields_of)

    def json(self, value: Any) -> bytes:
        """Return a filtered reply as JSON; its model's configuration decides about NaN."""
        return self.adapter.dump_json(self._narrowed(value), by_alias=True, fallback=fields_of)

    def _narrowed(self, value: Any) -> Any:
        try:
            return self.adapter.validate_python(value)
        except ValidationError:  # an object of another class is made into one of this
            return self.adapter.validate_python(value, from_attributes=True)


def output_from(function: Callable[..., Any]) -> Output | None:
    """Return the filter for a function's return annotation.

    None if it names no class with fields. An annotation that cannot be resolved is logged with WARNING, and filters
    nothing.

    Raises:
        RegistrationError: the annotated type has a class with fields in it, and cannot be sent.
    """
    try:
        annotation = reply_type(function)
    except Exception as error:
        logger.warning("replies of %s are not narrowed: return annotation unresolved: %s", get_label(function), error)
        return None
    if not _has_fields(annotation):
        return None
    try:
        adapter: TypeAdapter[Any] = TypeAdapter(_ReplySchemas().of(annotation))
        _ = adapter.validator.validate_python  # of types that are not defined so far it complains
        return Output(adapter, getattr(annotation, "__name__", str(annotation)))
    except Exception as error:
        raise RegistrationError(f"{get_label(function)}: replies cannot be {annotation}: {error}") from error


def reply_type(function: Callable[..., Any]) -> Any:
    """Return the annotated type of one reply, without `Reply`; Any for anything.

    Raises:
        Exception: raised by the annotation, which is code.
    """
    return _item(_returned(function))


def status_replies(function: Callable[..., Any]) -> tuple[type[Reply], ...]:
    """Return the classes of replies with a status in a return annotation.

    Raises:
        Exception: raised by the annotation, which is code.
    """
    return tuple(_replies_in(_returned(function)))


def _returned(function: Callable[..., Any]) -> Any:
    annotation = inspect.signature(function).return_annotation
    return Any if annotation is inspect.Signature.empty else Scope(function).resolve("return", annotation)


def _replies_in(annotation: Any) -> Iterator[type[Reply]]:
    if _is_reply(annotation):
        yield annotation
    elif is_union(get_origin(annotation)) or get_origin(annotation) in (*_AROUND, collections.abc.Iterable, Annotated):
        for each in get_args(annotation):
            yield from _replies_in(each)


def _item(annotation: Any) -> Any:
    """Return the type of one reply, without `Reply`; Any for anything."""
    named = _named(annotation)
    if not isinstance(named, str | ForwardRef):  # a name in quotes is resolved by pydantic, in the alias's module
        annotation = named
    origin, args = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        inner = _item(args[0])
        return annotation if inner is args[0] else inner
    if origin in _AROUND:
        return _item(args[-1] if origin is collections.abc.Coroutine else args[0]) if args else Any
    if origin is collections.abc.Iterable and args:  # of a generator one after the other, of a list all at once
        item = _item(args[0])
        return Union[list[item], item]  # type: ignore[valid-type]  # noqa: UP007 - the item varies
    if is_union(origin):
        members = tuple(_item(member) for member in args if not _is_reply(member))
        if len(members) == len(args) and all(map(operator.is_, members, args)):
            return annotation
        return Union[members] if members else Any  # noqa: UP007 - the members vary
    return annotation


def _is_reply(annotation: Any) -> bool:
    return inspect.isclass(annotation) and issubclass(annotation, Reply)


def _named(annotation: Any) -> Any:
    """Return the type behind an alias, a NewType or a type parameter."""
    annotation = unaliased(annotation)
    if isinstance(annotation, TypeVar):
        bounds = annotation.__constraints__ or ((annotation.__bound__,) if annotation.__bound__ else ())
        return _named(Union[bounds]) if bounds else Any  # noqa: UP007 - the members vary
    return annotation


def _has_fields(annotation: Any, around: tuple[Any, ...] = ()) -> bool:
    """Return whether a class with fields is in it, at any depth."""
    if any(each is annotation for each in around):  # an alias or a class that holds itself
        return False
    around = (*around, annotation)
    annotation = _named(annotation)
    if isinstance(annotation, str | ForwardRef):  # of an alias: it may be a class with fields
        return True
    kind, args = get_origin(annotation) or annotation, get_args(annotation)
    if kind is Annotated:
        return _has_fields(args[0], around)
    hints = () if kind is Literal else args
    if inspect.isclass(kind) and _is_named_tuple(kind):
        hints = (*args, *_get_hints(kind).values())
    return _is_record(kind) or any(_has_fields(hint, around) for hint in hints)


def _is_record(kind: Any) -> bool:
    if not inspect.isclass(kind) or kind is BaseModel or issubclass(kind, Reply):
        return False
    return issubclass(kind, BaseModel) or dataclasses.is_dataclass(kind) or is_typeddict(kind) or attrs.has(kind)


def _is_named_tuple(kind: type[Any]) -> bool:
    return issubclass(kind, tuple) and hasattr(kind, "_fields")


def _get_hints(kind: type[Any]) -> dict[str, Any]:
    """Return the annotations of a named tuple's fields; Any for unresolved ones."""
    return {name: _hint(kind, (), name, kind.__annotations__.get(name, Any)) for name in kind._fields}


def _hint(kind: type[Any], args: tuple[Any, ...], name: str, annotation: Any) -> Any:
    try:
        return field_hint(kind, args, name, annotation)
    except Exception as error:  # an annotation is code
        logger.warning("replies are not narrowed at %s.%s: annotation unresolved: %s", get_label(kind), name, error)
        return Any


class _ReplySchemas(BodySchemas):
    """A walk through an annotation of replies, which replaces unfiltered classes."""

    __slots__ = ()

    def of(self, annotation: Any) -> Any:
        """Return an annotation that pydantic narrows by."""
        named = _named(annotation)
        if named is annotation:
            return super().of(annotation)
        if annotation in self.visited:
            return self.visited[annotation]
        self.visited[annotation] = annotation  # it may hold itself
        shape = super().of(named)
        self.visited[annotation] = annotation if shape is named and not isinstance(annotation, TypeVar) else shape
        return self.visited[annotation]

    def _class(self, kind: type[Any]) -> Any:
        if _is_named_tuple(kind):
            self.visited[kind] = Any  # of one that holds itself no narrowing is to be had
            shapes = tuple(map(self.of, _get_hints(kind).values()))
            self.visited[kind] = tuple[shapes] if shapes else kind  # type: ignore[valid-type]
        return super()._class(kind)

    def _attrs(self, kind: type[Any], args: tuple[Any, ...]) -> Any:
        if (kind, args) not in self.visited:
            fields = empty_typed_dict(kind)
            self.visited[kind, args] = Annotated[fields, BeforeValidator(_narrower(kind))]
            hints = {each.alias: _hint(kind, args, each.name, each.type or Any) for each in attrs.fields(kind)}
            # Plain values are as the class let them in.
            fields.__annotations__ = {
                name: NotRequired[self.of(hint) if _has_fields(hint) else Any] for name, hint in hints.items()
            }
        return self.visited[kind, args]


def _narrower(kind: type[attrs.AttrsInstance]) -> Callable[[Any], dict[str, Any]]:
    fields = attrs.fields(kind)

    def narrow(value: Any) -> dict[str, Any]:
        if isinstance(value, kind):
            return {field.alias: getattr(value, field.name) for field in fields}
        if isinstance(value, Mapping):
            return {field.alias: value[field.alias] for field in fields if field.alias in value}
        raise ValueError(f"{type(value).__name__} is not {kind.__name__}")

    return narrow
