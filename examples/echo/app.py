"""An echo server: what a client sends comes back to it. `client.py` beside it is such a client."""

import sys

from trio_ws import App, WebSocket

app = App()


@app.websocket("/echo")
async def echo(ws: WebSocket) -> None:
    async for message in ws:  # str for text, bytes for binary
        await ws.send(message)


if __name__ == "__main__":
    try:
        app.run()
    except OSError as error:  # the port is taken, say
        sys.exit(str(error))
