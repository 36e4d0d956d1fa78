"""websockets on uvloop."""

import uvloop
from meter import Meter, echo
from websockets.asyncio.client import connect


async def main(meter: Meter) -> None:
    async with connect(meter.url, compression=None, proxy=None) as ws:
        await echo(meter, ws.send, ws.recv)
        meter.print()


uvloop.run(main(Meter()))
