"""The command `trio-ws` with its subcommands, also run by `python -m trio_ws`.

Each subcommand imports what it needs when it runs: the start of `connect` does not wait for an application's modules.
"""

from __future__ import annotations

import argparse
import importlib
import platform
import sys
from typing import TYPE_CHECKING, Any

from trio_ws.cli.conform import add_conform, add_fuzz
from trio_ws.cli.connect import add_connect
from trio_ws.cli.defaults import INTERRUPTED
from trio_ws.cli.describe import add_asyncapi, add_routes, add_types
from trio_ws.cli.loading import UsageError
from trio_ws.cli.output import write_output
from trio_ws.cli.rooms import add_publish, add_watch
from trio_ws.cli.run import add_run
from trio_ws.runtime.standard_streams import discard_unwritten

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["codec_name", "main"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return its exit status: 0, 1 for a failure, 2 for invalid arguments.

    Args:
        arguments: the command line without the name of the program; None for that of `sys.argv`.
    """
    try:
        return _run(sys.argv[1:] if arguments is None else list(arguments))
    except KeyboardInterrupt:
        return INTERRUPTED
    finally:
        discard_unwritten()


def _run(given: list[str]) -> int:
    parser = _parser()
    try:
        options = parser.parse_args(given)
        options.given = given
        status: int = options.command(options)
    except UsageError as error:
        parser.exit(1, f"trio-ws: {error}\n")
    return status


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="trio-ws", description="WebSockets for Trio: serve an application, list its routes, connect to a server."
    )
    parser.add_argument("--version", action=_Version, help="show the versions that run, and exit")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    add_run(commands)
    add_routes(commands)
    add_asyncapi(commands)
    add_types(commands)
    add_connect(commands)
    add_publish(commands)
    add_watch(commands)
    add_conform(commands)
    add_fuzz(commands)
    return parser


class _Version(argparse.Action):
    """Print the versions, which only this option imports."""

    def __init__(self, option_strings: Sequence[str], dest: str, **options: Any) -> None:
        super().__init__(option_strings, argparse.SUPPRESS, nargs=0, default=argparse.SUPPRESS, **options)

    def __call__(self, parser: argparse.ArgumentParser, *_: Any) -> None:
        write_output(f"{_version()}\n")
        parser.exit()


def codec_name() -> str:
    """Return the names of the frame codec, or the core, and the zlib library in use."""
    codec = importlib.import_module("trio_ws.protocol.codec")
    compressors = importlib.import_module("trio_ws.protocol.compressors")
    return f"{codec.RUNNING}, {compressors.get_library().name}"


def _version() -> str:
    python = f"{platform.python_implementation()} {platform.python_version()}"
    trio_ws, trio = importlib.import_module("trio_ws"), importlib.import_module("trio")
    return f"trio-ws {trio_ws.__version__} ({python}, trio {trio.__version__}, {codec_name()})"
