"""Under an ASGI server: an `App` is an ASGI 3 application, so `hypercorn -k trio module:app` serves it.

`ASGIApplication` is that application, and can have another one beside it; `serve` and `run` are hypercorn with a shutdown that
tells everyone. What an ASGI server does not let an application do is listed in the documentation, `asgi.md`.
"""

from trio_ws.asgi.application import ASGIApplication
from trio_ws.asgi.hypercorn import run, serve

__all__ = ["ASGIApplication", "run", "serve"]
