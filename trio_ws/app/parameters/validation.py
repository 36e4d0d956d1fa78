"""Conversion: values from the texts of a request, and from the bodies of messages, by annotation.

The validating is pydantic's. What it cannot take as it is, `shapes` puts into its terms.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any, Final, Literal

import attrs
from pydantic import ConfigDict, PydanticUserError, TypeAdapter, ValidationError
from pydantic_core import CoreConfig, SchemaValidator

from trio_ws.app.errors import ErrorDetail, ParameterError, RegistrationError
from trio_ws.app.parameters.markers import MISSING
from trio_ws.app.parameters.schemas import UnsupportedAnnotation, for_body, for_text, takes_many
from trio_ws.connection.serialization import from_json, may_exceed

__all__ = ["Validator", "adapter_for", "problems_of"]

MAX_PROBLEMS: Final = 100
"""Problems of one value that are listed: a list of a million wrong items shall not be answered with a million."""


@attrs.frozen
class Validator:
    """Makes values of one type; `adapter_for` makes one."""

    validate: Callable[[Any], Any]
    """Pydantic's own, which raises its own errors."""
    many: bool
    """Whether all texts of a repeated name make one value."""
    validate_json: Callable[[str | bytes], Any]
    """Pydantic's own, for a text of JSON."""

    def from_strings(self, values: Sequence[str]) -> Any:
        """Return the value of the texts that came under one name; only the last counts if it does not take many.

        Args:
            values: at least one, decoded.

        Raises:
            ParameterError: they do not convert; `loc` is relative to the value.
        """
        return self.from_body(list(values) if self.many else values[-1])

    def from_body(self, value: Any) -> Any:
        """Return what is to be made of a value that was read from JSON, or of a message's text or bytes.

        Raises:
            ParameterError: it does not validate; `loc` is relative to the value.
        """
        try:
            return self.validate(value)
        except ValidationError as error:
            raise ParameterError(problems_of(error)) from None

    def from_json(self, message: str | bytes, *, value: Any = MISSING) -> Any:
        """Return what is to be made of a message of JSON, by the rules for JSON: a strict model takes a date's text.

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
            problems = problems_of(error)
        if problems[0].type == "json_invalid" and problems[0].loc == ():
            return self.from_body(from_json(message) if value is MISSING else value)  # of two parsers ours counts
        raise ParameterError(problems)


# Constants that are not JSON, and numbers that may be beyond a float: with fewer digits no exponent of two leads there.
_SPECIAL: Final = re.compile(r"NaN|Infinity|[eE]\+?[0-9]{3}|[0-9]{200}")
_SPECIAL_BYTES: Final = re.compile(_SPECIAL.pattern.encode())


def _is_special(message: str | bytes) -> bool:
    found = _SPECIAL.search(message) if isinstance(message, str) else _SPECIAL_BYTES.search(message)
    return found is not None


def problems_of(error: ValidationError) -> list[ErrorDetail]:
    """Return what pydantic complains of, or that it is too much."""
    count = error.error_count()
    if count > MAX_PROBLEMS:
        return [ErrorDetail((), "too_many_problems", f"{count} problems: more than {MAX_PROBLEMS} are not listed")]
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
        if source == "text" and (lenient := _lenient(adapter.core_schema)) != adapter.core_schema:
            validate = SchemaValidator(lenient, CoreConfig(allow_inf_nan=False)).validate_python
    except UnsupportedAnnotation as error:
        raise RegistrationError(f"{where or annotation}: {error}") from None
    except Exception as error:  # pydantic's are of several families, and users' types have their own
        raise RegistrationError(
            f"{where or annotation}: nothing that a client sends can be made into {annotation}: annotate it with "
            f"something else, or let Depends(...) provide it ({_first_line(error)})"
        ) from error
    return Validator(validate, source == "text" and takes_many(annotation), validate_json)


def _lenient(schema: Any) -> Any:
    """Return a schema of pydantic's without strictness: everything in a request is text, which strictness would refuse.

    What is JSON within a text keeps its own.
    """
    match schema:
        case {"type": "json"}:
            return schema
        case dict():
            return {key: _lenient(value) for key, value in schema.items() if (key, value) != ("strict", True)}
        case list() | tuple():
            return type(schema)(map(_lenient, schema))
        case _:
            return schema


def _finite_adapter(shape: Any) -> TypeAdapter[Any]:
    """Return an adapter whose floats are finite, since JSON has no others; a type may say otherwise for its own."""
    try:
        return TypeAdapter(shape, config=ConfigDict(allow_inf_nan=False))
    except PydanticUserError as error:
        if error.code != "type-adapter-config-unused":
            raise
    return TypeAdapter(shape)  # a model, which has a configuration of its own


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
