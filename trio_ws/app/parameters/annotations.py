"""Annotations of functions and classes, resolved in the scopes of their definition.

`get_label` returns the name of a callable for messages. `signature` decides about the sources of parameters.
"""

from __future__ import annotations

import builtins
import functools
import inspect
import sys
import typing
from collections.abc import Callable, Iterator
from types import FunctionType, NoneType, SimpleNamespace, UnionType
from typing import Annotated, Any, Self, Union, get_args, get_origin

from trio_ws.http.request import Request
from trio_ws.runtime.threads import underlying
from trio_ws.websocket.websocket import WebSocket

__all__ = [
    "Scope",
    "UnsupportedAnnotation",
    "allows_none",
    "get_label",
    "is_union",
    "unaliased",
    "unresolvable_message",
]

_RESOLVED = "__trio_ws_resolved__"
# What handlers are annotated with, also if it was imported under `if TYPE_CHECKING` only.
_OURS = {"Request": Request, "WebSocket": WebSocket}


def get_label(function: object) -> str:
    """Return the name of a callable for messages: module and qualified name."""
    while isinstance(function, functools.partial):
        function = function.func
    named = function if hasattr(function, "__qualname__") else type(function)
    return f"{getattr(named, '__module__', None) or '?'}.{getattr(named, '__qualname__', named)}"


def unresolvable_message(annotation: object, error: Exception) -> str:
    """Return the message for an unresolvable annotation, with the fix."""
    return (
        f"its annotation {annotation!r} cannot be resolved ({error}): import what it names where the function is "
        "defined, and not under TYPE_CHECKING only"
    )


class Scope:
    """The names that annotations may use in one place.

    Each resolved annotation is stored with its function or class: a function is inspected again when its router is
    included, and the names around it may be gone by then.

    Args:
        function: any callable; a class stands for its constructor.
    """

    __slots__ = ("_globals", "_known", "_locals")

    def __init__(self, function: Callable[..., Any]) -> None:
        target = underlying(function)
        if inspect.isclass(target):
            # Where the constructor was written, which may be a base class in another module.
            owner = next(
                (base for base in target.__mro__ if not {"__init__", "__new__"}.isdisjoint(vars(base))), target
            )
            self._look(_module_names(owner), f"{owner.__qualname__}.__init__")
            self._known = _get_known(vars(owner).get("__init__"))
        else:
            module = getattr(target, "__globals__", None)
            self._look(_module_names(target) if module is None else module, getattr(target, "__qualname__", ""))
            self._add(_closure(target))
            self._known = _get_known(target)
        self._add({parameter.__name__: parameter for parameter in getattr(target, "__type_params__", ())})

    @classmethod
    def of_body(cls, kind: type[Any]) -> Self:
        """Return the scope of the annotations in the body of a class."""
        scope = cls.__new__(cls)
        scope._look(_module_names(kind), f"{kind.__qualname__}.field")
        scope._known = _get_known(kind)
        return scope

    def _look(self, module: dict[str, Any], qualname: str) -> None:
        fallbacks = {**_OURS, **_class_names(module, qualname)}
        self._globals = module
        self._locals = {name: value for name, value in fallbacks.items() if name not in module}
        self._add(_enclosing_names(module, qualname))

    def _add(self, names: dict[str, Any]) -> None:
        # A lambda in an annotation that is a string sees globals only, so what is local here must be among them.
        if names:
            self._globals = {**self._globals, **names}
            self._locals.update(names)

    def resolve(self, name: str, annotation: Any) -> Any:
        """Return a resolved annotation with its metadata.

        Args:
            name: of the parameter, or the field, that is annotated.
            annotation: as it was written.

        Raises:
            Exception: raised by the annotation; NameError for a name that is not defined here.
        """
        known = self._known.get(name)
        if known is None or known[0] is not annotation:
            holder = SimpleNamespace(__annotations__={"it": annotation})
            hints = typing.get_type_hints(holder, self._globals, self._locals, include_extras=True)
            known = self._known[name] = annotation, hints["it"]
        return known[1]


def _get_known(holder: Any) -> dict[str, tuple[Any, Any]]:
    """Return the store of resolved annotations of a function or class body."""
    if not isinstance(holder, FunctionType | type):
        return {}
    if _RESOLVED not in vars(holder):
        setattr(holder, _RESOLVED, {})
    known: dict[str, tuple[Any, Any]] = vars(holder)[_RESOLVED]
    return known


def _module_names(target: object) -> dict[str, Any]:
    module = sys.modules.get(getattr(target, "__module__", None) or "")
    return {} if module is None else vars(module)


def _closure(target: Any) -> dict[str, Any]:
    """Return the variables of enclosing functions that a function uses."""
    names: dict[str, Any] = {}
    if isinstance(target, FunctionType):
        for name, cell in zip(target.__code__.co_freevars, target.__closure__ or (), strict=True):
            try:
                names[name] = cell.cell_contents
            except ValueError:  # not assigned yet
                continue
    return names


def _parents(qualname: str) -> Iterator[str]:
    """Yield the qualified names of enclosing functions and classes, the outermost first."""
    parts = qualname.split(".")
    for end in range(1, len(parts)):
        if parts[end - 1] != "<locals>":
            yield ".".join(parts[:end])


def _enclosing_names(module: dict[str, Any], qualname: str) -> dict[str, Any]:
    """Return the variables of enclosing functions and class bodies that are running.

    At registration they mostly are: a decorator is called by the scope in which the function is defined.
    """
    running: dict[str, dict[str, Any]] = {}
    wanted = set(_parents(qualname))
    frame = inspect.currentframe()
    while frame is not None and wanted:
        name = frame.f_code.co_qualname
        if name in wanted and frame.f_globals is module:
            wanted.discard(name)
            running[name] = dict(frame.f_locals)
        frame = frame.f_back
    names: dict[str, Any] = {}
    for parent in _parents(qualname):
        names.update(running.get(parent, {}))
    return names


def _class_names(module: dict[str, Any], qualname: str) -> dict[str, Any]:
    """Return the names in the classes around a method.

    Names that hide a built-in one, such as a method `list`, are left out.
    """
    names: dict[str, Any] = {}
    for parent in _parents(qualname):
        found: Any = SimpleNamespace(**module)
        for part in parent.split("."):
            found = getattr(found, part, None)
        if inspect.isclass(found):
            names.update((name, value) for name, value in vars(found).items() if not hasattr(builtins, name))
    return names


class UnsupportedAnnotation(Exception):  # noqa: N818 - a verdict on an annotation
    """An annotation without a form for text; the message has the fix."""


def is_union(origin: object) -> bool:
    """Return whether an origin is that of a union, in either spelling."""
    return origin is Union or origin is UnionType


def unaliased(annotation: Any) -> Any:
    """Return the type behind a NewType or a `type` statement."""
    while True:
        origin = get_origin(annotation)
        if hasattr(annotation, "__supertype__"):
            annotation = annotation.__supertype__
        elif origin is not None and hasattr(origin, "__value__"):
            annotation = origin.__value__[get_args(annotation)]
        elif origin is None and hasattr(annotation, "__value__") and not inspect.isclass(annotation):
            annotation = annotation.__value__
        else:
            return annotation


def allows_none(annotation: Any) -> bool:
    """Return True if an annotation allows None."""
    annotation = unaliased(annotation)
    if get_origin(annotation) is Annotated:
        return allows_none(get_args(annotation)[0])
    if is_union(get_origin(annotation)):
        return any(map(allows_none, get_args(annotation)))
    return annotation is None or annotation is NoneType
