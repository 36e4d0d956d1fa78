"""trio-websocket."""

import trio
from meter import Meter, echo
from trio_websocket import open_websocket_url


async def main(meter: Meter) -> None:
    async with open_websocket_url(meter.url) as ws:
        await echo(meter, ws.send_message, ws.get_message)
        meter.print()


trio.run(main, Meter())
