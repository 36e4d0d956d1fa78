"""Ellar: the live support room as one handler, with its page.

The document ends with `assert ws.close()`, which calls nothing: a coroutine is true. It closes on any `Exception`, also
on a mistake of its own: here it is the end of the connection that is caught.
"""

from pathlib import Path

from trio_ws import App, Controller, WebSocketDisconnect

from .ellar_words import answer, welcome

INDEX = Path(__file__).parents[3] / "examples" / "live_support" / "index.html"

app = App()
app.page("/car/ws-index", INDEX)
app.client_script("/trio_ws.js")
app.static("/shared", INDEX.parents[1] / "shared")


@app.controller("/car")
class CarController(Controller):
    @app.websocket("/live-support", auto_accept=False)
    async def live_support(self) -> None:
        ws = self.context.switch_to_websocket().get_client()
        await ws.accept()
        await ws.send_text(welcome())

        while True:
            try:
                data = await ws.receive_text()
                await ws.send_text(answer(data))
            except WebSocketDisconnect:
                await ws.close()
                break
