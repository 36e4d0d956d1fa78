import sys

import trio

from trio_ws import Compression, Limits, WebSocketError, open_websocket

SERVER, AGENT = sys.argv[1], sys.argv[2]
OPTIONS = {"limits": Limits(max_message_size=16 << 20), "compression": Compression(threshold=0)}


async def run_case(case: int) -> None:
    async with open_websocket(f"{SERVER}/runCase?case={case}&agent={AGENT}", **OPTIONS) as ws:
        async for message in ws:
            await ws.send(message)


async def main() -> None:
    async with open_websocket(f"{SERVER}/getCaseCount") as ws:
        count = int(await ws.receive())
    for case in range(1, count + 1):
        try:
            await run_case(case)
        except WebSocketError:
            pass
    async with open_websocket(f"{SERVER}/updateReports?agent={AGENT}") as ws:
        async for _ in ws:
            pass


trio.run(main)
