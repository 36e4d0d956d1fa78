"""Annotations of methods that find a method of their class instead of a type (PEP 649).

From Python 3.14 on an annotation is evaluated when it is first asked for, with the names of the finished class: below a
method `bytes`, `data: bytes` is that method. Older Pythons have evaluated it before the method was there.
"""

from __future__ import annotations
import __future__

import inspect
import re
import sys
from collections.abc import Iterator
from types import FunctionType
from typing import Any, Final, get_args

__all__ = ["shadowed_annotation"]

_NAME: Final = re.compile(r"(?<![\w.])[^\W\d]\w*")
_AS_TEXT: Final = __future__.annotations.compiler_flag


def shadowed_annotation(function: object, owner: type) -> str:
    """Explain an annotation that names a method of its class; return "" if there is none.

    Annotations that are text, by `from __future__ import annotations` say, are resolved around the class.

    Args:
        function: a method, not bound.
        owner: its class.
    """
    if not isinstance(function, FunctionType) or function.__code__.co_flags & _AS_TEXT:
        return ""
    for parameter, annotation in _written(function).items():
        for name in _names(annotation):
            if _is_method(owner, name):
                place = "the result" if parameter == "return" else f"parameter {parameter!r}"
                return (
                    f"{place} is annotated with {name}, and {owner.__qualname__} has a method of that name: from "
                    "Python 3.14 on it is the method (PEP 649). Rename the method, or start the module with "
                    "`from __future__ import annotations`"
                )
    return ""


def _is_method(owner: type, name: str) -> bool:
    found = inspect.getattr_static(owner, name, None)
    # A listener has wrapped a function; an alias of a type, such as `Data = dict[str, int]`, is none.
    return isinstance(found, FunctionType | staticmethod | classmethod | property) or hasattr(found, "receive_callback")


def _written(function: FunctionType) -> dict[str, Any]:
    """Return a function's annotations without evaluating any, where Python has not done so."""
    if sys.version_info >= (3, 14):
        import annotationlib  # noqa: PLC0415 - new in 3.14

        return dict(annotationlib.get_annotations(function, format=annotationlib.Format.STRING))
    return dict(function.__annotations__)


def _names(annotation: Any) -> Iterator[str]:
    """Yield the names in an annotation."""
    if isinstance(annotation, str):
        yield from _NAME.findall(annotation)
    elif isinstance(annotation, type) and not get_args(annotation):
        if "." not in annotation.__qualname__:
            yield annotation.__name__
    else:
        for part in get_args(annotation):
            yield from _names(part)
