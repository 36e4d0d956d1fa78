"""A page for people about an application's channels, made of its AsyncAPI document."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from html import escape
from typing import TYPE_CHECKING, Any, Final

from trio_ws.app.asyncapi.schemas import REF, Schema
from trio_ws.handler.service import Response

if TYPE_CHECKING:
    from trio_ws.http.request import Request

__all__ = ["DocumentPages"]

_HEADERS: Final = (
    ("Content-Type", "text/html; charset=utf-8"),
    ("X-Content-Type-Options", "nosniff"),
    ("Cache-Control", "no-cache"),
    ("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'; img-src data:"),
)
_DEPTH: Final = 3
"""Levels of a message that are shown in full; deeper ones have their type alone."""

_STYLE: Final = """
:root { color-scheme: light dark; --line: #8886; --soft: #8881; --accent: light-dark(#0b57a4, #7ab8ff); }
* { box-sizing: border-box; }
body { font: 16px/1.5 system-ui, sans-serif; margin: 0 auto; max-width: 60rem; padding: 1rem; overflow-wrap: anywhere; }
a { color: var(--accent); }
a:focus-visible, summary:focus-visible { outline: 3px solid var(--accent); outline-offset: 2px; }
article { border: 1px solid var(--line); border-radius: .5rem; margin: 1.5rem 0; padding: 0 1rem 1rem; }
code, pre { font: .9em/1.5 ui-monospace, monospace; }
pre { background: var(--soft); border-radius: .3rem; overflow-x: auto; padding: .6rem; }
details { margin: .4rem 0; }
summary { cursor: pointer; font-weight: 600; }
table { border-collapse: collapse; width: 100%; }
td, th { border-top: 1px solid var(--line); padding: .3rem .5rem .3rem 0; text-align: left; vertical-align: top; }
nav ul { list-style: none; padding: 0; }
"""


class DocumentPages:
    """The page and the document of one application, made when first asked for, and again after new routes.

    Args:
        build: makes the document.
        count: returns the number of routes.
    """

    def __init__(self, build: Callable[[], dict[str, Any]], count: Callable[[], int]) -> None:
        self._build = build
        self._count = count
        self._built: tuple[int, dict[str, Any]] | None = None

    def _current(self) -> dict[str, Any]:
        count = self._count()
        if self._built is None or self._built[0] != count:
            self._built = (count, self._build())
        return self._built[1]

    def document(self, request: Request) -> dict[str, Any]:
        """Return the document."""
        return self._current()

    def page(self, document_path: str, request: Request) -> Response:
        """Return the page.

        Args:
            document_path: the path of the document, for its link.
            request: for the path that the application is mounted at.
        """
        text = render(self._current(), request.root_path + document_path)
        return Response(headers=_HEADERS, body=text.encode())


def render(document: dict[str, Any], link: str) -> str:
    """Return the page of a document.

    Args:
        document: as `App.asyncapi` returns it.
        link: the URL of the document.
    """
    info = document["info"]
    title = escape(info["title"])
    parts = [
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1"><link rel="icon" href="data:,">'
        f"<title>{title}</title><style>{_STYLE}</style></head><body>",
        f"<header><h1>{title} <small>{escape(info['version'])}</small></h1>",
        _paragraphs(info.get("description", "")),
        f'<p><a href="{escape(link)}">AsyncAPI document</a></p></header>',
        "<nav><ul>",
        *(
            f'<li><a href="#{escape(key)}"><code>{escape(each["address"])}</code></a> '
            f"{escape(each.get('summary', ''))}</li>"
            for key, each in document["channels"].items()
        ),
        "</ul></nav><main>",
        *(part for key in document["channels"] for part in _channel(document, key)),
        "</main></body></html>\n",
    ]
    return "".join(parts)


def _channel(document: dict[str, Any], key: str) -> Iterator[str]:
    channel = document["channels"][key]
    yield f'<article id="{escape(key)}"><h2><code>{escape(channel["address"])}</code></h2>'
    yield _paragraphs(channel.get("summary", "")) + _paragraphs(channel.get("description", ""))
    yield from _parameters(channel)
    operations = document["operations"]
    receive, send = operations.get(f"{key}.receive", {}), operations.get(f"{key}.send", {})
    shown = (
        ("Messages of clients", receive.get("messages", [])),
        ("Replies", receive.get("reply", {}).get("messages", [])),
        ("Messages of the server", send.get("messages", [])),
    )
    for heading, references in shown:
        if references:
            yield f"<h3>{heading}</h3>"
            for reference in references:
                yield _message(document, reference["$ref"].rpartition("/")[2])
    yield "<h3>Close codes</h3><table>"
    yield from (_row(f"<code>{code}</code>", escape(text)) for code, text in channel["x-close-codes"].items())
    yield "</table></article>"


def _parameters(channel: dict[str, Any]) -> Iterator[str]:
    rows = [
        _row(f"<code>{escape(name)}</code>", "path", escape(_of_path(each)))
        for name, each in channel.get("parameters", {}).items()
    ]
    binding = channel["bindings"]["ws"]
    values = (("query", binding.get("query")), ("header", binding.get("headers")), ("cookie", channel.get("x-cookies")))
    for place, schema in ((place, schema) for place, schema in values if schema is not None):
        for name, each in schema["properties"].items():
            kind = f"<code>{escape(_type(each))}</code>"
            if name not in schema.get("required", []):
                kind += " (optional)"
            rows.append(_row(f"<code>{escape(name)}</code>", place, f"{kind} {escape(each.get('description', ''))}"))
    if rows:
        yield f"<h3>Parameters</h3><table>{''.join(rows)}</table>"
    if "x-guards" in channel:
        guards = ", ".join(f"<code>{escape(name)}</code>" for name in channel["x-guards"])
        yield f"<p>Guards: {guards}</p>"


def _of_path(parameter: dict[str, Any]) -> str:
    return " ".join([parameter.get("description", ""), ", ".join(parameter.get("enum", []))]).strip()


def _row(*cells: str) -> str:
    return f"<tr>{''.join(f'<td>{cell}</td>' for cell in cells)}</tr>"


def _message(document: dict[str, Any], name: str) -> str:
    message = document["components"]["messages"][name]
    shared = document["components"]["schemas"]
    shape = escape("\n".join(_lines(message["payload"], shared)))
    examples = "".join(
        f"<p>Example:</p><pre>{escape(json.dumps(each['payload'], indent=2, ensure_ascii=False))}</pre>"
        for each in message.get("examples", [])
    )
    summary = f" {escape(message['summary'])}" if "summary" in message else ""
    return (
        f"<details><summary><code>{escape(message['title'])}</code></summary>"
        f"<p>{summary}</p><pre>{shape}</pre>{examples}</details>"
    )


def _paragraphs(text: str) -> str:
    return "".join(f"<p>{escape(part)}</p>" for part in text.split("\n\n") if part.strip())


# --- schemas ----------------------------------------------------------------------------------------------------------


def _lines(schema: Any, shared: dict[str, Schema], around: tuple[Schema, ...] = ()) -> Iterator[str]:
    """Yield the lines of a schema, an object with a line for each member.

    Args:
        schema: of a message, or of a member.
        shared: schemas by name.
        around: the objects that it is in, for indentation; none is shown inside itself.
    """
    schema, level = _resolved(schema, shared), len(around)
    for part in schema.get("allOf", ()):
        yield from _lines(part, shared, around)
    properties = schema.get("properties")
    if not properties:
        if "allOf" not in schema:
            yield "  " * level + _type(schema)
        return
    for name, each in properties.items():
        mark = "" if name in schema.get("required", ()) else "?"
        text = each.get("description") if isinstance(each, dict) else None
        note = f"  // {' '.join(text.split())}" if isinstance(text, str) else ""
        yield f"{'  ' * level}{name}{mark}: {_type(each)}{note}"
        inner = _resolved(each, shared)
        within = (*around, schema)
        if inner.get("properties") and level < _DEPTH and not any(inner is each for each in within):
            yield from _lines(inner, shared, within)


def _resolved(schema: Any, shared: dict[str, Schema]) -> Schema:
    if not isinstance(schema, dict):
        return {}
    reference = schema.get("$ref")
    return shared.get(reference.removeprefix(REF), {}) if isinstance(reference, str) else schema


def _type(schema: Any) -> str:
    """Return a short text for a type."""
    if not isinstance(schema, dict):
        return "any"
    if isinstance(schema.get("$ref"), str):
        name: str = schema["$ref"].removeprefix(REF)
        return name
    if "const" in schema or "enum" in schema:
        return " | ".join(json.dumps(each) for each in schema.get("enum", [schema.get("const")]))
    for keyword, between in (("anyOf", " | "), ("oneOf", " | "), ("allOf", " & ")):
        if keyword in schema:
            return between.join(map(_type, schema[keyword]))
    kind = schema.get("type", "any")
    if kind == "array" and isinstance(schema.get("items"), dict):
        return f"array of {_type(schema['items'])}"
    name = " | ".join(kind) if isinstance(kind, list) else str(kind)
    return f"{name} ({schema['format']})" if "format" in schema else name
