"""Ellar: the three encodings of messages, and what becomes of one that does not validate.

There an invalid message ends the connection after an error was sent: here `on_invalid="close"` does so.
"""

from pydantic import BaseModel

from trio_ws import App, Controller, WsBody

app = App()


class Wish(BaseModel):
    car: str
    seats: int = 4


@app.controller("/car")
class CarController(Controller):
    @app.listener("/text", encoding="text", on_invalid="close")
    async def shout(self, data: str = WsBody()) -> str:
        return data.upper()

    @app.listener("/json", encoding="json", on_invalid="close")
    async def grant(self, data: Wish = WsBody()) -> Wish:
        return data

    @app.listener("/bytes", encoding="bytes", on_invalid="close")
    async def reverse(self, data: bytes = WsBody()) -> bytes:
        return data[::-1]

    @app.listener("/number", encoding="text", on_invalid="close")
    async def number(self, data: int = WsBody()) -> str:
        return str(data + 1)
