"""Bocadillo: which of the client's close codes are silent: where a view iterates, and where an `async with` ends."""

from trio_ws import App, WebSocket, WebSocketDisconnect

app = App()
app.state.seen = []


async def chat(ws: WebSocket) -> None:
    try:
        async for message in ws:
            await ws.send(message)
    except WebSocketDisconnect as end:
        app.state.seen.append(end.code)
    else:
        app.state.seen.append("silent")


app.websocket_route("/default")(chat)
app.websocket_route("/with-1006", caught_close_codes=(1000, 1001, 1006))(chat)
app.websocket_route("/all", caught_close_codes=all)(chat)
app.websocket_route("/none", caught_close_codes=())(chat)


@app.websocket_route("/block", auto_accept=False)
async def block(ws: WebSocket) -> None:
    try:
        async with ws:
            while True:
                await ws.send(await ws.receive())
    except WebSocketDisconnect as end:
        app.state.seen.append(end.code)
    else:
        app.state.seen.append("silent")


@app.websocket_route("/uncaught")
async def uncaught(ws: WebSocket) -> None:
    """What leaves a view is no error of the server's: with a code that is not caught it is a line in the log."""
    while True:
        await ws.send(await ws.receive())
