"""aiohttp on uvloop."""

import uvloop
from aiohttp import ClientSession
from meter import Meter, echo


async def main(meter: Meter) -> None:
    async with ClientSession() as session, session.ws_connect(meter.url) as ws:
        await echo(meter, ws.send_str, ws.receive_str)
        meter.print()


uvloop.run(main(Meter()))
