"""Cello: its handlers, plain functions that block. What the document prints, the application notes here."""

import json
from typing import Any

from trio_ws import App, BlockingWebSocket, Request, WebSocketMessage

app = App()
app.state.seen = []


@app.websocket("/ws")
def echo(ws):  # type: ignore[no-untyped-def]  # the first parameter needs no annotation
    ws.send_text("Connected!")
    while True:
        msg = ws.recv()
        if msg is None or msg.is_close():
            break
        ws.send_text(f"Echo: {msg.text}")


@app.websocket("/ws/sending")
def sending(ws: BlockingWebSocket) -> None:
    ws.send_text("Hello, client!")
    ws.send_binary(b"\x00\x01\x02\x03")
    msg = WebSocketMessage.text("Structured message")
    ws.send(msg)
    ws.close()
    app.state.seen.append("closed")


@app.websocket("/ws/receiving")
def receiving(ws: BlockingWebSocket) -> None:
    while True:
        msg = ws.recv()
        if msg is None:
            app.state.seen.append(None)
            break
        if msg.is_close():
            app.state.seen.append(("close", msg.code, ws.connected))
            break
        if msg.is_text():
            app.state.seen.append(f"Text: {msg.text}")
        elif msg.is_binary():
            app.state.seen.append(f"Binary: {len(msg.data or b'')} bytes")


@app.websocket("/ws/lifecycle")
def lifecycle_demo(ws: BlockingWebSocket) -> None:
    app.state.seen.append(("connected", ws.connected))
    ws.send_text("Welcome!")
    while True:
        msg = ws.recv()
        if msg is None or msg.is_close():
            break
        ws.send_text(f"Got: {msg.text}")
    app.state.seen.append(("client disconnected", ws.connected))


def process_command(data: Any) -> Any:
    """The document uses it, and does not show it."""
    return {"type": "result", "command": data}


@app.websocket("/ws/data")
def data_stream(ws: BlockingWebSocket) -> None:
    ws.send_text(json.dumps({"type": "connected", "status": "ok"}))
    while True:
        msg = ws.recv()
        if msg is None or msg.is_close():
            break
        try:
            # The document reads `msg.text`, which a binary message has none of: that ends its handler.
            data = json.loads(msg.text if msg.is_text() else msg.data or b"")
        except ValueError:
            ws.send_text(json.dumps({"error": "Invalid JSON"}))
        else:
            ws.send_text(json.dumps(process_command(data)))


@app.websocket("/ws/rooms/{room_id}")
def room_handler(ws, request):  # type: ignore[no-untyped-def]
    assert isinstance(request, Request)
    room_id = request.params["room_id"]
    ws.send_text(f"Joined room: {room_id}")
    while True:
        msg = ws.recv()
        if msg is None or msg.is_close():
            break
        ws.send_text(f"[{room_id}] {msg.text}")
