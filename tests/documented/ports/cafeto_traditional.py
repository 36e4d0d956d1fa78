"""Cafeto: the traditional method: the handler accepts by itself, and receives in a loop.

The document catches `Exception` around the body of its loop, so that a mistake there looks like a client that left.
Here it is the end of the connection that is caught, and a mistake closes with 1011. Its example sends another object
than the text below it describes: here it is the described one.
"""

from trio_ws import App, Controller, WebSocketDisconnect

app = App()
app.state.seen = []


@app.controller()
class WsController(Controller):
    @app.websocket("/chat", auto_accept=False)
    async def chat(self) -> None:
        await self.websocket.accept()
        app.state.seen.append("connect")

        while True:
            try:
                data = await self.websocket.receive_json()
                app.state.seen.append(data)
                await self.websocket.send_json({"message": "Hi", "user": "System"})
            except WebSocketDisconnect:
                app.state.seen.append("disconnect")
                break
