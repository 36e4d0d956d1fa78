"""Bocadillo: the views of its document: an echo, and a chat with parameters from the path and the query."""

from trio_ws import App, WebSocket

app = App()
app.state.lines = []


@app.websocket_route("/echo")
async def echo(ws):  # type: ignore[no-untyped-def]  # the first parameter needs no annotation
    message = await ws.receive()
    await ws.send(f"You said: {message}")


@app.websocket_route("/chat/{channel}", value_type="json")
async def chat(ws: WebSocket, channel: str, anonymous: bool = False) -> None:
    user = "Anonymous" if anonymous else ws.headers["user"]
    # What is a note in the document is done here: everyone in the channel gets the message.
    async with app.room(channel).join(ws) as room:
        async for message in ws:
            await room.publish({"user": user, "message": message})
