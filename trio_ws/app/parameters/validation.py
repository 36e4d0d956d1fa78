"""Conversion: values from the texts of a request, and from the bodies of messages, by annotation.

The validating is pydantic's. What it cannot take as it is, `shapes` puts into its terms.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final, Literal

import attrs
from pydantic import TypeAdapter, ValidationError

from trio_ws.app.errors import ErrorDetail, ParameterError, RegistrationError
from trio_ws.app.parameters.schemas import UnsupportedAnnotation, for_body, for_text, takes_many

__all__ = ["Validator", "adapter_for"]

MAX_PROBLEMS: Final = 100
"""Problems of one value that are listed: a list of a million wrong items shall not be answered with a million."""


@attrs.frozen
class Validator:
    """Makes values of one type; `adapter_for` makes one."""

    validate: Callable[[Any], Any]
    """Pydantic's own, which raises its own errors."""
    many: bool
    """Whether all texts of a repeated name make one value."""

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
            raise ParameterError(_problems(error)) from None


def _problems(error: ValidationError) -> list[ErrorDetail]:
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
        adapter: TypeAdapter[Any] = TypeAdapter(shape)
        # Of types that are not defined so far there is no validator: what stands in its place complains here.
        validate = adapter.validator.validate_python
    except UnsupportedAnnotation as error:
        raise RegistrationError(f"{where or annotation}: {error}") from None
    except Exception as error:  # pydantic's are of several families, and users' types have their own
        raise RegistrationError(
            f"{where or annotation}: nothing that a client sends can be made into {annotation}: annotate it with "
            f"something else, or let Depends(...) provide it ({_first_line(error)})"
        ) from error
    return Validator(validate, source == "text" and takes_many(annotation))


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
