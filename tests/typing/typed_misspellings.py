"""Ten misspellings of users: both type checkers find each, as an `ignore` without an error is an error itself."""
# pyright: basic, reportUnnecessaryTypeIgnoreComment=true

from collections.abc import AsyncGenerator

from trio_ws import App, Limits, Router, Timeouts, WebSocket, open_websocket, reconnect

app = App(origin="*")  # type: ignore[call-arg]
router = Router("/api", guard=[])  # type: ignore[call-arg]
limits = Limits(max_mesage_size=1024)  # type: ignore[call-arg]
timeouts = Timeouts(open_timeout="10 s")  # type: ignore[arg-type]


@app.websocket("/chat", recieve_type="json")  # type: ignore[call-arg]
async def chat(ws: WebSocket) -> None:
    await ws.send_jason({"a": 1})  # type: ignore[attr-defined]
    room = app.room("chat", histroy=50)  # type: ignore[call-arg]
    await room.publish("hello")


def serve() -> None:
    app.run("localhost", prot=8000)  # type: ignore[call-arg]


async def follow(url: str) -> AsyncGenerator[object, None]:
    async for connection in reconnect(url, header={}):  # type: ignore[call-arg]
        async with connection as ws:
            yield await ws.receive()


async def connect(url: str) -> None:
    async with open_websocket(url, subprotocol="chat") as ws:  # type: ignore[call-arg]
        await ws.send("hello")
