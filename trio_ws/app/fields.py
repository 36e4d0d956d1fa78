"""Pydantic's `Field(...)` as a parameter's default or in its annotation."""

from __future__ import annotations

from inspect import Parameter
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal, get_args, get_origin

import attrs

from trio_ws.app.parameters.annotations import UnsupportedAnnotation
from trio_ws.app.parameters.kinds import is_field
from trio_ws.app.parameters.markers import MISSING, Marker, ValueMarker

if TYPE_CHECKING:
    from pydantic.fields import FieldInfo

__all__ = ["BARE", "TELLING", "Reading"]

BARE: Final = Parameter.empty
"""There is no annotation."""
TELLING: Final = (bool, int, float, str)
"""Types of defaults that stand in for an annotation."""


@attrs.frozen(eq=False, repr=False)
class Reading:
    """The annotation and default of a parameter."""

    annotation: Any
    marker: Marker | None
    default: Any

    def without_fields(self, source: Literal["path", "query"] | None) -> Reading:
        """Return the annotation and default with the parts of fields taken apart.

        Fields are `Field(1, ge=1)` and the constraints of `Query(ge=1)`.

        Args:
            source: where the value comes from if there is no marker; None for a value that the caller provides.

        Raises:
            UnsupportedAnnotation: a field has a `default_factory`.
        """
        annotation, marker, default = self.annotation, self.marker, self.default
        written = _fields_in(annotation)
        field = marker.field if isinstance(marker, ValueMarker) else None
        if is_field(default):
            field, default = default, MISSING
        for each in (*written, *([] if field is None else [field])):
            if each.default_factory is not None:
                raise UnsupportedAnnotation(
                    "a default_factory has no place here: a default that can be changed is copied"
                )
            if default is MISSING and _has_default(each) and each.default is not ...:
                default = each.default
            if each.alias is not None:
                marker = _with_alias(marker, each.alias, source)
        if any(each.alias is not None or _has_default(each) for each in written):
            annotation = _with_constraints_only(annotation)
        if field is not None and field.metadata:
            kind = type(default) if annotation is BARE and type(default) in TELLING else annotation
            annotation = Annotated[(str if kind is BARE else kind, *field.metadata)]
        return Reading(annotation, marker, default)


def _has_default(field: FieldInfo) -> bool:
    from pydantic_core import PydanticUndefined  # noqa: PLC0415 - a field exists, so it is imported

    return field.default is not PydanticUndefined


def _fields_in(annotation: Any) -> list[FieldInfo]:
    if get_origin(annotation) is not Annotated:
        return []
    return [item for item in get_args(annotation)[1:] if is_field(item)]


def _with_alias(marker: Marker | None, alias: str, source: Literal["path", "query"] | None) -> Marker | None:
    if isinstance(marker, ValueMarker):
        return attrs.evolve(marker, alias=marker.alias or alias)
    return marker if marker is not None or source is None else ValueMarker(source, alias=alias)


def _with_constraints_only(annotation: Any) -> Any:
    """Return an annotation without the aliases and defaults of its fields.

    Pydantic would warn about them.
    """
    bare, *metadata = get_args(annotation)
    flat = [part for item in metadata for part in (item.metadata if is_field(item) else [item])]
    return Annotated[(bare, *flat)] if flat else bare
