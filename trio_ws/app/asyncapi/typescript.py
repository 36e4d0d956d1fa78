"""Types of TypeScript for an application's messages, made of its AsyncAPI document."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from itertools import chain, count
from typing import Any, Final

from trio_ws.app.asyncapi.schemas import REF, Schema

__all__ = ["typescript"]

_IDENTIFIER: Final = re.compile(r"[A-Za-z_$][A-Za-z0-9_$]*")
_NOT_IN_IDENTIFIERS: Final = re.compile(r"[^A-Za-z0-9_$]+")
_OWN: Final = ("Channels", "Address", "Sent", "Received", "Parameters", "Query", "CloseCode")
_TAKEN: Final = frozenset(
    (*_OWN, "Record", "Array", "Blob", "ArrayBuffer", "Object", "String", "Number", "Boolean", "Symbol", "Function")
)
"""Names that no class of messages may have here; words of the language begin with a small letter."""
_SIMPLE: Final = {"string": "string", "integer": "number", "number": "number", "boolean": "boolean", "null": "null"}
_BINARY: Final = "Blob | ArrayBuffer"
_HELPERS: Final = """\
export type Address = keyof Channels;
/** What a page sends on a channel. */
export type Sent<A extends Address> = Channels[A]["send"];
/** What a page receives on a channel. */
export type Received<A extends Address> = Channels[A]["receive"];
export type Parameters<A extends Address> = Channels[A]["parameters"];
export type Query<A extends Address> = Channels[A]["query"];
export type CloseCode<A extends Address> = Channels[A]["closeCode"];
"""


def typescript(document: dict[str, Any]) -> str:
    """Return a file of declarations: the classes of messages, and `Channels` with the messages by address.

    Args:
        document: as `App.asyncapi` returns it.
    """
    shared: dict[str, Schema] = document["components"]["schemas"]
    types = _Types(_identifiers(shared))
    parts = [f"// Messages of {_one_line(document['info']['title'])}, written by `trio-ws types`.\n"]
    parts += [types.declaration(name, schema) for name, schema in shared.items()]
    parts.append("export interface Channels {\n")
    addresses: dict[str, str] = {}
    for key, channel in document["channels"].items():
        addresses.setdefault(channel["address"], key)
    parts += [part for key in addresses.values() for part in _channel(document, key, types)]
    parts += ["}\n\n", _HELPERS]
    return "".join(parts)


def _channel(document: dict[str, Any], key: str, types: _Types) -> Iterator[str]:
    channel, operations = document["channels"][key], document["operations"]
    receive, send = operations.get(f"{key}.receive", {}), operations.get(f"{key}.send", {})
    replies = receive.get("reply", {}).get("messages", [])
    parameters = {"properties": {name: _path_parameter(each) for name, each in channel.get("parameters", {}).items()}}
    parameters["required"] = [*parameters["properties"]]  # type: ignore[assignment]
    query = channel["bindings"]["ws"].get("query", {"properties": {}})
    yield _comment([channel.get("summary", ""), channel.get("description", "")], "  ")
    yield f"  {json.dumps(channel['address'])}: {{\n"
    yield f"    send: {_messages(document, receive.get('messages', []), types)};\n"
    yield f"    receive: {_messages(document, [*replies, *send.get('messages', [])], types)};\n"
    yield f"    parameters: {types.members(parameters, '    ')};\n"
    yield f"    query: {types.members(query, '    ')};\n"
    yield f"    closeCode: {' | '.join(channel['x-close-codes'])};\n  }};\n"


def _path_parameter(parameter: dict[str, Any]) -> Schema:
    return {"type": "string", **parameter}


def _messages(document: dict[str, Any], references: Iterable[dict[str, str]], types: _Types) -> str:
    found = []
    for reference in references:
        message = document["components"]["messages"][reference["$ref"].rpartition("/")[2]]
        match message.get("contentType"):
            case "application/octet-stream":
                found.append(_BINARY)
            case None:
                found.append(f"string | {_BINARY}")
            case _:
                found.append(types.of(message["payload"], "    "))
    return _union(found)


def _identifiers(names: Iterable[str]) -> dict[str, str]:
    """Return an identifier for each name of a schema, each another one."""
    found: dict[str, str] = {}
    for name in names:
        base = "".join(part[:1].upper() + part[1:] for part in _NOT_IN_IDENTIFIERS.split(name)) or "Message"
        base = base if _IDENTIFIER.fullmatch(base) else f"_{base}"
        tried = chain((base,) if base not in _TAKEN else (), (f"{base}{number}" for number in count(2)))
        used = {*found.values()}
        found[name] = next(each for each in tried if each not in used)
    return found


class _Types:
    """Writes types; references by their identifiers."""

    def __init__(self, identifiers: dict[str, str]) -> None:
        self._identifiers = identifiers

    def declaration(self, name: str, schema: Schema) -> str:
        """Return the exported type of a class."""
        identifier = self._identifiers[name]
        comment = _comment([schema.get("description", "")], "")
        if schema.get("properties") and not any(each in schema for each in ("allOf", "anyOf", "oneOf")):
            return f"{comment}export interface {identifier} {self.members(schema, '')}\n\n"
        return f"{comment}export type {identifier} = {self.of(schema, '')};\n\n"

    def of(self, schema: Any, indent: str) -> str:
        """Return the type of a schema."""
        match schema:
            case {"$ref": str(reference)}:
                return self._identifiers.get(reference.removeprefix(REF), "unknown")
            case {"const": _} | {"enum": _}:
                return _union(map(_literal, schema.get("enum", [schema.get("const")])))
            case {"anyOf": members} | {"oneOf": members}:
                return _union(self.of(each, indent) for each in members)
            case {"allOf": members}:
                return " & ".join(_within(self.of(each, indent)) for each in members)
            case dict():
                return self._of_kinds(schema, indent)
        return "never" if schema is False else "unknown"

    def _of_kinds(self, schema: Schema, indent: str) -> str:
        kinds = schema.get("type", "object" if "properties" in schema else [])
        return _union(self._simple(kind, schema, indent) for kind in ([kinds] if isinstance(kinds, str) else kinds))

    def _simple(self, kind: str, schema: Schema, indent: str) -> str:
        if kind == "array":
            return self._array(schema, indent)
        if kind == "object":
            return self.members(schema, indent) if schema.get("properties") else self._record(schema, indent)
        return _SIMPLE.get(kind, "unknown")

    def _array(self, schema: Schema, indent: str) -> str:
        items = schema.get("items", {})
        if not isinstance(items, list):
            return f"{_within(self.of(items, indent))}[]"
        first = [self.of(each, indent) for each in items]
        least = schema.get("minItems", 0)
        first = [each if index < least else f"{_within(each)}?" for index, each in enumerate(first)]
        more = schema.get("additionalItems", len(items) != schema.get("maxItems"))
        if more is not False:
            first.append(f"...{_within(self.of(more, indent))}[]")
        return f"[{', '.join(first)}]"

    def _record(self, schema: Schema, indent: str) -> str:
        values = [*schema.get("patternProperties", {}).values()]
        more = schema.get("additionalProperties", not values)
        if more is not False:
            values.append(more)
        # Not a Record: a type may be its own member in this form only.
        return f"{{ [name: string]: {_union(self.of(each, indent) for each in values)} }}"

    def members(self, schema: Schema, indent: str) -> str:
        """Return the type of an object with its members, each on a line."""
        inner = f"{indent}  "
        lines = []
        for name, each in schema.get("properties", {}).items():
            text = each.get("description", "") if isinstance(each, dict) else ""
            mark = "" if name in schema.get("required", ()) else "?"
            shown = name if _IDENTIFIER.fullmatch(name) else json.dumps(name)
            lines.append(f"{_comment([text], inner)}{inner}{shown}{mark}: {self.of(each, inner)};\n")
        if schema.get("additionalProperties", False) is not False:
            lines.append(f"{inner}[name: string]: unknown;\n")
        return f"{{\n{''.join(lines)}{indent}}}" if lines else "Record<string, never>"


def _literal(value: Any) -> str:
    if isinstance(value, dict | list):
        return "unknown"
    return json.dumps(value)


def _union(types: Iterable[str]) -> str:
    return " | ".join(dict.fromkeys(types)) or "unknown"


def _within(text: str) -> str:
    """Return a type that operators of an array or an intersection apply to as a whole."""
    return f"({text})" if " | " in text or " & " in text else text


def _comment(texts: Iterable[str], indent: str) -> str:
    """Return a comment of documentation; nothing without text."""
    text = "\n\n".join(each for each in texts if isinstance(each, str) and each).replace("*/", "*\\/")
    if not text:
        return ""
    if "\n" not in text:
        return f"{indent}/** {text} */\n"
    lines = "".join(f"{indent} * {line}".rstrip() + "\n" for line in text.splitlines())
    return f"{indent}/**\n{lines}{indent} */\n"


def _one_line(text: str) -> str:
    return " ".join(text.split())
