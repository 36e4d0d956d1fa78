"""The subcommands `routes`, `asyncapi` and `types`, which describe an application."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from trio_ws.cli.loading import UsageError, load
from trio_ws.cli.output import write_output

if TYPE_CHECKING:
    import argparse

    _Commands: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"

__all__ = ["add_asyncapi", "add_routes", "add_types"]

_HEADINGS: Final = ("PATH", "NAME", "MESSAGES", "PARAMETERS", "GUARDS")
_ENCODING: Final = "utf-8"
"""Encoding of documents, whatever that of the output is: files of this kind have no other."""


def add_routes(commands: _Commands) -> None:
    """Add `trio-ws routes`."""
    routes = commands.add_parser("routes", help="list an application's routes")
    routes.set_defaults(command=_routes)
    _add_app(routes)


def add_asyncapi(commands: _Commands) -> None:
    """Add `trio-ws asyncapi`."""
    asyncapi = commands.add_parser("asyncapi", help="describe an application by AsyncAPI 3, as JSON")
    asyncapi.set_defaults(command=_asyncapi)
    _add_app(asyncapi)
    asyncapi.add_argument("--title", help="of the document (MODULE:APP)")
    asyncapi.add_argument("--version", default="0.1.0", help="of the application (%(default)s)")
    asyncapi.add_argument("--description", metavar="TEXT", help="of the application, in Markdown")
    asyncapi.add_argument(
        "--server", action="append", default=[], metavar="NAME=URL", help="a server's ws or wss URL; may be repeated"
    )


def add_types(commands: _Commands) -> None:
    """Add `trio-ws types`."""
    types = commands.add_parser("types", help="write types of TypeScript for an application's messages")
    types.set_defaults(command=_types)
    _add_app(types)


def _add_app(command: argparse.ArgumentParser) -> None:
    command.add_argument("app", metavar="MODULE:APP", help="the application; `app` if no name is given")
    command.add_argument("--factory", action="store_true", help="call APP: it returns the application")


def _routes(options: argparse.Namespace) -> int:
    from trio_ws.cli.route_table import row_of, table  # noqa: PLC0415 - other commands do not need an application

    app = load(options.app, factory=options.factory)
    rows = [row_of(route) for route in app.described_routes()]
    if rows:
        write_output(f"{table([_HEADINGS, *rows])}\n")
    return 0


def _asyncapi(options: argparse.Namespace) -> int:
    document = _document(
        options,
        title=options.title or options.app,
        version=options.version,
        description=options.description or "",
        servers=dict(map(_server, options.server)),
    )
    write_output(f"{json.dumps(document, indent=2, ensure_ascii=False)}\n", _ENCODING)
    return 0


def _types(options: argparse.Namespace) -> int:
    from trio_ws.app.asyncapi.typescript import typescript  # noqa: PLC0415 - needs pydantic

    write_output(typescript(_document(options, title=options.app)), _ENCODING)
    return 0


def _document(options: argparse.Namespace, **texts: Any) -> dict[str, Any]:
    app = load(options.app, factory=options.factory)
    try:
        return app.asyncapi(**texts)
    except ValueError as error:
        raise UsageError(str(error)) from None


def _server(text: str) -> tuple[str, str]:
    name, equals, url = text.partition("=")
    if not (name and equals):
        raise UsageError(f"a server looks like production=wss://example.org, not {text!r}")
    return name, url
