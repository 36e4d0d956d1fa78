"""Errors of a dependency's validators, located at the parameters of its constructor."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Final

import attrs

from trio_ws.app.errors import ErrorDetail
from trio_ws.app.parameters.kinds import is_model_class, is_validation_error
from trio_ws.app.parameters.signature import ParameterSource

if TYPE_CHECKING:
    from trio_ws.app.parameters.signature import Parameter, Signature

__all__ = ["TEXTS", "invalid_fields", "place_of"]

TEXTS: Final = frozenset({ParameterSource.PATH, ParameterSource.QUERY, ParameterSource.HEADER, ParameterSource.COOKIE})
"""Sources of parameters that are text of the request."""


def invalid_fields(signature: Signature, error: Exception) -> list[ErrorDetail] | None:
    """Return the errors of a class's validators, None for any other error."""
    import dataclasses  # noqa: PLC0415 - seldom needed

    kind = signature.function
    if is_validation_error(error):
        from trio_ws.app.parameters.validation import details_from  # noqa: PLC0415 - it imports pydantic

        own = is_model_class(kind) or (inspect.isclass(kind) and dataclasses.is_dataclass(kind))
        return [_at_source(signature, detail) for detail in details_from(error)] if own else None
    if not inspect.isclass(kind):
        return None
    validates = attrs.has(kind) or (isinstance(error, ValueError) and dataclasses.is_dataclass(kind))
    detail = ErrorDetail((), "value_error", str(error.args[0] if error.args else error))
    return [_at_source(signature, detail)] if validates else None


def _at_source(signature: Signature, detail: ErrorDetail) -> ErrorDetail:
    """Return an error of a field with the location of its parameter."""
    texts = [parameter for parameter in signature.parameters if parameter.source in TEXTS]
    if not detail.loc:  # of all fields together
        return detail.with_prefix(*(texts[0].source.value,) if texts else ())
    name, *rest = detail.loc
    for parameter in texts:
        if name in (parameter.name, parameter.key):
            return attrs.evolve(detail, loc=(*place_of(parameter), *rest))
    return detail


def place_of(parameter: Parameter) -> tuple[str, str]:
    """Return the beginning of the location of a parameter's errors."""
    return parameter.source.value, parameter.key
