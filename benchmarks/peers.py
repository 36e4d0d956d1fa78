"""Peers: who takes part, and by which script."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import attrs

HERE: Final = Path(__file__).parent


@attrs.frozen
class Peer:
    """One participant: a server, and a client where it has one."""

    name: str
    server: str | None
    """The script in `servers`; None is the load generator itself."""
    client: str | None = None
    """The script in `clients`."""
    deflate: bool = True
    """It can compress."""
    environment: dict[str, str] = attrs.field(factory=dict)
    variant: bool = False
    """It is ours too, with other settings; it takes part in few scenarios."""
    note: str = ""

    @property
    def ceiling(self) -> bool:
        """It is no peer: the load generator serves itself, so that one sees what it could measure at most."""
        return self.server is None


OURS: Final = "ours"
CEILING: Final = "ceiling"

PEERS: Final = (
    Peer(OURS, "ours", "ours", note="trio_ws, default settings, compiled codec"),
    Peer(
        "ours-pure",
        "ours",
        "ours",
        environment={"TRIO_WS_PURE_PYTHON": "1"},
        variant=True,
        note="trio_ws, default settings, pure Python codec",
    ),
    Peer("ours-tuned", "tuned", variant=True, note="trio_ws, inbox 256 messages, outbox 1 MiB, no keepalive"),
    Peer("ours-app", "app", variant=True, note="trio_ws, a route of an App"),
    Peer("trio-websocket", "triowebsocket", "triowebsocket", deflate=False, note="default settings"),
    Peer("websockets.trio", "websockets_trio", note="default settings"),
    Peer("hypercorn", "hypercorn_trio", note="on Trio, a bare ASGI application"),
    Peer("websockets", "websockets_asyncio", note="on asyncio's own loop"),
    Peer("websockets+uvloop", "websockets_uvloop", "websockets_uvloop", note="on uvloop"),
    Peer("uvicorn", "uvicorn_uvloop", note="on uvloop with httptools, a bare ASGI application"),
    Peer("aiohttp+uvloop", "aiohttp_uvloop", "aiohttp_uvloop", note="on uvloop"),
    Peer(
        "picows+uvloop",
        "picows_uvloop",
        "picows_uvloop",
        deflate=False,
        note="on uvloop, its documentation's echo server: the frame's callback answers, the payload is not decoded",
    ),
    Peer(CEILING, None, note="the load generator's own echo server in C: what could be measured at most"),
)
