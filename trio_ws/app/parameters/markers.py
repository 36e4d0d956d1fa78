"""Markers of parameters' sources: Query, Header, Cookie, Path, Depends and WsBody.

Each is written as a default, `name: str = Query("John")`, or in the annotation, `name: Annotated[str, Query()] = "x"`.
They are functions that return `Any`, so that a type checker lets them stand in for a default of any type. The module
`signature` reads them.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias

import attrs

from trio_ws.app.errors import RegistrationError
from trio_ws.options import check_flag, check_text, unknown_hint

if TYPE_CHECKING:
    from pydantic.fields import FieldInfo

__all__ = [
    "MISSING",
    "Body",
    "BodyMarker",
    "Cookie",
    "Depends",
    "DependsMarker",
    "Form",
    "Header",
    "Marker",
    "Missing",
    "Path",
    "Query",
    "RefusedMarker",
    "ValueMarker",
    "WsBody",
]


class Missing(Enum):
    """The type of `MISSING`."""

    MISSING = "missing"


MISSING: Final = Missing.MISSING
"""No default, so that the parameter is required."""


# Compared by identity: a default need not be hashable, and `Annotated` wants its metadata to be.
@attrs.frozen(eq=False)
class ValueMarker:
    """A parameter's value is text of the request."""

    source: Literal["query", "header", "cookie", "path"]
    default: Any = MISSING
    alias: str | None = attrs.field(default=None)
    description: str = ""
    field: FieldInfo | None = None
    """Constraints of the value."""

    @alias.validator
    def _check_alias(self, _: object, alias: object) -> None:
        if alias is not None:
            check_text("alias", alias)


@attrs.frozen(eq=False)
class DependsMarker:
    """A parameter with the result of a dependency, or of its annotation."""

    dependency: Callable[..., Any] | None = None
    use_cache: bool = True
    in_loop: bool = False


@attrs.frozen(eq=False)
class BodyMarker:
    """A listener's parameter is the body of the message."""

    description: str = ""


@attrs.frozen(eq=False)
class RefusedMarker:
    """A parameter of an HTTP body, which a WebSocket request cannot have."""

    name: str


Marker: TypeAlias = ValueMarker | DependsMarker | BodyMarker | RefusedMarker


def _default(value: Any) -> Any:
    """Ellipsis means "required", as users of FastAPI and pydantic write it."""
    return MISSING if value is ... else value


_CONSTRAINTS: Final = (
    *("gt", "ge", "lt", "le", "multiple_of", "allow_inf_nan", "max_digits", "decimal_places"),
    *("min_length", "max_length", "pattern", "strict"),
)


def _constrained(constraints: dict[str, Any], marker: str) -> FieldInfo | None:
    for name in constraints:
        if name not in _CONSTRAINTS:
            options = ("default", "alias", "description", *_CONSTRAINTS)
            raise RegistrationError(
                f"{marker}() has no option {name!r}{unknown_hint(name, options)}. All others of pydantic's Field go "
                f"into the annotation: Annotated[int, {marker}(), Field({name}=...)]"
            )
    if not constraints:
        return None
    from pydantic import Field  # noqa: PLC0415 - its import takes long

    field: FieldInfo = Field(**constraints)
    return field


# The names are the field's, and they stand where class names would.


def Query(  # noqa: N802
    default: Any = ..., *, alias: str | None = None, description: str = "", **constraints: Any
) -> Any:
    """Take a parameter from the query.

    Args:
        default: its value if the query does not hold it; left out, it is required. It is not validated, and copied for
            each connection if it is mutable.
        alias: its name in the query, if it is not the parameter's.
        description: for people.
        constraints: of its value, as pydantic's `Field` has them: `ge=1`, `max_length=80`, `pattern="[a-z]+"`, ...

    Raises:
        RegistrationError: there is no such constraint.
    """
    return ValueMarker("query", _default(default), alias, description, _constrained(constraints, "Query"))


def Header(  # noqa: N802
    default: Any = ..., *, alias: str | None = None, description: str = "", **constraints: Any
) -> Any:
    """Take a parameter from a header: `x_token` is `X-Token`.

    A list takes repeated headers. See `Query`.
    """
    return ValueMarker("header", _default(default), alias, description, _constrained(constraints, "Header"))


def Cookie(  # noqa: N802
    default: Any = ..., *, alias: str | None = None, description: str = "", **constraints: Any
) -> Any:
    """Take a parameter from a cookie; see `Query`."""
    return ValueMarker("cookie", _default(default), alias, description, _constrained(constraints, "Cookie"))


def Path(  # noqa: N802
    default: Any = ..., *, alias: str | None = None, description: str = "", **constraints: Any
) -> Any:
    """Take a parameter from the route's path.

    It is required only for an `alias` or for constraints. See `Query`.

    Raises:
        RegistrationError: there is no such constraint, or it has a default, though the path always holds it.
    """
    if default is not ...:
        raise RegistrationError("Path() takes no default: the path always holds its parameters")
    return ValueMarker("path", MISSING, alias, description, _constrained(constraints, "Path"))


def Depends(  # noqa: N802
    dependency: Callable[..., Any] | None = None, *, use_cache: bool = True, in_loop: bool = False
) -> Any:
    """Take a parameter from a dependency.

    Args:
        dependency: a function or a class, whose own parameters are filled like a handler's. If it is a generator
            function (with or without `@asynccontextmanager`) or a class with `__aenter__`, it is entered, and left
            when the connection has ended. Left out, the annotation is the dependency. A plain `def`, or a class, is
            called in a thread.
        use_cache: call it once for a connection; else once for each parameter.
        in_loop: call a plain one in the event loop instead: it is cheap, and never blocks.

    Raises:
        TypeError: a switch is neither True nor False.
    """
    check_flag("use_cache", use_cache)
    check_flag("in_loop", in_loop)
    return DependsMarker(dependency, use_cache, in_loop)


def WsBody(*, description: str = "") -> Any:  # noqa: N802
    """Take a listener's parameter from the body of the message."""
    return BodyMarker(description)


def Body(*_: Any, **__: Any) -> Any:  # noqa: N802
    """Raise an error at registration, since WebSocket requests have no body.

    A listener's messages have one; see `WsBody`.
    """
    return RefusedMarker("Body")


def Form(*_: Any, **__: Any) -> Any:  # noqa: N802
    """Raise an error at registration, since WebSocket requests have no form.

    See `Query` and `WsBody`.
    """
    return RefusedMarker("Form")
