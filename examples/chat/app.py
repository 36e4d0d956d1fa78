"""A chat room with a page: open http://localhost:8000 in two windows.

It is the chat room of Bocadillo's documents: messages are JSON objects, and new members get the latest ones, also
for an hour after the last member has left. A page that comes back gets what it has missed. It shows text of users as
text, never as HTML.
"""

import json
import sys
from pathlib import Path

from trio_ws import App, Query, WebSocket

app = App()
app.page("/", Path(__file__).with_name("index.html"))
app.client_script("/trio_ws.js")
app.static("/shared", Path(__file__).parents[1] / "shared")


def stamp(identifier: str, message: str | bytes) -> dict[str, str]:
    """Add the id to each message, with which a page comes back."""
    return {**json.loads(message), "id": identifier}


app.room_options("chat", history=50, history_ttl=3600, resume=500, stamp=stamp)


@app.websocket("/chat", value_type="json")
async def chat(ws: WebSocket, since: str | None = Query(default=None)) -> None:
    joining = app.room("chat").join(ws, since=since)
    async with joining as room:
        if since is not None:
            await ws.send({"recovered": joining.recovered})
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
