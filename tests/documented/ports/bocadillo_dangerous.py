"""Bocadillo: a view that tells the client of an error by a close code of its own.

The document receives with `ws.message()`, which there is none of, and throws dice, which a test cannot: the application
holds them here.
"""

import random

from trio_ws import App, CloseCode, WebSocket

BOOM = 4003

app = App()
app.state.throw = random.random


@app.websocket_route("/dangerous")
async def dangerous(ws: WebSocket) -> None:
    for _ in range(100):
        await ws.receive()
        if app.state.throw() < 0.1:
            await ws.close(BOOM)
            return
        await ws.send("OK")

    # The route does so by itself.
    await ws.close(CloseCode.NORMAL_CLOSURE)
