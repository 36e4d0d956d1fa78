"""A chat of 80 clients over loopback: some leave rudely, some never read; the others notice only who is there."""

from __future__ import annotations

import random
import socket
import struct
from functools import partial

import pytest
import trio

from trio_ws import App, Limits, Timeouts, WebSocket, open_websocket

CROWD = 80
RUDE = 20
"""Those that reset their connection."""
DEAF = 6
"""Those that never read."""
FILLER = "x" * 4_000
SPEAKERS = 40
BACKLOG = 208 * 1024
"""Holds what the speakers say in one round, and not what they say in two."""
LONG = 300
"""Seconds after which the test has hung; it takes one or two."""


def chat() -> App:
    # Only what is counted ends a member, the backlog. All of them share this event loop: on a busy machine nobody may
    # get to read for longer than any `send_timeout` that a test can wait for, and the healthy were ended by it too.
    app = App(limits=Limits(outbox_bytes=16 * 1024), timeouts=Timeouts(send_timeout=1000, ping_interval=None))

    @app.websocket("/chat", value_type="json")
    async def handler(ws: WebSocket, name: str) -> None:
        async with app.room("hall", backlog=BACKLOG).join(ws, name=name) as room:
            await ws.send({"count": room.count})
            async for message in ws:
                await room.publish({"from": name, **message})

    return app


async def leave_rudely(stream: trio.SocketStream) -> None:
    stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    await trio.aclose_forcefully(stream)


@pytest.mark.slow
async def test_a_crowd_in_which_some_leave_rudely_and_some_never_read() -> None:
    app = chat()
    rng = random.Random(1)
    order = list(range(CROWD))
    rng.shuffle(order)
    rude = set(order[:RUDE])
    healthy = set(order[RUDE + DEAF :])
    heard: dict[int, list[str]] = {number: [] for number in healthy}
    joined = 0
    talk_over = trio.Event()
    room = app.room("hall", backlog=BACKLOG)

    async with trio.open_nursery() as nursery:
        listening = socket.create_server(("127.0.0.1", 0))
        # Of its connections too: what nobody reads shall wait in the library, not in the kernel.
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 8192)
        serve = partial(app.serve, port=None, listeners=[listening])
        server = await nursery.start(serve)
        url = f"ws://127.0.0.1:{server.port}/chat?name="

        async def listen(number: int, task_status: trio.TaskStatus[WebSocket]) -> None:
            async with open_websocket(f"{url}{number}", receive_type="json", send_type="json") as ws:
                check_count(await ws.receive())
                task_status.started(ws)
                while len(heard[number]) < 2 * SPEAKERS:
                    heard[number].append((await ws.receive())["from"])
                await talk_over.wait()

        async def stay(number: int, task_status: trio.TaskStatus[trio.SocketStream]) -> None:
            """Connect and never read again, until somebody closes the connection."""
            sock = trio.socket.socket()
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)  # so that the kernel does not read for it
            await sock.connect(("127.0.0.1", server.port))
            stream = trio.SocketStream(sock)
            await stream.send_all(
                f"GET /chat?name={number} HTTP/1.1\r\nHost: 127.0.0.1:{server.port}\r\nUpgrade: websocket\r\n"
                "Connection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
                "Sec-WebSocket-Version: 13\r\n\r\n".encode()
            )
            got = b""
            while b"count" not in got:
                got += await stream.receive_some(4096)
            check_count({"count": int(got.rpartition(b":")[2].rstrip(b"}"))})
            task_status.started(stream)
            await talk_over.wait()
            await trio.aclose_forcefully(stream)

        async def round_heard(rounds: int) -> None:
            while any(len(names) < rounds * SPEAKERS for names in heard.values()):
                await trio.sleep(0.01)

        def check_count(greeting: dict[str, int]) -> None:
            nonlocal joined
            joined += 1
            assert greeting == {"count": joined} == {"count": room.count}

        speakers: list[WebSocket] = []
        streams: dict[int, trio.SocketStream] = {}
        with trio.fail_after(LONG):
            for number in range(CROWD):
                if number in healthy:
                    ws = await nursery.start(listen, number)
                    if len(speakers) < SPEAKERS:
                        speakers.append(ws)
                else:
                    streams[number] = await nursery.start(stay, number)
            assert {member.info["name"] for member in room.members} == {str(number) for number in range(CROWD)}

            for speaker in speakers:
                await speaker.send({"text": FILLER})
            await round_heard(1)
            for number in rude:
                await leave_rudely(streams[number])
            while room.count > CROWD - RUDE:
                await trio.sleep(0.01)
            assert room.count >= len(healthy)
            for speaker in speakers:
                await speaker.send({"text": FILLER})
            await round_heard(2)

            # Every healthy member heard everything, in one order.
            assert len({tuple(names) for names in heard.values()}) == 1
            while room.count > len(healthy):  # the deaf ones are closed with 1013
                await trio.sleep(0.01)
            assert {member.info["name"] for member in room.members} == {str(number) for number in healthy}

            talk_over.set()
            while server.statistics().connections:
                await trio.sleep(0.01)
        assert room.count == 0
        assert server.statistics().handler_errors == 0
        assert len(app.services.rooms) == 0
        nursery.cancel_scope.cancel()
