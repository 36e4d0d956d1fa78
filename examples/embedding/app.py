"""A WebSocket in a Trio program that has a life of its own: a weather station, and whoever wants to hear of it.

trio-ws connect ws://localhost:8000/weather

Ctrl-C cancels the program like any other, and here SIGTERM does, too, which process managers send. For the server in it
that is a graceful end: every client is told 1001.
"""

import random
import signal
import sys

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


async def cancel_on_sigterm(scope: trio.CancelScope) -> None:
    """End like Ctrl-C does; a program of Trio's ends at once without it, and clients see their connections drop."""
    with trio.open_signal_receiver(signal.SIGTERM) as signals:
        async for _ in signals:
            scope.cancel()


async def main(interval: float = 1.0) -> None:
    sending, receiving = trio.open_memory_channel[float](0)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(cancel_on_sigterm, nursery.cancel_scope)
        server = await nursery.start(app.serve, "localhost", 8000)
        print("listening on", *server.urls, flush=True)
        nursery.start_soon(measure, sending, interval)
        nursery.start_soon(report, receiving)


if __name__ == "__main__":
    problem = None
    try:
        trio.run(main)
    except* OSError as errors:  # the port is taken, say
        problem = str(errors.exceptions[0])
    except* KeyboardInterrupt:
        pass
    if problem is None:
        print("goodbye")
    sys.exit(problem)
