"""Bocadillo: views that accept, close and reject by themselves.

The document's view with an API key goes on after `reject()`, and its route accepts by itself before the view is called:
it would fail there. Here `reject()` ends the view, and the route says `auto_accept=False`.
"""

from trio_ws import App, WebSocket

app = App()
app.state.steps = []


@app.websocket_route("/by-hand", auto_accept=False)
async def by_hand(ws: WebSocket) -> None:
    app.state.steps.append("going to accept")
    await ws.accept()
    await ws.send(await ws.receive())
    await ws.close()
    app.state.steps.append("closed")


@app.websocket_route("/block", auto_accept=False)
async def block(ws: WebSocket) -> None:
    app.state.steps.append("going to accept")
    async with ws:
        await ws.send(await ws.receive())
    app.state.steps.append("closed")


@app.websocket_route("/hello", auto_accept=False)
async def hello(ws: WebSocket) -> None:
    if ws.headers.get("api-key") != "s3kr3t":
        await ws.reject()
    app.state.steps.append("authorized")
    async with ws:
        await ws.send("Hello")
