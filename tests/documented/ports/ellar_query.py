"""Ellar: a handler with a parameter from the query."""

from trio_ws import App, Controller, Query

from .ellar_words import answer, welcome

app = App()


@app.controller("/car")
class CarController(Controller):
    @app.websocket("/live-support", auto_accept=False)
    async def live_support(self, name: str = Query("John")) -> None:
        ws = self.context.switch_to_websocket().get_client()
        await ws.accept()
        await ws.send_text(welcome(name))
        async for data in ws:
            await ws.send_text(answer(data))
