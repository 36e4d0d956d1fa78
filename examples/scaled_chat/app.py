"""A chat room in several processes on one Redis, whose members resume after a reconnect.

Start it several times, with a port for each, and open http://localhost:8000 and http://localhost:8001:

    python examples/scaled_chat/app.py 8000
    python examples/scaled_chat/app.py 8001

REDIS_URL is the URL of Redis, redis://localhost:6379 by default.
"""

import os
import sys
from pathlib import Path

from trio_ws import App, BackplaneUnavailable, Query, WebSocket

app = App(backplane=os.environ.get("REDIS_URL", "redis://localhost:6379"))
app.page("/", Path(__file__).with_name("index.html"))
app.client_script("/trio_ws.js")
app.static("/shared", Path(__file__).parents[1] / "shared")


DELIVERED_LOCALLY = "The message has not reached everybody: some are elsewhere, and the way there is broken."
NOT_DELIVERED = "The message could not be delivered. Try again in a moment."


def stamp(identifier: str, message: str | bytes) -> str:
    """Add the id to each message, with which members can resume."""
    return f'{{"id":"{identifier}","message":{message!s}}}'


@app.websocket("/chat", value_type="json")
async def chat(ws: WebSocket, user: str = "Anonymous", since: str | None = Query(default=None)) -> None:
    joining = app.room("chat", history=50, resume=500, stamp=stamp).join(ws, since=since, user=user)
    async with joining as room:
        if joining.recovered is False:
            await ws.send({"notice": "You were away for too long: some messages are missing."})
        async for message in ws:
            if isinstance(message, str) and message:
                try:
                    await room.publish({"user": user, "text": message[:1000]})
                except BackplaneUnavailable as error:
                    await ws.send({"notice": DELIVERED_LOCALLY if error.local else NOT_DELIVERED})


if __name__ == "__main__":
    try:
        app.run(port=int(sys.argv[1]) if len(sys.argv) > 1 else 8000)
    except OSError as error:  # for example, the port is in use
        sys.exit(str(error))
