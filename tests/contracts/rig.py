"""The rig: one connection with our side on one end, as server or client, and a raw peer on the other.

The peer is the test kit's, whose frame codec shares nothing with the library's: it refuses what is no valid frame, and
the rig refuses a frame that is torn. A test's body is written once and runs on both sides and on every transport.
"""

from __future__ import annotations

import math
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, Literal

import attrs
import trio
from support.asgi import config_of, open_network
from support.internals import internal
from support.tls import contexts, tls_over
from trio.testing import memory_stream_pair

from trio_ws import CloseCode, Server, Service, Timeouts, WebSocket, asgi, open_websocket, serve_websocket
from trio_ws.connection.settings import Settings
from trio_ws.server import serve as serve_module
from trio_ws.testing import (
    Opcode,
    RawConnectionEnded,
    RawFrame,
    RawPeer,
    RawRequest,
    frame_bytes,
    request_bytes,
    response_bytes,
)
from trio_ws.testing.network import MemoryListener
from trio_ws.testing.raw_frame import MASK_KEY
from trio_ws.transport.listeners import bind_tcp

OneService = internal(serve_module, "_OneService")

Side = Literal["server", "client"]
Network = Literal["poller", "tls", "stream", "memory", "http1", "http2"]
"""Our transports, and hypercorn with what the peer speaks to it, which clients do not have."""
Body = Callable[[WebSocket], Awaitable[object]]
Seen = tuple[str, Any]
"""What a peer saw: "text", "binary", "ping", "pong" or "close", and its content; for "close" code and reason."""

PATIENT = Timeouts(ping_interval=None)
"""The defaults, but for keepalive pings, which would be seen by the peer."""
NARROW = 8192
"""Bytes that the kernel keeps on our side of what a peer does not read: the rest stays in the outbox."""
LONG = 5.0
"""Seconds after which a test has hung."""


class Peer:
    """The other end: what it sends is what the test says, what it receives must be whole and valid frames.

    Args:
        stream: the network connection, after the handshake.
        client: whether the peer is the client.
        early: what came behind the handshake.
    """

    def __init__(self, stream: trio.abc.Stream, *, client: bool, early: bytes = b"") -> None:
        self.stream = stream
        self.client = client
        self.early = early
        self.seen: list[Seen] = []
        """All that was received so far."""
        self.fragments = 0
        """Data frames that were received so far."""
        self.parts: list[bytes] = []
        """Those of the message that is not complete."""
        self.raw = RawPeer(stream, side="client" if client else "server", timeout=math.inf, received=early)
        self._kind = Opcode.TEXT
        self._in_message = self._closed = self._over = False

    @property
    def reset(self) -> bool:
        """Whether the connection was reset, not ended."""
        return self.raw.end == "reset"

    # --- sending ---

    def control(self, opcode: int, payload: bytes = b"") -> bytes:
        """Return a control frame of this side."""
        return frame_bytes(opcode, payload, mask=MASK_KEY if self.client else None)

    def data(self, content: str | bytes, *, fin: bool = True) -> bytes:
        """Return a message, or the next part of one."""
        kind = Opcode.TEXT if isinstance(content, str) else Opcode.BINARY
        opcode, self._in_message = Opcode.CONTINUATION if self._in_message else kind, not fin
        return frame_bytes(opcode, content, fin=fin, mask=MASK_KEY if self.client else None)

    async def send(self, data: bytes) -> None:
        """Send bytes as they are."""
        await self.raw.send(data)

    async def message(self, content: str | bytes, *, fin: bool = True) -> None:
        """Send a message, or a part of one."""
        await self.send(self.data(content, fin=fin))

    async def ping(self, payload: bytes = b"") -> None:
        await self.raw.ping(payload)

    async def pong(self, payload: bytes = b"") -> None:
        await self.raw.pong(payload)

    async def close(self, code: int | None = 1000, reason: str = "") -> None:
        """Send a close frame."""
        self._closed = True
        await self.raw.close_frame(code, reason)

    # --- receiving ---

    async def next(self) -> Seen | None:
        """Return the next message or control frame; None at the end of the connection, which must tear no frame."""
        with trio.fail_after(LONG):
            while not self._over:
                try:
                    seen = self._take(await self.raw.receive_frame())
                except RawConnectionEnded as end:
                    if end.unread:
                        raise
                    self._over = True
                    return None
                if seen is not None:
                    self.seen.append(seen)
                    return seen
        return None

    def _take(self, frame: RawFrame) -> Seen | None:
        if frame.opcode == Opcode.CLOSE:
            return "close", (frame.close_code, frame.close_reason)
        if frame.opcode > Opcode.CLOSE:
            return Opcode(frame.opcode).name.lower(), frame.payload
        if frame.opcode != Opcode.CONTINUATION:
            self._kind = Opcode(frame.opcode)
        self.parts.append(frame.payload)
        self.fragments += 1
        if not frame.fin:
            return None
        content, self.parts = b"".join(self.parts), []
        return ("text", content.decode()) if self._kind == Opcode.TEXT else ("binary", content)

    async def rest(self) -> list[Seen]:
        """Receive to the end of the connection, with the peer's part of the closing handshake; return what came."""
        start = len(self.seen)
        while True:
            if self.seen and self.seen[-1][0] == "close":
                await self._answer_close(self.seen[-1][1][0])
            if await self.next() is None:
                break
        await self.leave()
        return self.seen[start:]

    async def _answer_close(self, code: int) -> None:
        if not self._closed:
            try:
                await self.close(None if code == CloseCode.NO_STATUS_RECEIVED else code)
            except trio.BrokenResourceError:
                return  # given up already: the end of the connection is on its way
        if not self.client:  # it is the server who ends the connection (RFC 6455 7.1.1)
            await self.leave()

    async def leave(self) -> None:
        """End the network connection."""
        self._over = True
        with trio.CancelScope(shield=True):
            await trio.aclose_forcefully(self.stream)


Step = Callable[[Peer], Awaitable[None]]


def piece(content: str | bytes) -> Step:
    """Send a part of a message that is not the last one."""
    return lambda peer: peer.message(content, fin=False)


def sees(*expected: str) -> Step:
    """Receive texts, and nothing else."""

    async def receive(peer: Peer) -> None:
        for content in expected:
            assert await peer.next() == ("text", content)

    return receive


def request(target: str = "/", *extra: str) -> bytes:
    """A request for a WebSocket, with extra header lines."""
    return request_bytes(target, [(name, value) for name, _, value in (line.partition(": ") for line in extra)])


async def read_head(stream: trio.abc.Stream) -> tuple[bytes, bytes]:
    """Read the head of a request or a response; return it, and what came behind it."""
    data = b""
    while b"\r\n\r\n" not in data:
        more = await stream.receive_some(65536)
        assert more or not data, f"the connection ended inside a head: {data!r}"
        if not more:
            return b"", b""
        data += more
    head, _, rest = data.partition(b"\r\n\r\n")
    return head, rest


def status_of(head: bytes) -> int:
    """The status of a response, 0 if there was none."""
    return int(head.split(b" ")[1]) if head else 0


@attrs.define
class Rig:
    """Makes connections for one side, on one network."""

    side: Side
    network: Network
    codes: list[int] = attrs.field(factory=list)
    """With what `on_disconnect` was called, on the server."""
    error: BaseException | None = None
    """What left the body: on the client what left the block."""
    websocket: WebSocket = attrs.field(init=False)
    """Ours, of the last connection."""
    server: Server = attrs.field(init=False)
    _listener: MemoryListener | None = None

    @property
    def origin(self) -> str:
        """How URLs of the server begin."""
        return "wss://localhost" if self.network == "tls" else "ws://localhost"

    # --- our side as the server ---

    async def serve(self, nursery: trio.Nursery, body: Body, **options: Any) -> Server:
        """Start a server whose handler is `body`."""

        async def serve(task_status: trio.TaskStatus[Server]) -> None:
            await self.serving(body, task_status=task_status, **options)

        self.server = await nursery.start(serve)
        return self.server

    async def serving(self, body: Body, **options: Any) -> None:
        """Serve until cancelled; what goes on in the meantime is noted here."""
        after = options.pop("on_disconnect", None)

        async def on_disconnect(websocket: WebSocket, code: int) -> None:
            self.codes.append(code)
            if after is not None:
                await after(websocket, code)

        options = {"timeouts": PATIENT, **options, "on_disconnect": on_disconnect}
        if self.network == "memory":
            self._listener = MemoryListener(1 << 40)
            await serve_websocket(self._noted(body), listeners=[self._listener], **options)
        elif self.network in ("http1", "http2"):
            await self._serve_under_hypercorn(self._noted(body), options)
        else:
            poller = self.network in ("poller", "tls")
            if self.network == "tls":
                options["ssl_context"] = contexts()[0]
            (sock,) = await bind_tcp("127.0.0.1", 0)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, NARROW)
            await serve_websocket(self._noted(body), listeners=[sock], poller=poller, **options)

    async def _serve_under_hypercorn(self, handler: Body, options: dict[str, Any]) -> None:
        started = options.pop("task_status", trio.TASK_STATUS_IGNORED)
        settings = Settings(
            **{name: options.pop(name) for name in ("limits", "timeouts", "compression", "origins") if name in options}
        )
        bridge = asgi.ASGIApplication(OneService(Service(handler=handler, **options)), settings=settings)
        # What our own server tells when it is cancelled; the runner's default is 1012.
        await asgi.serve(bridge, config_of([]), code=CloseCode.GOING_AWAY, task_status=started)

    def _noted(self, body: Body) -> Body:
        async def run(websocket: WebSocket) -> None:
            self.websocket = websocket
            try:
                await body(websocket)
            except BaseException as error:
                self.error = error
                raise

        return run

    async def stream(self) -> trio.abc.Stream:
        """Open a network connection to the server."""
        if self._listener is not None:
            return self._listener.connect()
        if self.network in ("http1", "http2"):
            return await open_network(self.server.port, self.network)
        stream = await trio.open_tcp_stream("127.0.0.1", self.server.port)
        if self.network != "tls":
            return stream
        secure = tls_over(stream, server=False)
        try:
            await secure.do_handshake()
        except BaseException:
            await trio.aclose_forcefully(secure)
            raise
        return secure

    async def dial(self, *extra: str, target: str = "/", behind: bytes = b"") -> tuple[bytes, Peer]:
        """Ask the server for a WebSocket; return the head of its answer, and the peer."""
        stream = await self.stream()
        try:
            await stream.send_all(request(target, *extra) + behind)
            head, early = await read_head(stream)
        except BaseException:
            await trio.aclose_forcefully(stream)
            raise
        return head, Peer(stream, client=True, early=early)

    async def all_gone(self) -> None:
        """Wait until the server has no connection."""
        with trio.fail_after(LONG):
            while self.server.statistics().connections:
                await trio.sleep(0.001)

    # --- either ---

    @asynccontextmanager
    async def connect(self, body: Body, **options: Any) -> AsyncIterator[Peer]:
        """Run `body` on our side of a new connection; leaving waits for its end, and fails if `body` did.

        A wrong assumption of the body's is an AssertionError; everything else that leaves it is in `error`.
        """
        self.error = None
        make = self._connect_to_server if self.side == "server" else self._connect_to_client
        with trio.fail_after(LONG):
            async with make(body, options) as peer:
                try:
                    yield peer
                finally:
                    await peer.leave()
        if isinstance(self.error, AssertionError):
            raise self.error

    async def run(self, body: Body, *steps: str | bytes | Step, close: int | None = None, **options: Any) -> list[Seen]:
        """Run `body` with a peer that sends messages, takes steps, and sends a close frame; return what it then saw."""
        async with self.connect(body, **options) as peer:
            for step in steps:
                await (step(peer) if callable(step) else peer.message(step))
            if close is not None:
                await peer.close(close)
            return await peer.rest()

    @asynccontextmanager
    async def _connect_to_server(self, body: Body, options: dict[str, Any]) -> AsyncIterator[Peer]:
        async with trio.open_nursery() as nursery:
            await self.serve(nursery, body, **options)
            head, peer = await self.dial()
            assert status_of(head) == 101
            yield peer
            await self.all_gone()
            nursery.cancel_scope.cancel()

    @asynccontextmanager
    async def _connect_to_client(self, body: Body, options: dict[str, Any]) -> AsyncIterator[Peer]:
        options = {"timeouts": PATIENT, **options}
        async with trio.open_nursery() as nursery:
            if self.network == "memory":
                stream, theirs = memory_stream_pair()
                nursery.start_soon(self._open, body, "ws://localhost/", options | {"stream": stream})
            else:
                (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
                async with listener:
                    ours = await trio.open_tcp_stream("127.0.0.1", listener.socket.getsockname()[1])
                    theirs = await listener.accept()
                ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, NARROW)
                options |= {"stream": ours, "poller": self.network in ("poller", "tls")}
                if self.network == "tls":
                    options["ssl_context"] = contexts()[1]
                    theirs = tls_over(theirs, server=True)
                nursery.start_soon(self._open, body, f"{self.origin}/", options)
            yield await self._answer(theirs)

    async def _answer(self, stream: trio.abc.Stream) -> Peer:
        head, early = await read_head(stream)
        await stream.send_all(response_bytes(RawRequest.parse(head).headers["sec-websocket-key"]))
        return Peer(stream, client=False, early=early)

    async def _open(self, body: Body, url: str, options: dict[str, Any]) -> None:
        try:
            async with open_websocket(url, **options) as websocket:
                self.websocket = websocket
                await body(websocket)
        except Exception as error:
            self.error = error
