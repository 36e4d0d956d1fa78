"""Cafeto: the callback method in the classic style, with functions inside the handler."""

from trio_ws import App, Controller, ModelWSResponse
from trio_ws.app import Reply

from .cafeto_chat import ChatRequestDto, ChatResponseDto

app = App()
app.state.seen = []


@app.controller()
class WsController(Controller):
    @app.websocket("/chat", auto_accept=False)
    async def chat(self) -> None:
        async def on_connect() -> None:
            app.state.seen.append("connect")

        async def on_disconnect() -> None:
            app.state.seen.append("disconnect")

        # The document annotates the DTO that is inside the reply; what is returned is the reply around it.
        async def on_receive(data: ChatRequestDto) -> Reply:
            app.state.seen.append(data)
            return ModelWSResponse(ChatResponseDto(message="Hi", user="System"))

        await self.websocket.accept_callback(on_connect=on_connect, on_disconnect=on_disconnect, on_receive=on_receive)
