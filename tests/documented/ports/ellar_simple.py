"""Ellar: the simplified form: nothing but the function for messages."""

from trio_ws import App, Controller, WsBody

from .ellar_words import answer

app = App()


@app.controller("/car")
class CarController(Controller):
    @app.listener("/live-support", encoding="text")
    async def live_support(self, data: str = WsBody()) -> None:
        ws = self.context.switch_to_websocket().get_client()
        await ws.send_text(answer(data))
