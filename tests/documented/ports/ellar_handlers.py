"""Ellar: the extra handlers of a route: what is `use_extra_handler=True` there is a listener here.

`on_connect` accepts by itself, as in the document, so the route says `auto_accept=False`. The document gives
`on_disconnect` a code and calls the connection its only parameter: here it may take either, both or none.
"""

from trio_ws import App, Controller, Request, WebSocket, WsBody

from .ellar_words import answer, welcome

app = App()
app.state.codes = []


class MyGuard:
    """The document's own guard refuses everyone."""

    async def can_activate(self, context: object) -> bool:
        return True


@app.controller("/car")
class CarController(Controller):
    @app.listener("/live-support", encoding="text", auto_accept=False, guards=[MyGuard])
    async def live_support(self, data: str = WsBody()) -> None:
        ws = self.context.switch_to_websocket().get_client()
        await ws.send_text(answer(data))

    @live_support.on_connect
    async def live_support_connect(self, websocket: WebSocket) -> None:
        await websocket.accept()
        await websocket.send_text(welcome())

    @live_support.on_disconnect
    async def live_support_disconnect(self, websocket: WebSocket, code: int) -> None:
        await websocket.close(code)
        app.state.codes.append(code)


def page(request: Request) -> str:
    return "<!DOCTYPE html><title>Live support</title>"


app.page("/car/ws-index", page)
