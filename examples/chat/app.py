"""A chat room with a page: open http://localhost:8000 in two windows.

It is the chat room of Bocadillo's documents: messages are JSON objects, and new members get the latest ones. The
page shows text of users as text, never as HTML.
"""

import sys
from pathlib import Path

from trio_ws import App, WebSocket

app = App()
app.page("/", Path(__file__).with_name("index.html"))


@app.websocket("/chat", value_type="json")
async def chat(ws: WebSocket) -> None:
    async with app.room("chat", history=50).join(ws) as room:
        async for message in ws:
            if isinstance(message, dict) and message.get("text"):
                await room.publish(
                    {"type": "message", "user": str(message.get("user") or "Anonymous"), "text": str(message["text"])}
                )


if __name__ == "__main__":
    try:
        app.run()
    except OSError as error:  # for example, the port is in use
        sys.exit(str(error))
