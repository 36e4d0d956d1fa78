"""Annotations in terms of pydantic, for bodies and for texts.

`for_body` and `for_text` take an annotation and return one. Annotations that need no change are returned as they are.
"""

from __future__ import annotations

import collections
import dataclasses
import enum
import inspect
from collections import abc
from collections.abc import Callable, Iterable, Mapping
from types import NoneType
from typing import Annotated, Any, Final, Literal, NotRequired, Required, TypeVar, Union, get_args, get_origin

import attrs
from pydantic import AfterValidator, BaseModel, BeforeValidator, Field, Json, PlainValidator, RootModel, WrapValidator
from pydantic_core import PydanticCustomError
from typing_extensions import TypedDict, is_typeddict

from trio_ws.app.parameters.annotations import Scope, UnsupportedAnnotation, is_union, unaliased
from trio_ws.connection.serialization import from_json
from trio_ws.errors import InvalidMessage

__all__ = [
    "BodySchemas",
    "empty_typed_dict",
    "field_hint",
    "for_body",
    "for_text",
    "takes_many",
]

_CONCRETE: Final = (list, set, frozenset, tuple, collections.deque)
_ABSTRACT: Final = (abc.Sequence, abc.MutableSequence, abc.Set, abc.MutableSet)
# Of the first pydantic makes a lazy iterator, whose errors come at iteration; of the others nothing.
_LAZY: Final = (abc.Iterable, abc.Iterator, abc.Collection, abc.Reversible, abc.Container)
_MAPPINGS: Final = (dict, abc.Mapping, abc.MutableMapping)
_TYPED_DICT_OPTIONS: Final = ("__pydantic_config__", "__closed__", "__extra_items__", "__doc__", "__module__")


def _is_json(metadata: Iterable[object]) -> bool:
    return any(item is Json or type(item) is Json for item in metadata)


def _is_json_text(annotation: Any) -> bool:
    return annotation is Json or (get_origin(annotation) is Annotated and _is_json(get_args(annotation)[1:]))


def _checked_json(annotation: Any) -> Any:
    """Return a form of `pydantic.Json` with the checks of `from_json`."""
    return Annotated[annotation, BeforeValidator(_check_json)]


def _check_json(text: Any) -> Any:
    if isinstance(text, str | bytes):
        try:
            from_json(text)
        except InvalidMessage as error:
            raise PydanticCustomError("json_invalid", "{why}", {"why": str(error)}) from None
    return text


def takes_many(annotation: Any) -> bool:
    """Return True if an annotation takes all values of a repeated name."""
    annotation = unaliased(annotation)
    origin, args = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return not _is_json(args[1:]) and takes_many(args[0])
    if is_union(origin):
        return any(map(takes_many, args))
    kind = _kind(annotation)
    return kind in (*_ABSTRACT, *_LAZY) or (inspect.isclass(kind) and issubclass(kind, _CONCRETE))


# --- text --------------------------------------------------------------------------------------------------------


def for_text(annotation: Any) -> Any:
    """Return an annotation for one text, or for a list of texts.

    Of a union the first member that takes the text wins. No text means None. Literals and enums of
    numbers and truth values are found by how they are written.

    Raises:
        UnsupportedAnnotation: no text can become that.
    """
    annotation = unaliased(annotation)
    origin, args = get_origin(annotation), get_args(annotation)
    if _is_json_text(annotation):
        return _checked_json(annotation)
    if origin is Annotated:
        # A validator that runs first may make a text into anything.
        prepared = any(isinstance(item, BeforeValidator | PlainValidator | WrapValidator) for item in args[1:])
        return annotation if prepared and _is_record(_kind(args[0])) else Annotated[(for_text(args[0]), *args[1:])]
    if is_union(origin):
        return _first_of([for_text(member) for member in args if member is not NoneType])
    if takes_many(annotation):
        return _many_texts(annotation)
    return _one_text(annotation)


def _first_of(members: list[Any]) -> Any:
    if len(members) == 1:
        return members[0]
    return Annotated[Union[tuple(members)], Field(union_mode="left_to_right")]  # noqa: UP007 - the members vary


def _many_texts(annotation: Any) -> Any:
    kind, args = _kind(annotation), get_args(annotation)
    if any(arg is not ... and takes_many(arg) for arg in args):
        raise UnsupportedAnnotation(
            "a list of lists cannot be distinguished from a list: take pydantic.Json[...], one text of JSON"
        )
    made: Any = list if kind in _LAZY else kind
    texts = tuple(arg if arg is ... else for_text(arg) for arg in args)
    return made[texts] if texts else made


def _one_text(annotation: Any) -> Any:
    if get_origin(annotation) is Literal:
        return _found_by_text(annotation, get_args(annotation))
    kind = _kind(annotation)
    if inspect.isclass(kind) and issubclass(kind, enum.Enum):
        return _found_by_text(annotation, kind)
    if _is_record(kind):
        raise UnsupportedAnnotation(
            f"{kind.__name__} is made of several values: let Depends() make it of its fields, or take "
            f"pydantic.Json[{kind.__name__}], one text of JSON. Bodies are for listeners"
        )
    return annotation


def _kind(annotation: Any) -> Any:
    return get_origin(annotation) or annotation


def _is_record(kind: Any) -> bool:
    if not inspect.isclass(kind):
        return False
    if issubclass(kind, BaseModel):
        return not issubclass(kind, RootModel)
    return is_typeddict(kind) or dataclasses.is_dataclass(kind) or attrs.has(kind) or issubclass(kind, _MAPPINGS)


def _found_by_text(annotation: Any, values: Iterable[Any]) -> Any:
    """Return an annotation that also finds values by their written form."""
    plain = {value: value.value if isinstance(value, enum.Enum) else value for value in values}
    if all(isinstance(value, str) for value in plain.values()):
        return annotation
    found: dict[object, Any] = {}
    # Text first: where 1 and "1" are both there, "1" is what is written.
    for value, content in sorted(plain.items(), key=lambda pair: not isinstance(pair[1], str)):
        if isinstance(content, str | int | float):
            found.setdefault(str(content).lower() if isinstance(content, bool) else str(content), value)
    return Annotated[annotation, BeforeValidator(lambda text: found.get(text, text) if isinstance(text, str) else text)]


# --- bodies ------------------------------------------------------------------------------------------------------


def for_body(annotation: Any) -> Any:
    """Return an annotation for values from JSON.

    Attrs classes and every TypedDict are replaced by forms for pydantic, also in unions, collections, attrs classes and
    TypedDicts. The fields of pydantic's models and of dataclasses stay.
    """
    return BodySchemas().of(annotation)


class BodySchemas:
    """A walk through an annotation that remembers classes for recursive ones."""

    __slots__ = ("visited",)

    def __init__(self) -> None:
        self.visited: dict[Any, Any] = {}
        """What was made of each class so far."""

    def of(self, annotation: Any) -> Any:
        """Return the annotation that stands for another one."""
        if _is_json_text(annotation):
            return _checked_json(annotation)
        origin, args = get_origin(annotation), get_args(annotation)
        if inspect.isclass(annotation) and origin is None:
            return self._class(annotation)
        if origin is None or origin is Literal:
            return annotation
        return self._generic(annotation, origin, args)

    def _generic(self, annotation: Any, origin: Any, args: tuple[Any, ...]) -> Any:
        if origin is Annotated:
            return Annotated[(self.of(args[0]), *args[1:])]
        if _is_foreign_attrs(origin):
            return self._attrs(origin, args)
        shapes: tuple[Any, ...] = tuple(self.of(arg) for arg in args)
        if origin in _LAZY:
            return list[shapes]  # type: ignore[valid-type]
        if all(shape is arg for shape, arg in zip(shapes, args, strict=True)):
            return annotation
        if is_union(origin):
            return Union[shapes]  # noqa: UP007 - the members vary
        first, *others = shapes
        return origin[shapes if others else first]

    def _class(self, kind: type[Any]) -> Any:
        if kind in self.visited:
            return self.visited[kind]
        if kind in _LAZY:
            return list[Any]
        if is_typeddict(kind):
            return self._typed_dict(kind)
        return self._attrs(kind, ()) if _is_foreign_attrs(kind) else kind

    def _typed_dict(self, kind: type[Any]) -> Any:
        shape = self.visited[kind] = empty_typed_dict(kind)
        scope = Scope.of_body(kind)
        fields = {}
        for name, annotation in kind.__annotations__.items():
            hint = scope.resolve(name, annotation)
            qualified = {Required, NotRequired} & {get_origin(hint), *map(get_origin, get_args(hint))}
            fields[name] = self.of(hint) if qualified else _qualified(self.of(hint), name in kind.__required_keys__)
        shape.__annotations__ = fields
        return shape

    def _attrs(self, kind: type[Any], args: tuple[Any, ...]) -> Any:
        if (kind, args) in self.visited:
            return self.visited[kind, args]
        fields_of_kind = empty_typed_dict(kind)
        shape = self.visited[kind, args] = Annotated[fields_of_kind, AfterValidator(_maker(kind))]
        converted = getattr(kind.__init__, "__annotations__", {})  # of a field with a converter: what that takes
        fields = {}
        for field in attrs.fields(kind):
            if field.init:
                annotation = converted.get(field.alias, field.type or Any)
                hint = field_hint(kind, args, field.name, annotation)
                fields[field.alias] = _qualified(self.of(hint), field.default is attrs.NOTHING)
        fields_of_kind.__annotations__ = fields
        return shape


def _is_foreign_attrs(kind: Any) -> bool:
    """Return True for an attrs class without a schema for pydantic."""
    return inspect.isclass(kind) and attrs.has(kind) and not hasattr(kind, "__get_pydantic_core_schema__")


def empty_typed_dict(kind: type[Any]) -> Any:
    """Return a TypedDict without fields, with a class's name and options."""
    shape: Any = TypedDict(kind.__name__, {})  # type: ignore[misc]
    shape.__doc__ = kind.__doc__
    for name in _TYPED_DICT_OPTIONS:
        if name in vars(kind):
            setattr(shape, name, vars(kind)[name])
    return shape


def _qualified(annotation: Any, required: bool) -> Any:
    return Required[annotation] if required else NotRequired[annotation]


def field_hint(kind: type[Any], args: tuple[Any, ...], name: str, annotation: Any) -> Any:
    """Return the resolved annotation of a field, with its type parameters replaced.

    Raises:
        Exception: raised by the annotation, which is code.
    """
    hint = _get_scope(kind, name).resolve(name, annotation)
    given = dict(zip(getattr(kind, "__parameters__", ()), args, strict=False))
    if isinstance(hint, TypeVar):
        return given.get(hint, Any)
    free = getattr(hint, "__parameters__", ()) if get_origin(hint) is not None else ()
    return hint[tuple(given.get(parameter, Any) for parameter in free)] if free else hint


def _get_scope(kind: type[Any], name: str) -> Scope:
    """Return the scope of the base class that defines a field."""
    return Scope.of_body(next((base for base in kind.__mro__ if name in vars(base).get("__annotations__", {})), kind))


def _maker(kind: type[Any]) -> Callable[[Mapping[str, Any]], Any]:
    def make(values: Mapping[str, Any]) -> Any:
        try:
            return kind(**values)
        except TypeError as error:  # what validators of attrs raise
            raise ValueError(error.args[0] if error.args else error) from error

    return make
