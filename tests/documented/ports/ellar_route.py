"""Ellar: a WebSocket route on a controller. `@ws_route` is `@app.websocket`, and `@Controller` is `@app.controller`."""

from trio_ws import App, Controller

app = App()


@app.controller("/car")
class CarController(Controller):
    @app.websocket("/live-support")
    async def live_support(self) -> None:
        pass
