"""trio_ws, default settings."""

import trio
from meter import Meter, echo

from trio_ws import open_websocket


async def main(meter: Meter) -> None:
    async with open_websocket(meter.url) as ws:
        await echo(meter, ws.send, ws.receive)
        meter.print()


trio.run(main, Meter())
