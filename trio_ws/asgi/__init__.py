"""An `App` under an ASGI server, hypercorn first.

Here: `ASGIApplication`, checks of a request (`scope`), its answer (`handshake`), the connection over ASGI events, the
lifespan protocol, `run` and `serve` with hypercorn.
Not here: other people's ASGI applications, except as `fallback`. `docs/asgi.md` lists what an ASGI server cannot do.
Start with `application`, then `websocket`.
"""

from trio_ws.asgi.application import ASGIApplication
from trio_ws.asgi.hypercorn import run, serve

__all__ = ["ASGIApplication", "run", "serve"]
