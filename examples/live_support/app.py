"""Live support with a page: open http://localhost:8000/car/ws-index, or with your name: /car/ws-index?name=Ada.

It is the live support room of Ellar's documents. There the page inserts messages as HTML, so that a message may
hold a script; here the server sends plain text, and the page shows it as text.
"""

import sys
from pathlib import Path

from trio_ws import App, Controller, Query, WebSocket, WsBody

app = App()
app.page("/car/ws-index", Path(__file__).with_name("index.html"))
app.client_script("/trio_ws.js")
app.static("/shared", Path(__file__).parents[1] / "shared")


@app.controller("/car")
class CarController(Controller):
    """One visitor of the support room, with one instance for each connection."""

    @app.listener("/live-support", encoding="text")
    async def live_support(self, data: str = WsBody()) -> str:
        """Answer a message."""
        return f'We have received your message:\n\n"{data}"\n\nWe shall get back to you.'

    @live_support.on_connect
    async def greet(self, websocket: WebSocket, name: str = Query("John")) -> None:
        """Welcome a visitor, by the name in the query of the page."""
        await websocket.send_text(f"Welcome {name} to our live support room!\nHow can we help you?")


if __name__ == "__main__":
    try:
        app.run()
    except OSError as error:  # for example, the port is in use
        sys.exit(str(error))
