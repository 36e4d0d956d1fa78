"""Recognition of pydantic's classes without importing pydantic.

Before its first import there are no instances of them.
"""

from __future__ import annotations

import inspect
import sys
from typing import TYPE_CHECKING, Any, TypeGuard

if TYPE_CHECKING:
    from pydantic import BaseModel
    from pydantic.fields import FieldInfo
    from pydantic_core import ValidationError

__all__ = ["is_field", "is_model", "is_model_class", "is_validation_error"]


def is_field(value: object) -> TypeGuard[FieldInfo]:
    """Return True for what pydantic's `Field(...)` returns."""
    return isinstance(value, _class("pydantic.fields", "FieldInfo"))


def is_model(value: object) -> TypeGuard[BaseModel]:
    """Return True for an instance of a model."""
    return isinstance(value, _class("pydantic.main", "BaseModel"))


def is_model_class(kind: object) -> TypeGuard[type[BaseModel]]:
    """Return True for a model."""
    return inspect.isclass(kind) and issubclass(kind, _class("pydantic.main", "BaseModel"))


def is_validation_error(error: object) -> TypeGuard[ValidationError]:
    """Return True for an error with what does not validate."""
    return isinstance(error, _class("pydantic_core", "ValidationError"))


def _class(module: str, name: str) -> Any:
    """Return a class of a module, or the empty tuple of classes if that was not imported."""
    return getattr(sys.modules.get(module), name, ())
