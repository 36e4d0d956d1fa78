"""JSON schemas of annotations, in the dialect of AsyncAPI (a superset of draft 7)."""

from __future__ import annotations

import json
from typing import Any, Final, Literal, TypeAlias

from pydantic import TypeAdapter
from pydantic.json_schema import GenerateJsonSchema

from trio_ws.app.parameters.schemas import BodySchemas

__all__ = ["REF", "Schema", "SchemaCollector"]

Schema: TypeAlias = dict[str, Any]
REF: Final = "#/components/schemas/"

_MAPS: Final = ("properties", "patternProperties")
_SCHEMAS: Final = ("additionalProperties", "contains", "items", "not", "propertyNames")
_LISTS: Final = ("allOf", "anyOf", "oneOf")
_VALUES: Final = ("const", "default", "enum", "examples")
_IN: Final = "-Input"
_OUT: Final = "-Output"
"""What pydantic puts behind the name of a class that has two schemas."""
_DROPPED: Final = ("$defs", "discriminator")
"""Keywords that AsyncAPI lacks, or has with another meaning: the members of a union are told apart by constants."""


class _Generator(GenerateJsonSchema):
    """Pydantic's generator, for which every type has a schema: an unknown one takes anything."""

    def emit_warning(self, kind: Any, detail: str) -> None:
        """Ignore what the schema leaves out, such as a default that is no JSON."""

    def handle_invalid_for_json_schema(self, schema: Any, error_info: str) -> dict[str, Any]:
        return {}


class SchemaCollector:
    """Types, and the schemas of all of them together, so that each class has one name."""

    def __init__(self) -> None:
        self._forms = BodySchemas()  # of all types, so that each attrs class has one form
        self._adapters: list[tuple[int, Literal["validation", "serialization"], TypeAdapter[Any]]] = []
        self._schemas: dict[int, Schema] = {}
        self._shared: dict[str, Schema] = {}
        self._count = 0

    def add(self, annotation: Any, mode: Literal["validation", "serialization"]) -> int:
        """Add a type; return its key."""
        self._count += 1
        try:
            adapter: TypeAdapter[Any] = TypeAdapter(self._forms.of(annotation))
            adapter.json_schema(mode=mode, schema_generator=_Generator)
        except Exception:  # of a type that pydantic has no schema for; the users' own raise anything
            return self._count
        self._adapters.append((self._count, mode, adapter))
        return self._count

    def build(self) -> dict[str, Schema]:
        """Make the schemas; return those of classes by their names."""
        found, shared = TypeAdapter.json_schemas(
            self._adapters, by_alias=True, ref_template=f"{REF}{{model}}", schema_generator=_Generator
        )
        converted = {name: _converted(schema) for name, schema in shared.get("$defs", {}).items()}
        names = _common_names(converted)
        self._schemas = {key: _renamed(_converted(schema), names) for (key, _), schema in found.items()}
        self._shared = {names.get(name, name): _renamed(schema, names) for name, schema in converted.items()}
        return self._shared

    def schema(self, key: int) -> Schema:
        """Return the schema of a type, after `build`; the one of a class refers to it by name."""
        return self._schemas.get(key, {})

    def resolved(self, schema: Schema) -> Schema:
        """Return the schema that another one refers to; itself if it refers to none."""
        reference = schema.get("$ref")
        return self._shared.get(reference.removeprefix(REF), {}) if isinstance(reference, str) else schema


def _converted(schema: Any) -> Any:
    """Return a schema of draft 2020-12 in the dialect of draft 7."""
    if not isinstance(schema, dict):
        return schema
    made: Schema = {}
    for keyword, value in schema.items():
        if keyword in _MAPS:
            made[keyword] = {name: _converted(each) for name, each in value.items()}
        elif keyword in _LISTS:
            made[keyword] = [_converted(each) for each in value]
        elif keyword in _SCHEMAS:
            made[keyword] = _converted(value)
        elif keyword == "prefixItems":
            made[keyword] = [_converted(each) for each in value]
        elif keyword not in _DROPPED and (keyword not in _VALUES or _is_json(value)):
            made[keyword] = value
    if "prefixItems" in made:
        rest = made.pop("items", None)
        made["items"] = made.pop("prefixItems")
        if rest is not None:
            made["additionalItems"] = rest
    return made


def _common_names(shared: dict[str, Schema]) -> dict[str, str]:
    """Return one name for each class whose two schemas, of received and of sent messages, are the same."""
    pairs = {name.removesuffix(_IN) for name in shared if name.endswith(_IN)} - shared.keys()
    pairs = {name for name in pairs if f"{name}{_OUT}" in shared}
    while True:
        names = {f"{name}{end}": name for name in pairs for end in (_IN, _OUT)}
        same = {
            name
            for name in pairs
            if _renamed(shared[f"{name}{_IN}"], names) == _renamed(shared[f"{name}{_OUT}"], names)
        }
        if same == pairs:
            return names
        pairs = same  # which may have referred to one that differs


def _renamed(schema: Any, names: dict[str, str]) -> Any:
    """Return a schema with other names in its references."""
    if isinstance(schema, list):
        return [_renamed(each, names) for each in schema]
    if not isinstance(schema, dict):
        return schema
    made: Schema = {}
    for keyword, value in schema.items():
        if keyword in _MAPS:  # whose keys are names of members, and no keywords
            made[keyword] = {name: _renamed(each, names) for name, each in value.items()}
        else:
            made[keyword] = value if keyword in _VALUES else _renamed(value, names)
    reference = made.get("$ref")
    if isinstance(reference, str):
        name = reference.removeprefix(REF)
        made["$ref"] = f"{REF}{names.get(name, name)}"
    return made


def _is_json(value: Any) -> bool:
    try:
        json.dumps(value, allow_nan=False).encode()
    except (TypeError, ValueError):
        return False
    return True
