"""The participants and their scripts, described in docs/performance.md."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import attrs

HERE: Final = Path(__file__).parent


@attrs.frozen
class Peer:
    """One participant, with a server and maybe a client."""

    name: str
    server: str | None
    """The script in `servers`; None is the load generator itself."""
    client: str | None = None
    """The script in `clients`."""
    deflate: bool = True
    """Whether it supports compression."""
    environment: dict[str, str] = attrs.field(factory=dict)
    variant: bool = False
    """Whether it is our library with other settings, for few scenarios."""
    broadcasts: bool = True
    """Whether its server can send to all connections."""

    @property
    def ceiling(self) -> bool:
        """Whether it is the load generator's own server, the upper limit of measurement."""
        return self.server is None


OURS: Final = "ours"
CEILING: Final = "ceiling"

PEERS: Final = (
    Peer(OURS, "ours", "ours"),
    Peer("ours-pure", "ours", "ours", environment={"TRIO_WS_PURE_PYTHON": "1"}, variant=True),
    Peer("ours-tuned", "tuned", variant=True),
    Peer("ours-app", "app", variant=True),
    Peer("ours-callback", "callback", variant=True, broadcasts=False),
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
