"""Validation of texts and message bodies by annotation, with pydantic.

Pydantic validates. The module `schemas` replaces annotations that pydantic does not take.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Sequence
from typing import Any, Final, Literal

import attrs
from pydantic import ConfigDict, PydanticUserError, TypeAdapter, ValidationError
from pydantic_core import CoreConfig, SchemaValidator

from trio_ws.app.errors import ErrorDetail, ParameterError, RegistrationError
from trio_ws.app.parameters.annotations import UnsupportedAnnotation
from trio_ws.app.parameters.markers import MISSING
from trio_ws.app.parameters.schemas import for_body, for_text, takes_many
from trio_ws.connection.serialization import from_json, may_exceed

__all__ = ["Validator", "adapter_for", "details_from"]

MAX_ERRORS: Final = 100
"""Errors listed for one value, so that the answer to a huge list stays small."""


@attrs.frozen
class Validator:
    """Makes values of one type; `adapter_for` makes one."""

    validate: Callable[[Any], Any]
    """Pydantic's own, which raises its own errors."""
    many: bool
    """Whether all texts of a repeated name make one value."""
    validate_json: Callable[[str | bytes], Any]
    """Pydantic's own, for a text of JSON."""
    validate_text: Callable[[Any], Any]
    """Pydantic's own, without strictness: to a text, which has no other type, it would refuse nearly everything."""

    def from_strings(self, values: Sequence[str]) -> Any:
        """Return the value for the texts of one name, mostly the last.

        Args:
            values: at least one, decoded.

        Raises:
            ParameterError: they do not convert; `loc` is relative to the value.
        """
        return self.from_text(list(values) if self.many else values[-1])

    def from_text(self, value: Any) -> Any:
        """Return the value of a text, or of several.

        Raises:
            ParameterError: it does not validate; `loc` is relative to the value.
        """
        try:
            return self.validate_text(value)
        except ValidationError as error:
            raise ParameterError(details_from(error)) from None

    def from_body(self, value: Any) -> Any:
        """Return the validated value of decoded JSON, or of binary data.

        Raises:
            ParameterError: it does not validate; `loc` is relative to the value.
        """
        try:
            return self.validate(value)
        except ValidationError as error:
            raise ParameterError(details_from(error)) from None

    def from_json(self, message: str | bytes, *, value: Any = MISSING) -> Any:
        """Return the validated value of a JSON message.

        The rules for JSON apply: a strict model takes the text of a date.

        Args:
            message: text or binary.
            value: of the message, if it was read before.

        Raises:
            InvalidMessage: as `codec.from_json` raises it.
            ParameterError: it does not validate; `loc` is relative to the body.
        """
        if value is MISSING and (_is_special(message) or may_exceed(message)):
            value = from_json(message)  # pydantic's parser takes NaN, infinities and deeper nesting
        try:
            return self.validate_json(message)
        except ValidationError as error:
            errors = details_from(error)
        if errors[0].type == "json_invalid" and errors[0].loc == ():
            return self.from_body(from_json(message) if value is MISSING else value)  # of two parsers ours counts
        raise ParameterError(errors)


# Constants that are not JSON, and numbers that may be beyond a float: with fewer digits no exponent of two leads there.
_SPECIAL: Final = re.compile(r"NaN|Infinity|[eE]\+?[0-9]{3}|[0-9]{200}")
_SPECIAL_BYTES: Final = re.compile(_SPECIAL.pattern.encode())


def _is_special(message: str | bytes) -> bool:
    found = _SPECIAL.search(message) if isinstance(message, str) else _SPECIAL_BYTES.search(message)
    return found is not None


def details_from(error: ValidationError) -> list[ErrorDetail]:
    """Return the errors that pydantic reports, or that they are too many."""
    count = error.error_count()
    if count > MAX_ERRORS:
        return [ErrorDetail((), "too_many_problems", f"{count} problems: more than {MAX_ERRORS} are not listed")]
    return [
        ErrorDetail(each["loc"], each["type"], each["msg"])
        for each in error.errors(include_url=False, include_context=False, include_input=False)
    ]


def adapter_for(annotation: Any, *, source: Literal["body", "text"] = "body", where: str = "") -> Validator:
    """Return the validator for an annotation.

    Args:
        annotation: a type, its strings resolved; metadata of pydantic's in `Annotated` counts.
        source: "body": of values that JSON can hold, and bytes. "text": of texts.
        where: which parameter of what, for messages.

    Raises:
        RegistrationError: nothing can be made into that.
    """
    try:
        shape = for_text(annotation) if source == "text" else for_body(annotation)
        adapter = _finite_adapter(shape)
        # Of types that are not defined so far there is no validator: what stands in its place complains here.
        validate, validate_json = adapter.validator.validate_python, adapter.validator.validate_json
        schema: Any = adapter.core_schema
        lenient = _lenient(schema)
        validate_text = validate
        if lenient is not schema:
            validate_text = SchemaValidator(lenient, CoreConfig(allow_inf_nan=False)).validate_python
    except UnsupportedAnnotation as error:
        raise RegistrationError(f"{where or annotation}: {error}") from None
    except Exception as error:  # pydantic's are of several families, and users' types have their own
        raise RegistrationError(
            f"{where or annotation}: nothing that a client sends can be made into {annotation}: annotate it with "
            f"something else, or let Depends(...) provide it ({_first_line(error)})"
        ) from error
    return Validator(validate, source == "text" and takes_many(annotation), validate_json, validate_text)


def _lenient(schema: Any) -> Any:
    """Return a schema without strictness; the same object if it has none.

    JSON within a text keeps its strictness.
    """
    if type(schema) is dict:
        if schema.get("type") == "json":
            return schema
        of_values = ("default", "metadata") if isinstance(schema.get("type"), str) else ()  # else it maps fields
        items = {key: value if key in of_values else _lenient(value) for key, value in schema.items()}
        if items.get("strict") is True:
            del items["strict"]
        same = len(items) == len(schema) and all(map(operator.is_, items.values(), schema.values()))
        return schema if same else items
    if type(schema) in (list, tuple):
        parts = [_lenient(part) for part in schema]
        return schema if all(map(operator.is_, parts, schema)) else type(schema)(parts)
    return schema


def _finite_adapter(shape: Any) -> TypeAdapter[Any]:
    """Return an adapter for finite floats, unless a type allows others."""
    try:
        return TypeAdapter(shape, config=ConfigDict(allow_inf_nan=False))
    except PydanticUserError as error:
        if error.code != "type-adapter-config-unused":
            raise
    return TypeAdapter(shape)  # a model, which has a configuration of its own


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
