"""hypercorn in this process, over HTTP/1.1 and HTTP/2, quiet but for errors of its own, which fail the test."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from typing import Any, Literal

import hypercorn.logging
import hypercorn.trio
import trio
from hypercorn.config import Config

from support.tunnel import Tunnel
from trio_ws.asgi import ASGIApplication, serve

Version = Literal["http1", "http2"]
"""What a client of hypercorn speaks."""
VERSIONS: tuple[Version, ...] = ("http1", "http2")


class _Complaints(hypercorn.logging.Logger):
    """Keeps what hypercorn says of an application that fails."""

    said: list[str]

    async def exception(self, message: str, *args: Any, **kwargs: Any) -> None:
        self.said.append(message)


def config_of(complaints: list[str], **options: Any) -> Config:
    """A configuration that listens on a free port, and logs into `complaints`."""
    config = Config()
    config.bind = ["127.0.0.1:0"]
    config.errorlog = None
    # Our runner ends hypercorn when every WebSocket is over; its pings would sleep on (a row in docs/asgi.md).
    config.graceful_timeout = 0.01
    config.logger_class = type("Complaints", (_Complaints,), {"said": complaints})
    for name, value in options.items():
        setattr(config, name, value)
    return config


@asynccontextmanager
async def serving(bridge: ASGIApplication, **options: Any) -> AsyncIterator[ASGIApplication]:
    """Serve with our runner as long as the block runs; fails if an error has reached hypercorn."""
    complaints: list[str] = []
    async with trio.open_nursery() as nursery:
        served = await nursery.start(partial(serve, bridge, config_of(complaints, **options)))
        yield served
        nursery.cancel_scope.cancel()
    assert complaints == []


@asynccontextmanager
async def plain_hypercorn(application: Any, **options: Any) -> AsyncIterator[int]:
    """Serve any ASGI application with hypercorn's own function; gives the port. Its shutdown is a cancellation."""
    trigger = options.pop("shutdown_trigger", None)
    async with trio.open_nursery() as nursery:
        start = partial(hypercorn.trio.serve, application, config_of([], **options), shutdown_trigger=trigger)
        (bound,) = await nursery.start(start)
        yield int(bound.rpartition(":")[2])
        nursery.cancel_scope.cancel()


async def open_network(port: int, version: Version) -> trio.abc.Stream:
    """Connect to hypercorn on this machine; what comes back speaks HTTP/1.1, whatever the wire does."""
    stream = await trio.open_tcp_stream("127.0.0.1", port)
    return stream if version == "http1" else await Tunnel.open(stream)
