"""One route as a channel of AsyncAPI, with its address, parameters, messages and close codes."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Collection, Iterator
from enum import Enum
from itertools import chain, count
from typing import TYPE_CHECKING, Any, Final, Literal, get_args, get_origin

import attrs

from trio_ws.app.asyncapi.close_codes import close_codes_of
from trio_ws.app.asyncapi.messages import MessageType, received_by, replies_of, sent_by
from trio_ws.app.asyncapi.schemas import REF, Schema, SchemaCollector
from trio_ws.app.listener import Listener
from trio_ws.app.parameters.annotations import get_label
from trio_ws.app.parameters.markers import MISSING
from trio_ws.app.parameters.signature import Parameter, ParameterSource
from trio_ws.app.route_parameters import parameters_of

if TYPE_CHECKING:
    from trio_ws.app.route import Route
    from trio_ws.app.services import AppServices

__all__ = ["ChannelObject", "Documented", "split_docstring"]

Documented = tuple[MessageType, int]
"""A type of messages, and the key of its schema."""

_CONTENT_TYPES: Final = {"json": "application/json", "text": "text/plain", "binary": "application/octet-stream"}
_PAYLOADS: Final[dict[str, Schema]] = {
    "text": {"type": "string"},
    "binary": {"type": "string", "format": "binary"},
    "any": {},
}
_PARAMETER_NAME: Final = re.compile(r"[A-Za-z0-9_-]+")
_NOT_IN_NAMES: Final = re.compile(r"[^A-Za-z0-9_.-]+")
_BINDING_VERSION: Final = "0.1.0"
"""Of the bindings for WebSockets: https://github.com/asyncapi/bindings/tree/master/websockets"""


@attrs.define(eq=False)
class ChannelObject:
    """A route, its messages and its parameters, with the keys of their schemas.

    Args:
        route: the route.
        services: of its application.
        key: the name of the channel.
        schemas: takes the types.
    """

    route: Route
    services: AppServices
    key: str
    schemas: SchemaCollector
    received: list[Documented] = attrs.field(init=False)
    sent: list[Documented] = attrs.field(init=False)
    replies: list[Documented] = attrs.field(init=False)
    parameters: list[tuple[Parameter, int]] = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self.received, self.sent, self.replies = (
            [(each, self.schemas.add(each.annotation, each.mode)) for each in find(self.route)]
            for find in (received_by, sent_by, replies_of)
        )
        self.parameters = [
            (each, self.schemas.add(Any if each.annotation is None else each.annotation, "validation"))
            for each in parameters_of(self.route)
        ]

    # --- the channel ---------------------------------------------------------------------------------------------

    def document(self, messages: dict[str, dict[str, Any]]) -> tuple[dict[str, Any], dict[str, Any]]:
        """Return the channel and its operations; add its messages to `messages`, by their names."""
        used: dict[str, dict[str, Any]] = {}
        received, sent, replies = (
            [self._message(each, direction, messages, used) for each in found]
            for found, direction in ((self.received, "Received"), (self.sent, "Sent"), (self.replies, "Reply"))
        )
        summary, description = split_docstring(_documented_function(self.route))
        texts = {name: text for name, text in (("summary", summary), ("description", description)) if text}
        channel = {
            "address": self.route.pattern.address,
            **texts,
            "messages": used,
            **self._parameters(),
            "bindings": {"ws": self._binding()},
            "x-close-codes": close_codes_of(self.route, self.services),
            **self._extensions(),
        }
        return channel, dict(self._operations(texts, received, sent, replies))

    def _operations(
        self, texts: dict[str, str], received: list[str], sent: list[str], replies: list[str]
    ) -> Iterator[tuple[str, dict[str, Any]]]:
        channel = {"$ref": f"#/channels/{self.key}"}

        def listed(names: list[str]) -> list[dict[str, str]]:
            return [{"$ref": f"#/channels/{self.key}/messages/{name}"} for name in dict.fromkeys(names)]

        receive: dict[str, Any] = {"action": "receive", "channel": channel, **texts, "messages": listed(received)}
        if replies:
            receive["reply"] = {"channel": channel, "messages": listed(replies)}
        yield f"{self.key}.receive", receive
        if sent:
            yield f"{self.key}.send", {"action": "send", "channel": channel, "messages": listed(sent)}

    def _extensions(self) -> dict[str, Any]:
        guards = [get_label(guard) for guard in self.route.guards]
        subprotocols = list(self.route.options.subprotocols)
        found = (("x-guards", guards), ("x-subprotocols", subprotocols), ("x-cookies", self._values("cookie")))
        return {name: value for name, value in found if value}

    # --- messages ------------------------------------------------------------------------------------------------

    def _message(
        self, documented: Documented, direction: str, messages: dict[str, dict[str, Any]], used: dict[str, Any]
    ) -> str:
        """Add one message to the document and to the channel; return its name."""
        kind, key = documented
        schema = self.schemas.schema(key)
        resolved = self.schemas.resolved(schema)
        if kind.mode == "validation" and not _may_have(resolved, kind.reference):
            kind = attrs.evolve(kind, reference=None)
        made: dict[str, Any] = {"payload": _enveloped(kind, schema)}
        if kind.content in _CONTENT_TYPES:
            made["contentType"] = _CONTENT_TYPES[kind.content]
        text = kind.description or _text_of(resolved, "description")
        if text:
            made["summary"] = text.partition("\n")[0]
        examples = resolved.get("examples")
        if isinstance(examples, list) and kind.status is None and kind.reference is None:
            made["examples"] = [{"payload": each} for each in examples if isinstance(each, dict)] or None
        made = {name: value for name, value in made.items() if value is not None}
        name = _free_name(_message_name(self.key, kind, schema, direction), self.key, made, messages)
        messages[name] = {"name": name, "title": name, **made}
        used[name] = {"$ref": f"#/components/messages/{name}"}
        return name

    # --- parameters ----------------------------------------------------------------------------------------------

    def _parameters(self) -> dict[str, Any]:
        """Return the parameters of the path, which are texts in AsyncAPI."""
        by_name = {each.key: (each, key) for each, key in self.parameters if each.source is ParameterSource.PATH}
        found: dict[str, Any] = {}
        for name in self.route.pattern.names:
            if _PARAMETER_NAME.fullmatch(name):
                found[name] = self._path_parameter(name, *by_name.get(name, (None, 0)))
        return {"parameters": found} if found else {}

    def _path_parameter(self, name: str, parameter: Parameter | None, key: int) -> dict[str, Any]:
        kind = self.route.pattern.types[name]
        text = "" if parameter is None else parameter.description
        made: dict[str, Any] = {}
        if kind is not None and kind is not str:
            text = f"{text} ({kind.__name__})" if text else kind.__name__
        if text:
            made["description"] = text
        choices = _choices(None if parameter is None else parameter.annotation)
        return {**made, "enum": choices} if choices else made

    def _binding(self) -> dict[str, Any]:
        binding: dict[str, Any] = {"method": "GET", "bindingVersion": _BINDING_VERSION}
        for name, source in (("query", "query"), ("headers", "header")):
            values = self._values(source)
            if values:
                binding[name] = values
        return binding

    def _values(self, source: str) -> Schema:
        """Return the schema of all parameters from one source; empty without any."""
        properties: dict[str, Schema] = {}
        required: list[str] = []
        for parameter, key in self.parameters:
            if parameter.source.value != source or parameter.key in properties:
                continue
            schema = dict(self.schemas.schema(key)) or {"type": "string"}
            if parameter.description:
                schema["description"] = parameter.description
            if parameter.default is MISSING:
                required.append(parameter.key)
            elif isinstance(parameter.default, str | int | float | bool):
                schema["default"] = parameter.default
            properties[parameter.key] = schema
        if not properties:
            return {}
        return {"type": "object", "properties": properties, **({"required": required} if required else {})}


def _documented_function(route: Route) -> Callable[..., Any]:
    return route.target.receive_callback if isinstance(route.target, Listener) else route.target


def split_docstring(function: Callable[..., Any] | type) -> tuple[str, str]:
    """Return the first paragraph of a docstring as one line, and the others."""
    first, _, rest = (inspect.getdoc(function) or "").strip().partition("\n\n")
    return " ".join(first.split()), rest.strip()


def _choices(annotation: Any) -> list[str]:
    """Return the texts that a parameter of a path may have; none for any."""
    if get_origin(annotation) is Literal:
        return [str(each) for each in get_args(annotation)]
    if inspect.isclass(annotation) and issubclass(annotation, Enum):
        return [str(each.value) for each in annotation]
    return []


def _text_of(schema: Schema, keyword: str) -> str:
    text = schema.get(keyword)
    return text if isinstance(text, str) else ""


def _may_have(schema: Schema, reference: str | None) -> bool:
    """Return whether a message of clients may have the reference beside its own members."""
    return schema.get("additionalProperties") is not False and reference not in schema.get("properties", {})


def _enveloped(kind: MessageType, schema: Schema) -> Schema:
    """Return the schema of a message, with what goes around the value."""
    payload = schema if kind.content == "json" else (schema or _PAYLOADS[kind.content])
    if kind.content == "binary":
        payload = _PAYLOADS["binary"]
    if kind.status is not None:
        status: Schema = {"const": kind.status} if kind.status else {"type": "integer"}
        properties = {"statusCode": status, "body": payload}
        payload = {"type": "object", "properties": properties, "required": ["statusCode", "body"]}
    if kind.reference is not None:
        beside = {"type": "object", "properties": {kind.reference: {"type": ["string", "number"]}}}
        payload = {"allOf": [payload, beside]}
    return payload


def _message_name(channel: str, kind: MessageType, schema: Schema, direction: str) -> str:
    """Return a name for a message: of its class, or of the channel and the direction."""
    reference = schema.get("$ref")
    name = reference.removeprefix(REF) if isinstance(reference, str) else f"{_capitalized(channel)}{direction}"
    return name if kind.status is None else f"{name}_{kind.status or 'Status'}"


def _capitalized(text: str) -> str:
    return "".join(part[:1].upper() + part[1:] for part in re.split(r"[^A-Za-z0-9]+|_", text))


def _free_name(name: str, channel: str, made: dict[str, Any], taken: dict[str, dict[str, Any]]) -> str:
    """Return the name, behind the channel's if another message has it, else with a number, too."""
    own = f"{_capitalized(channel)}_{name}"
    names = chain((name, own), (f"{own}_{number}" for number in count(2)))
    return next(each for each in names if taken.get(each) in (None, {**made, "name": each, "title": each}))


def channel_key(name: str, taken: Collection[str]) -> str:
    """Return a key for a channel, which no other has."""
    base = _NOT_IN_NAMES.sub("_", name) or "channel"
    number, tried = 1, base
    while tried in taken:
        number += 1
        tried = f"{base}{number}"
    return tried
