import asyncio
import sys

from websockets.asyncio.client import connect
from websockets.exceptions import WebSocketException

SERVER, AGENT = sys.argv[1], sys.argv[2]


async def get_case_count() -> int:
    async with connect(f"{SERVER}/getCaseCount") as websocket:
        return int(await websocket.recv())


async def run_case(case: int) -> None:
    async with connect(f"{SERVER}/runCase?case={case}&agent={AGENT}", max_size=2**25) as websocket:
        async for message in websocket:
            await websocket.send(message)


async def update_reports() -> None:
    async with connect(f"{SERVER}/updateReports?agent={AGENT}"):
        pass


async def main() -> None:
    for case in range(1, await get_case_count() + 1):
        try:
            await run_case(case)
        except (WebSocketException, OSError, EOFError):
            pass
    await update_reports()


asyncio.run(main())
