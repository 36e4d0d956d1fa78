"""Bocadillo: ways to receive and to send: in a loop, in the type of the route, and as ASGI events."""

from trio_ws import App, WebSocket

app = App()


@app.websocket_route("/shorthand")
async def shorthand(ws: WebSocket) -> None:
    async for message in ws:
        await ws.send(message)


@app.websocket_route("/written-out")
async def written_out(ws: WebSocket) -> None:
    while True:
        message = await ws.receive()
        await ws.send(message)


@app.websocket_route("/events")
async def events(ws: WebSocket) -> None:
    event = await ws.receive_event()
    await ws.send_event({"type": "websocket.send", "text": f"You said: {event['text']}"})


@app.websocket_route("/raw", auto_accept=False)
async def raw(ws: WebSocket) -> None:
    """Nothing but events, the handshake too."""
    assert await ws.receive_event() == {"type": "websocket.connect"}
    await ws.send_event({"type": "websocket.accept", "headers": [(b"x-by", b"events")]})
    while (event := await ws.receive_event())["type"] == "websocket.receive":
        await ws.send_event({**event, "type": "websocket.send"})
    app.state.last = event
