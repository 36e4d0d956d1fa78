"""An echo server: what a client sends comes back to it. `client.py` beside it is such a client."""

from trio_ws import App, WebSocket

app = App()


@app.websocket("/echo")
async def echo(ws: WebSocket) -> None:
    async for message in ws:  # str for text, bytes for binary
        await ws.send(message)


if __name__ == "__main__":
    app.run()
