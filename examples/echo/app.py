"""An echo server, which sends messages back to their client; `client.py` is a client."""

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
    except OSError as error:  # for example, the port is in use
        sys.exit(str(error))
