"""A client of the echo server, which sends its arguments and prints the replies.

python examples/echo/client.py Hello there
"""

import argparse

import trio

from trio_ws import open_websocket


async def main(url: str, messages: list[str]) -> None:
    async with open_websocket(url) as ws:
        for message in messages:
            await ws.send(message)
            print(await ws.receive())
        print(f"A ping takes {await ws.ping() * 1000:.1f} ms.")


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--url", default="ws://localhost:8000/echo")
    parser.add_argument("messages", nargs="*", default=["Hello!"])
    options = parser.parse_args()
    trio.run(main, options.url, options.messages)
