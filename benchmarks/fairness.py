"""The longest step of any task, in processor time, under the most expensive input of one peer.

    python benchmarks/fairness.py

While a step runs no other task does. The peer is a thread with plain sockets, whose time does not count; neither does
that of other processes. Each figure is the minimum of several runs, since disturbances only make steps longer. The time
of Python's garbage collector within the step is shown too: a full collection visits all objects of the process, and
JSON creates many.
"""

from __future__ import annotations

import base64
import gc
import math
import os
import random
import socket
import subprocess
import sys
import threading
import time
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, Final

import attrs
import trio

from trio_ws import App, Compression, Limits, Timeouts, WebSocket, open_websocket
from trio_ws.protocol.codec import CODEC
from trio_ws.protocol.frames import BINARY, CLOSE, CONTINUATION, PING, TEXT, encode_frame
from trio_ws.protocol.speedups import CompiledDecoder

MIB: Final = 1 << 20
KEY: Final = b"\x11\xa2\x73\xf4"
RUNS: Final = 2
GOAL: Final = 10.0
"""Milliseconds."""
OFFER: Final = "Sec-WebSocket-Extensions: permessage-deflate"
TIMES: Final = Timeouts(ping_interval=None, close_timeout=30.0)
MANY: Final = 64


class Steps(trio.abc.Instrument):
    """Measures the longest step in seconds of this thread, and the garbage collector's share."""

    def __init__(self) -> None:
        self.longest = self.collecting = 0.0
        self._began = math.inf  # the step that is under way has no beginning
        self._collection_began = self._collected = 0.0
        gc.callbacks.append(self._collect)

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        self._collected = 0.0
        self._began = time.thread_time()

    def after_task_step(self, task: trio.lowlevel.Task) -> None:
        took = time.thread_time() - self._began
        if took > self.longest:
            self.longest, self.collecting = took, self._collected

    def _collect(self, phase: str, _: object) -> None:
        if phase == "start":
            self._collection_began = time.thread_time()
        else:
            self._collected += time.thread_time() - self._collection_began

    def stop(self) -> None:
        gc.callbacks.remove(self._collect)


# --- what the peer sends ---


def frame(opcode: int, payload: bytes, **options: Any) -> bytes:
    return encode_frame(opcode, payload, mask=KEY, **options)


def deflated(payload: bytes) -> bytes:
    stream = zlib.compressobj(wbits=-15)
    return (stream.compress(payload) + stream.flush(zlib.Z_SYNC_FLUSH))[:-4]


def fragments(payload: bytes) -> bytes:
    """Return a compressed text message, a byte in each frame, with a ping behind each."""
    data, ping = deflated(payload), frame(PING, b"p")
    frames = [
        frame(TEXT if not at else CONTINUATION, data[at : at + 1], fin=False, rsv1=not at) for at in range(len(data))
    ]
    return ping.join([*frames, frame(CONTINUATION, b"")])


def bomb_of(text: str) -> bytes:
    return frame(TEXT, deflated(text.encode()), rsv1=True)


def bomb(unit: str, *, mask: bytes | None = KEY) -> bytes:
    """Return a compressed text message of a mebibyte: a JSON array of `unit`."""
    text = "[" + f"{unit}," * ((MIB - 8 - len(unit)) // (len(unit) + 1)) + f"{unit}]"
    return encode_frame(TEXT, deflated(text.encode()), rsv1=True, mask=mask)


def request(target: str = "/", *headers: str) -> bytes:
    key = base64.b64encode(bytes(16)).decode()
    lines = [
        f"GET {target} HTTP/1.1",
        "Host: localhost",
        "Upgrade: websocket",
        "Connection: Upgrade",
        f"Sec-WebSocket-Key: {key}",
        "Sec-WebSocket-Version: 13",
        *headers,
    ]
    return "\r\n".join([*lines, "", ""]).encode()


def words(size: int) -> str:
    rnd = random.Random(1)
    return " ".join(str(rnd.randrange(1000)) for _ in range(size // 3))[:size]


# --- what is served ---


async def swallow(ws: WebSocket) -> None:
    async for _ in ws:
        pass


async def echo(ws: WebSocket) -> None:
    async for message in ws:
        await ws.send(message)


async def close(ws: WebSocket) -> None:
    await ws.close()


async def sleep(ws: WebSocket) -> None:
    await trio.sleep_forever()


def one_route(handler: Callable[[WebSocket], Awaitable[None]], **options: Any) -> Callable[[], App]:
    def make() -> App:
        app = App(compression=True, timeouts=TIMES, limits=Limits(**options.pop("limits", {})))
        app.websocket("/", **options)(handler)
        return app

    return make


def many_routes() -> App:
    app = App()
    for number in range(100):

        async def view(ws: WebSocket, rest: str = "") -> None: ...

        app.websocket(f"/route{number}/{{rest:path}}")(view)
    return app


def many_parameters() -> App:
    app = App()
    names = ", ".join(f"q{n}: int = 0, c{n}: int = Cookie(0), h{n}: int = Header(0)" for n in range(20))
    namespace: dict[str, Any] = {}
    exec(f"from trio_ws import Cookie, Header\nasync def view(ws, {names}): pass", namespace)
    app.websocket("/")(namespace["view"])
    return app


def a_listener() -> App:
    app = App(compression=True, timeouts=TIMES)

    @app.listener("/")
    async def listen(data: list[int]) -> None: ...

    return app


def a_room(members: int, history: int, *, compressing: bool = False) -> App:
    """A room with the peer and members whose streams in memory take everything."""
    app = App(compression=Compression(send_context=compressing), timeouts=TIMES)
    app.state.members, app.state.history, app.state.compressing = members, history, compressing

    @app.websocket("/")
    async def view(ws: WebSocket) -> None:
        async with app.room("room", history=history).join(ws) as room:
            async for message in ws:
                await room.publish(message)

    return app


@attrs.frozen
class Input:
    """One case."""

    name: str
    make: Callable[[], App]
    opening: bytes
    sent: bytes
    leaves: bool = False
    """Whether the peer disconnects at once."""


BOMBS: Final = bomb("0") * MANY
GOODBYE: Final = frame(CLOSE, b"\x03\xe8")
PLAIN, COMPRESSING = request(), request("/", OFFER)

INPUTS: Final = [
    Input("64 messages of 1 KiB that inflate to 1 MiB", one_route(swallow), COMPRESSING, BOMBS + GOODBYE),
    Input("the same, JSON: numbers", one_route(swallow, value_type="json"), COMPRESSING, bomb("0") * 16 + GOODBYE),
    Input("the same, JSON: fractions", one_route(swallow, value_type="json"), COMPRESSING, bomb("0.5") * 16 + GOODBYE),
    Input("the same, JSON: empty arrays", one_route(swallow, value_type="json"), COMPRESSING, bomb("[]") * 8 + GOODBYE),
    Input(
        "the same, JSON: one string of escapes",
        one_route(swallow, value_type="json"),
        COMPRESSING,
        bomb_of('["' + r"\u0041" * (MIB // 6 - 2) + '"]') * 8 + GOODBYE,
    ),
    Input(
        "the same, JSON: quotes, which is none",
        one_route(swallow, value_type="json"),
        COMPRESSING,
        bomb_of("[" + '"' * (MIB - 2)),
    ),
    Input(
        "the same, JSON: 126 levels",
        one_route(swallow, value_type="json"),
        COMPRESSING,
        bomb_of("[" * 126 + '{"a":0},' * (MIB // 8 - 40) + "0" + "]" * 126) * 4 + GOODBYE,
    ),
    Input(
        "the same, JSON: objects, echoed",
        one_route(echo, value_type="json"),
        COMPRESSING,
        bomb('{"a":0}') * 4 + GOODBYE,
    ),
    Input(
        "the same, in fragments of a byte, among pings",
        one_route(swallow),
        COMPRESSING,
        fragments(b"x" * (MIB - 2)) * 8 + GOODBYE,
    ),
    Input("the same, a listener's list[int]", a_listener, COMPRESSING, bomb("0") * 8 + GOODBYE),
    Input("the same after our close frame", one_route(close), COMPRESSING, BOMBS + GOODBYE),
    Input("the same, and the peer has left", one_route(sleep), COMPRESSING, BOMBS, leaves=True),
    Input(
        "one message that inflates to 64 MiB",
        one_route(swallow, limits={"max_message_size": 64 * MIB}),
        COMPRESSING,
        frame(BINARY, deflated(bytes(64 * MIB)), rsv1=True) + GOODBYE,
    ),
    Input("100 routes, a path of 8 KiB of slashes", many_routes, request("/" + "/" * 8100), b"", leaves=True),
    Input("100 routes, a path of 8 KiB of escapes", many_routes, request("/" + "%41/" * 2000), b"", leaves=True),
    Input(
        "60 parameters, 1,600 in the query, 4,800 cookies",
        many_parameters,
        request("/?" + "q1=1&" * 1600, *["Cookie: " + "c1=1;" * 1600] * 3),
        b"",
        leaves=True,
    ),
    Input(
        "100 headers",
        one_route(sleep),
        request("/", *[f"X-{number}: {'a' * 300}" for number in range(90)]),
        b"",
        leaves=True,
    ),
    Input(
        "a message in 65,000 fragments",
        one_route(swallow),
        PLAIN,
        frame(TEXT, b"a", fin=False)
        + frame(CONTINUATION, b"a", fin=False) * 65_000
        + frame(CONTINUATION, b"")
        + GOODBYE,
    ),
    Input("50,000 pings", one_route(sleep), PLAIN, frame(PING, bytes(125)) * 50_000, leaves=True),
    Input("200,000 small messages", one_route(swallow), PLAIN, frame(TEXT, b"small") * 200_000 + GOODBYE),
    Input("the same, JSON", one_route(swallow, value_type="json"), PLAIN, frame(TEXT, b"[1]") * 100_000 + GOODBYE),
    Input("the same after our close frame", one_route(close), PLAIN, frame(TEXT, b"small") * 200_000 + GOODBYE),
    Input(
        "1 MiB of text, echoed with compression",
        one_route(echo),
        COMPRESSING,
        frame(TEXT, words(MIB).encode()) * 4 + GOODBYE,
    ),
    Input(
        "a newcomer and a history of 1,000 messages of 1 KiB, compressed",
        lambda: a_room(0, 1000),
        COMPRESSING,
        b"",
        leaves=True,
    ),
    Input(
        "1 MiB for a room of 50 members, compressed with context",
        lambda: a_room(50, 0, compressing=True),
        PLAIN,
        frame(TEXT, words(MIB - 1).encode()) * 2,
        leaves=True,
    ),
    Input(
        "1 KiB for a room of 500 members",
        lambda: a_room(500, 0),
        PLAIN,
        frame(TEXT, b"x" * 1000),
        leaves=True,
    ),
]


# --- measuring ---


def be_the_peer(port: int, case: Input) -> None:
    with socket.create_connection(("127.0.0.1", port)) as sock:
        sock.settimeout(60)
        reader = threading.Thread(target=read_to_the_end, args=(sock,))
        sock.sendall(case.opening)
        if case.sent:
            head = b""
            while b"\r\n\r\n" not in head:
                head += sock.recv(1)
            reader.start()
            try:
                sock.sendall(case.sent)
            except OSError:
                return
        else:
            reader.start()
        if case.leaves:
            time.sleep(0.5)
            sock.shutdown(socket.SHUT_WR)
        reader.join()


def read_to_the_end(sock: socket.socket) -> None:
    try:
        while sock.recv(1 << 16):
            pass
    except OSError:
        pass


@asynccontextmanager
async def inhabited(app: App, port: int) -> AsyncIterator[None]:
    """Fill a room's history and keep its members connected."""
    members, history = getattr(app.state, "members", 0), getattr(app.state, "history", 0)
    compressing = getattr(app.state, "compressing", False)
    async with trio.open_nursery() as nursery:

        async def member(task_status: trio.TaskStatus[None]) -> None:
            async with open_websocket(f"ws://127.0.0.1:{port}/", compression=compressing) as ws:
                task_status.started()
                async for _ in ws:
                    pass

        for _ in range(members or (history > 0)):
            await nursery.start(member)
        for _ in range(history):
            await app.room("room", history=history).publish(words(1000))
        await trio.sleep(0.05)
        yield
        nursery.cancel_scope.cancel()


async def measure(case: Input) -> tuple[float, float]:
    app = case.make()
    async with trio.open_nursery() as nursery:
        server = await nursery.start(app.serve, "127.0.0.1", 0)
        async with inhabited(app, server.port):
            gc.collect()
            steps = Steps()
            trio.lowlevel.add_instrument(steps)
            await trio.to_thread.run_sync(be_the_peer, server.port, case)
            trio.lowlevel.remove_instrument(steps)
            steps.stop()
        nursery.cancel_scope.cancel()
    return 1000 * steps.longest, 1000 * steps.collecting


async def measure_client(unit: str) -> tuple[float, float]:
    """Measure a client that receives compression bombs as JSON."""
    listener = socket.create_server(("127.0.0.1", 0))

    def be_the_server() -> None:
        from wsproto.utilities import generate_accept_token  # noqa: PLC0415

        sock, _ = listener.accept()
        with sock:
            head = b""
            while b"\r\n\r\n" not in head:
                head += sock.recv(1)
            key = next(line for line in head.split(b"\r\n") if line.lower().startswith(b"sec-websocket-key:"))
            token = generate_accept_token(key.split(b":")[1].strip()).decode()
            lines = ["HTTP/1.1 101 Switching Protocols", "Upgrade: websocket", "Connection: Upgrade"]
            lines += [
                OFFER + "; client_no_context_takeover; server_no_context_takeover",
                f"Sec-WebSocket-Accept: {token}",
            ]
            sock.sendall("\r\n".join([*lines, "", ""]).encode())
            sock.sendall(bomb(unit, mask=None) * 8 + encode_frame(CLOSE, b"\x03\xe8", mask=None))
            read_to_the_end(sock)

    thread = threading.Thread(target=be_the_server)
    thread.start()
    url = f"ws://127.0.0.1:{listener.getsockname()[1]}/"
    async with open_websocket(url, compression=True) as ws:
        steps = Steps()
        trio.lowlevel.add_instrument(steps)
        for _ in range(8):
            await ws.receive_json()
        trio.lowlevel.remove_instrument(steps)
        steps.stop()
    thread.join()
    listener.close()
    return 1000 * steps.longest, 1000 * steps.collecting


def best(function: Callable[..., Awaitable[tuple[float, float]]], argument: object) -> tuple[float, float]:
    return min(trio.run(function, argument) for _ in range(RUNS))


def main() -> None:
    if "--one-codec" not in sys.argv:
        for pure in ("", "1"):
            subprocess.run(
                [sys.executable, __file__, "--one-codec"], env={**os.environ, "TRIO_WS_PURE_PYTHON": pure}, check=True
            )
        return
    codec = "compiled" if issubclass(CODEC.decoder, CompiledDecoder) else "pure Python"
    print(f"\nthe longest step of a task, {codec} codec, in ms of processor time (goal: {GOAL:g})\n")
    cases: list[tuple[str, Callable[..., Awaitable[tuple[float, float]]], object]] = [
        (case.name, measure, case) for case in INPUTS
    ]
    cases.append(("a client: 8 messages that inflate to 1 MiB of JSON", measure_client, "0"))
    width = max(len(name) for name, *_ in cases)
    print(f"{'':{width}}  longest  of it garbage collection")
    for name, function, argument in cases:
        longest, collecting = best(function, argument)
        missed = "  missed" if longest - collecting > GOAL else ""
        print(f"{name:{width}}  {longest:7.1f}  {collecting:7.1f}{missed}", flush=True)


if __name__ == "__main__":
    main()
