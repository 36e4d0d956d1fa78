"""Cafeto: the callback method in the classic style, with methods of the controller as callbacks."""

from trio_ws import App, Controller, ModelWSResponse
from trio_ws.app import Reply

from .cafeto_chat import ChatRequestDto, ChatResponseDto

app = App()
app.state.seen = []


@app.controller()
class WsController(Controller):
    @app.websocket("/chat", auto_accept=False)
    async def chat(self) -> None:
        await self.websocket.accept_callback(
            on_receive=self.on_receive, on_connect=self.on_connect, on_disconnect=self.on_disconnect
        )

    async def on_connect(self) -> None:
        app.state.seen.append("connect")

    async def on_disconnect(self) -> None:
        app.state.seen.append("disconnect")

    async def on_receive(self, data: ChatRequestDto) -> Reply:
        app.state.seen.append(data)
        return ModelWSResponse(ChatResponseDto(message="Hi", user="System"))
