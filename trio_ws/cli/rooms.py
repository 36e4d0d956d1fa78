"""The arguments of `publish` and `watch`. Rooms are imported when one of them runs, not before."""

from __future__ import annotations

import argparse
from typing import TypeAlias

from trio_ws.cli.arguments import count, positive

__all__ = ["add_publish", "add_watch"]

_Commands: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"


def add_publish(commands: _Commands) -> None:
    """Add `trio-ws publish`."""
    publish = commands.add_parser("publish", help="send a message to a room, through Redis")
    publish.set_defaults(command=_publish)
    _add_room(publish)
    publish.add_argument("message", metavar="MESSAGE", help="the message; - for the standard input")
    kinds = publish.add_mutually_exclusive_group()
    kinds.add_argument("--json", action="store_true", help="the message is JSON, which is checked")
    kinds.add_argument("--binary", action="store_true", help="send a binary message")
    publish.add_argument("--key", help="names the message: it is published once, however often you try")


def add_watch(commands: _Commands) -> None:
    """Add `trio-ws watch`."""
    watch = commands.add_parser("watch", help="print the messages of a room, through Redis")
    watch.set_defaults(command=_watch)
    _add_room(watch)
    beginnings = watch.add_mutually_exclusive_group()
    beginnings.add_argument("--since", metavar="ID", help="begin after the message with this id")
    beginnings.add_argument("--history", type=int, default=0, metavar="N", help="begin with the latest N messages")
    watch.add_argument("--json", action="store_true", help="print each message as a line of JSON, with id and time")
    watch.add_argument("--count", type=count, metavar="N", help="end after N messages")


def _add_room(command: argparse.ArgumentParser) -> None:
    command.add_argument("redis", metavar="URL", help="of the applications' backplane, such as redis://localhost")
    command.add_argument("room", metavar="ROOM", help="the room's name")
    command.add_argument("--prefix", help="of the keys in Redis (trio_ws)")
    command.add_argument("--timeout", type=positive, default=10.0, metavar="SECONDS", help="(%(default)g)")


def _publish(options: argparse.Namespace) -> int:
    from trio_ws.cli.rooms_run import publish  # noqa: PLC0415 - other commands do not need rooms

    return publish(options)


def _watch(options: argparse.Namespace) -> int:
    from trio_ws.cli.rooms_run import watch  # noqa: PLC0415 - likewise

    return watch(options)
