import sys

import trio
from trio_websocket import open_websocket_url

SERVER, AGENT = sys.argv[1], sys.argv[2]


async def run_case(case: int) -> None:
    url = f"{SERVER}/runCase?case={case}&agent={AGENT}"
    async with open_websocket_url(url, max_message_size=16 << 20, connect_timeout=3, disconnect_timeout=3) as ws:
        while True:
            await ws.send_message(await ws.get_message())


async def main() -> None:
    async with open_websocket_url(f"{SERVER}/getCaseCount") as ws:
        count = int(await ws.get_message())
    for case in range(1, count + 1):
        try:
            with trio.move_on_after(20):
                await run_case(case)
        except* Exception:  # the suite judges by the wire, not by the errors of a client
            pass
    async with open_websocket_url(f"{SERVER}/updateReports?agent={AGENT}"):
        pass


trio.run(main)
