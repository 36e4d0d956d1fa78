"""Peers: who takes part, and by which script; docs/performance.md says in words what each is."""

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

    @property
    def ceiling(self) -> bool:
        """It is no peer: the load generator serves itself, so that one sees what it could measure at most."""
        return self.server is None


OURS: Final = "ours"
CEILING: Final = "ceiling"

PEERS: Final = (
    Peer(OURS, "ours", "ours"),
    Peer("ours-pure", "ours", "ours", environment={"TRIO_WS_PURE_PYTHON": "1"}, variant=True),
    Peer("ours-tuned", "tuned", variant=True),
    Peer("ours-app", "app", variant=True),
    Peer("trio-websocket", "triowebsocket", "triowebsocket", deflate=False),
    Peer("websockets.trio", "websockets_trio"),
    Peer("hypercorn", "hypercorn_trio"),
    Peer("websockets", "websockets_asyncio"),
    Peer("websockets+uvloop", "websockets_uvloop", "websockets_uvloop"),
    Peer("uvicorn", "uvicorn_uvloop"),
    Peer("aiohttp+uvloop", "aiohttp_uvloop", "aiohttp_uvloop"),
    Peer("picows+uvloop", "picows_uvloop", "picows_uvloop", deflate=False),
    Peer(CEILING, None),
)
