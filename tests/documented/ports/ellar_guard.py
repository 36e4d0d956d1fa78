"""Ellar: a guard in front of a handler.

The document's guard refuses everyone, so that nobody ever sees the room: this one knows whom it does not want. A guard
takes what it needs as parameters of its constructor, as an `@injectable` one does there.
"""

from trio_ws import App, Controller, Depends, Query
from trio_ws.app import GuardContext

from .ellar_words import answer, welcome

app = App()
app.state.asked = []


def unwanted() -> set[str]:
    return {"Mallory"}


class MyGuard:
    def __init__(self, names: set[str] = Depends(unwanted)) -> None:
        self.names = names

    async def can_activate(self, context: GuardContext) -> bool:
        name = context.parameters["name"]
        app.state.asked.append(name)
        return name not in self.names


@app.controller("/car")
class CarController(Controller):
    @app.websocket("/live-support", auto_accept=False, guards=[MyGuard])
    async def live_support(self, name: str = Query("John")) -> None:
        ws = self.context.switch_to_websocket().get_client()
        await ws.accept()
        await ws.send_text(welcome(name))
        async for data in ws:
            await ws.send_text(answer(data))
