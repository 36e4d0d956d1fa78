"""A WebSocket server within a Trio program: a weather station and its clients.

trio-ws connect ws://localhost:8000/weather

Ctrl-C cancels the program, and so does SIGTERM, which process managers send. For the server that is a graceful
shutdown: every client gets a close frame with 1001.
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
        async for _ in ws:  # messages are ignored; the loop ends with the connection
            pass


async def measure(readings: trio.MemorySendChannel[float], interval: float) -> None:
    """Read the thermometer, without any WebSocket."""
    temperature = 20.0
    async with readings:
        while True:
            temperature += random.uniform(-0.5, 0.5)
            await readings.send(round(temperature, 1))
            await trio.sleep(interval)


async def report(readings: trio.MemoryReceiveChannel[float]) -> None:
    """Publish the readings; slow clients do not delay it."""
    async for temperature in readings:
        await app.room("weather").publish({"temperature": temperature})


async def cancel_on_sigterm(scope: trio.CancelScope) -> None:
    """Cancel the program on SIGTERM, which otherwise ends it at once without close frames."""
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
    except* OSError as errors:  # for example, the port is in use
        problem = str(errors.exceptions[0])
    except* KeyboardInterrupt:
        pass
    if problem is None:
        print("goodbye")
    sys.exit(problem)
