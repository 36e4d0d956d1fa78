"""Path patterns of routes, and converters of their parameters.

A path is split at its slashes first and decoded afterwards, so an encoded slash is a character of a value. Nothing here
backtracks: the time to match grows with the length of the path. The router decides about the order of routes.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, Final, TypeAlias
from urllib.parse import quote, unquote_to_bytes
from uuid import UUID

import attrs

from trio_ws.app.errors import RegistrationError

__all__ = ["DEFAULT_CONVERTERS", "Converter", "PathPattern", "Segments", "segments"]

Segments: TypeAlias = list[str]
"""The texts between the slashes of a path, decoded: an encoded slash is a character of one."""

# RFC 3986 3.3: pchar without "%"; what else stands in a segment is percent-encoded.
_PCHAR = "!$&'()*+,;=:@"
# RFC 3986 5.2.4: a client removes these from a path, encoded or not, so no value can be one of them.
_DOTS = frozenset({".", ".."})
_PARAMETER = re.compile(r"\{([^{}]*)\}")
_RESERVED = frozenset("{}?#%")


def _compiled(regex: str | re.Pattern[str]) -> re.Pattern[str]:
    return re.compile(regex)


@attrs.frozen(kw_only=True)
class Converter:
    """A kind of path parameter with its text form: `{name:kind}`.

    Args:
        regex: must match the whole decoded text; otherwise the path does not match.
        convert: makes the value of the text; a `ValueError` means that the path does not match.
        format: makes the text of the value.
        spans: whether the text goes on over slashes.
        type: class of the results of `convert`, if it is one: annotations are checked against it.
    """

    regex: re.Pattern[str] = attrs.field(converter=_compiled)
    convert: Callable[[str], Any] = str
    format: Callable[[Any], str] = str
    spans: bool = False
    type: type[Any] | None = None

    def read(self, text: str) -> Any:
        """Return the value of a decoded text.

        Raises:
            ValueError: it has none.
        """
        if not self.regex.fullmatch(text) or not _DOTS.isdisjoint(text.split("/")):
            raise ValueError(f"{text!r} does not match {self.regex.pattern!r}")
        return self.convert(text)

    def write(self, value: Any) -> str:
        """Return the text of a value.

        Raises:
            ValueError: no path can hold it.
        """
        text = self.format(value)
        if not self.regex.fullmatch(text):
            raise ValueError(f"{value!r} cannot stand in a path: it does not match {self.regex.pattern!r}")
        if not _DOTS.isdisjoint(text.split("/")):
            raise ValueError(f"{value!r} cannot stand in a path: clients resolve '.' and '..'")
        return text


def _finite(text: str) -> float:
    value = float(text)
    if math.isinf(value):
        raise ValueError("too large for a float")
    return value


def _decimal(value: float) -> str:
    """Write a float without an exponent, every digit of it."""
    from decimal import Decimal  # noqa: PLC0415 - its import takes long

    return format(Decimal(repr(float(value))), "f")


DEFAULT_CONVERTERS: Final[Mapping[str, Converter]] = MappingProxyType(
    {
        "str": Converter(regex="(?s:.+)", type=str),
        "int": Converter(regex="-?[0-9]+", convert=int, type=int),
        "float": Converter(regex=r"-?[0-9]+(\.[0-9]+)?", convert=_finite, format=_decimal, type=float),
        "uuid": Converter(
            regex="[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}", convert=UUID, format=str, type=UUID
        ),
        "path": Converter(regex="(?s:.*)", spans=True, type=str),
    }
)
"""`{name}` and `{name:str}`: one segment, not empty. `{name:path}`: any number of them, also none."""


@attrs.frozen(eq=False, repr=False)
class _PatternSegment:
    """A segment of a pattern: literal text around at most one parameter."""

    prefix: str
    suffix: str = ""
    name: str | None = None
    converter: Converter | None = None

    @property
    def spans(self) -> bool:
        return self.converter is not None and self.converter.spans

    @property
    def shape(self) -> tuple[object, ...]:
        return (self.prefix, self.suffix, self.converter)

    def fits(self, text: str) -> bool:
        """Compare the literal text."""
        if self.name is None:
            return text == self.prefix
        return len(text) >= len(self.prefix) + len(self.suffix) and self.fits_ends(text, text)

    def fits_ends(self, first: str, last: str) -> bool:
        """Return True if the text around a parameter fits a path's segments."""
        return first.startswith(self.prefix) and last.endswith(self.suffix)

    def read(self, text: str, values: dict[str, Any]) -> bool:
        """Store the parameter's value in a text; return True if it fits."""
        assert self.name is not None
        assert self.converter is not None
        if not self.fits(text):
            return False
        try:
            values[self.name] = self.converter.read(text[len(self.prefix) : len(text) - len(self.suffix)])
        except ValueError:
            return False
        return True

    def write(self, values: Mapping[str, Any]) -> str:
        if self.name is None or self.converter is None:
            return _quoted(self.prefix)
        text = self.prefix + self.converter.write(values[self.name]) + self.suffix
        return "/".join(map(_quoted, text.split("/"))) if self.spans else _quoted(text)


def _quoted(text: str) -> str:
    return quote(text, safe=_PCHAR)


_FOREIGN_PARAMETER: Final = re.compile(r":(?P<name>[^\W\d]\w*)|<(?:\w+:)?(?P<flask>[^\W\d]\w*)>")
"""Parameters as other frameworks write them: `:name`, `<name>`, `<int:name>`."""


class PathPattern:
    """The path of a route, such as `/chat/{channel}/{number:int}`.

    A segment holds at most one parameter, with literal text around it if need be (`/@{user}`, `/{name}.json`), and
    a pattern at most one that spans segments. Trailing slashes count. Literal text is written decoded.

    Args:
        path: begins with a slash.
        converters: kinds of parameters by name, beside `DEFAULT_CONVERTERS` and before them.

    Raises:
        RegistrationError: the pattern is malformed; the message has the position.
    """

    __slots__ = ("_after", "_before", "_span", "names", "path", "types")

    def __init__(self, path: str, converters: Mapping[str, Converter] = MappingProxyType({})) -> None:
        if not path.startswith("/"):
            raise RegistrationError(f"path {path!r}: it must begin with a slash: {'/' + path!r}")
        parts = [_part(path, segment, {**DEFAULT_CONVERTERS, **converters}) for segment in path.split("/")]
        spans = [index for index, part in enumerate(parts) if part.spans]
        if len(spans) > 1:
            raise RegistrationError(f"path {path!r}: only one parameter may span segments")
        end = spans[0] if spans else len(parts)
        self.path: Final = path
        self._before: Final = tuple(parts[:end])
        self._span: Final = parts[end] if spans else None
        self._after: Final = tuple(parts[end + 1 :])
        named = [(part.name, part.converter) for part in parts if part.name is not None and part.converter is not None]
        self.names: Final = tuple(name for name, _ in named)
        """The parameters, in order."""
        self.types: Final = MappingProxyType({name: converter.type for name, converter in named})
        """The class of each parameter's value; None if the converter has none."""
        if len(self.types) < len(self.names):
            raise RegistrationError(f"path {path!r}: a name occurs twice: give each parameter a name of its own")

    @property
    def address(self) -> str:
        """The path with the names of its parameters alone, `/chat/{number}`."""
        return _PARAMETER.sub(lambda found: f"{{{found[1].partition(':')[0]}}}", self.path)

    @property
    def shape(self) -> tuple[object, ...]:
        """The pattern without names; equal shapes match the same paths."""
        span = None if self._span is None else self._span.shape
        return (tuple(part.shape for part in self._before), span, tuple(part.shape for part in self._after))

    def match(self, raw_path: str) -> dict[str, Any] | None:
        """Return the values of the parameters, None for another path.

        Args:
            raw_path: as it travels, percent-encoded, without the query.
        """
        path = segments(raw_path)
        return None if path is None else self.read(path)

    def read(self, path: Segments) -> dict[str, Any] | None:
        """Return the parameters of a split path, None if it differs.

        All literal text is compared before any value is read, so that few patterns read a long path.

        Args:
            path: the segments of a path, decoded; `segments` makes them.
        """
        begin, split = len(self._before), len(path) - len(self._after)
        if split < begin + (self._span is not None) or (self._span is None and split > begin):
            return None
        pairs = [*zip(self._before, path[:begin], strict=True), *zip(self._after, path[split:], strict=True)]
        if not all(part.fits(text) for part, text in pairs):
            return None
        values: dict[str, Any] = {}
        if not all(part.read(text, values) for part, text in pairs if part.name is not None):
            return None
        if self._span is not None:
            first, last = path[begin], path[split - 1]
            if not self._span.fits_ends(first, last) or not self._span.read("/".join(path[begin:split]), values):
                return None
        return values

    def build(self, **values: Any) -> str:
        """Return the percent-encoded path with these values, the inverse of `match`.

        Raises:
            ValueError: a parameter has no value, a value has no parameter, or a value cannot stand in a path.
        """
        if missing := [name for name in self.names if name not in values]:
            raise ValueError(f"path {self.path!r} needs {', '.join(missing)}")
        if extra := [name for name in values if name not in self.types]:
            raise ValueError(f"path {self.path!r} has no parameter {', '.join(extra)}")
        parts = [*self._before, *([] if self._span is None else [self._span]), *self._after]
        return "/".join(part.write(values) for part in parts)

    def __repr__(self) -> str:
        return f"PathPattern({self.path!r})"


def segments(raw_path: str) -> Segments | None:
    """Return the decoded segments of a path, None without UTF-8.

    Args:
        raw_path: as it travels, percent-encoded, without the query.
    """
    texts = raw_path.split("/")
    if raw_path.isascii() and "%" not in raw_path:
        return texts
    try:
        return [unquote_to_bytes(text).decode() for text in texts]
    except UnicodeError:
        return None


def _part(path: str, segment: str, converters: Mapping[str, Converter]) -> _PatternSegment:
    """Read one segment of a pattern."""
    pieces = _PARAMETER.split(segment)
    if len(pieces) > 3:
        raise RegistrationError(f"path {path!r}: {segment!r} holds two parameters: one segment takes one of them")
    for literal in pieces[::2]:
        if not _RESERVED.isdisjoint(literal):
            raise RegistrationError(
                f"path {path!r}: {literal!r} holds one of {{}}?#%: write parameters as {{name}} or {{name:int}}, "
                "and other text decoded"
            )
    if len(pieces) == 1:
        if foreign := _FOREIGN_PARAMETER.fullmatch(segment):
            name = foreign["name"] or foreign["flask"]
            raise RegistrationError(f"path {path!r}: write the parameter {segment!r} as {{{name}}}")
        if segment in _DOTS:
            raise RegistrationError(f"path {path!r}: clients resolve '.' and '..': no path that arrives holds them")
        return _PatternSegment(segment)
    prefix, parameter, suffix = pieces
    name, colon, kind = parameter.partition(":")
    if not name.isidentifier():
        raise RegistrationError(f"path {path!r}: {name!r} is no name: write {{name}} or {{name:int}}")
    if (converter := converters.get(kind if colon else "str")) is None:
        if name in converters:
            raise RegistrationError(f"path {path!r}: the name comes first: write {{{kind}:{name}}}")
        raise RegistrationError(f"path {path!r}: there is no converter {kind!r}, only {', '.join(sorted(converters))}")
    return _PatternSegment(prefix, suffix, name, converter)
