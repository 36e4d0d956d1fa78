"""A WebSocket in a Trio program that has a life of its own: a weather station, and whoever wants to hear of it.

trio-ws connect ws://localhost:8000/weather

Ctrl-C cancels the program like any other. For the server in it that is a graceful end: every client is told 1001.
"""

import random

import trio

from trio_ws import App, WebSocket

app = App()


@app.websocket("/weather")
async def weather(ws: WebSocket) -> None:
    async with app.room("weather").join(ws):
        async for _ in ws:  # nothing that a client says matters, but that it leaves
            pass


async def measure(readings: trio.MemorySendChannel[float], interval: float) -> None:
    """Read the thermometer: it knows nothing of WebSockets."""
    temperature = 20.0
    async with readings:
        while True:
            temperature += random.uniform(-0.5, 0.5)
            await readings.send(round(temperature, 1))
            await trio.sleep(interval)


async def report(readings: trio.MemoryReceiveChannel[float]) -> None:
    """Tell whoever is connected; nobody who is slow can hold it up."""
    async for temperature in readings:
        await app.room("weather").publish({"temperature": temperature})


async def main(interval: float = 1.0) -> None:
    sending, receiving = trio.open_memory_channel[float](0)
    async with trio.open_nursery() as nursery:
        server = await nursery.start(app.serve, "localhost", 8000)
        print("listening on", *server.urls, flush=True)
        nursery.start_soon(measure, sending, interval)
        nursery.start_soon(report, receiving)


if __name__ == "__main__":
    try:
        trio.run(main)
    except* KeyboardInterrupt:
        print("goodbye")
