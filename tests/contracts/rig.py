"""The rig: one connection with our side on one end, as server or client, and a raw peer on the other.

The peer speaks through wsproto's frame codec, which knows nothing of ours: it refuses what is no frame, and the rig
refuses a frame that is torn. A test's body is written once and runs on both sides and on every transport.
"""

from __future__ import annotations

import base64
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, Literal

import attrs
import trio
from support.asgi import config_of, open_network
from support.internals import internal
from support.memory import MemoryListener
from support.tls import contexts, tls_over
from trio.testing import memory_stream_pair
from wsproto.frame_protocol import CloseReason, FrameProtocol, Opcode
from wsproto.utilities import generate_accept_token

from trio_ws import CloseCode, Server, Service, Timeouts, WebSocket, asgi, open_websocket, serve_websocket
from trio_ws.connection.settings import Settings
from trio_ws.server import serve as serve_module
from trio_ws.transport.listeners import bind_tcp

OneService = internal(serve_module, "_OneService")

Side = Literal["server", "client"]
Network = Literal["poller", "tls", "stream", "memory", "http1", "http2"]
"""Our transports, and hypercorn with what the peer speaks to it, which clients do not have."""
Body = Callable[[WebSocket], Awaitable[object]]
Seen = tuple[str, Any]
"""What a peer saw: "text", "binary", "ping", "pong" or "close", and its content; for "close" code and reason."""

KEY = base64.b64encode(b"sixteen bytes ok").decode()
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
        self.seen: list[Seen] = []
        """All that was received so far."""
        self.fragments = 0
        """Data frames that were received so far."""
        self.reset = False
        """Whether the connection was reset, not ended."""
        self.code = FrameProtocol(client=client, extensions=[])
        self.code.receive_bytes(early)
        self._received = early
        self._frames = self.code.received_frames()
        self._parts: list[Any] = []
        self._closed = False
        self._over = False

    # --- sending ---

    async def send(self, data: bytes) -> None:
        """Send bytes as they are."""
        await self.stream.send_all(data)

    async def message(self, content: str | bytes, *, fin: bool = True) -> None:
        """Send a message, or a part of one."""
        await self.send(bytes(self.code.send_data(content, fin=fin)))

    async def ping(self, payload: bytes = b"") -> None:
        await self.send(bytes(self.code.ping(payload)))

    async def pong(self, payload: bytes = b"") -> None:
        await self.send(bytes(self.code.pong(payload)))

    async def close(self, code: int | None = 1000, reason: str = "") -> None:
        """Send a close frame."""
        self._closed = True
        await self.send(bytes(self.code.close(code, reason)))

    # --- receiving ---

    async def next(self) -> Seen | None:
        """Return the next message or control frame; None at the end of the connection, which must tear no frame."""
        with trio.fail_after(LONG):
            while True:
                for frame in self._frames:
                    seen = self._take(frame)
                    if seen is not None:
                        self.seen.append(seen)
                        return seen
                if self._over or not await self._read():
                    return None
                self._frames = self.code.received_frames()

    def _take(self, frame: Any) -> Seen | None:
        if frame.opcode.iscontrol():
            content = frame.payload
            if frame.opcode is Opcode.CLOSE:
                code, reason = frame.payload
                content = (CloseReason.NO_STATUS_RCVD if code is None else int(code), reason or "")
            return frame.opcode.name.lower(), content
        self._parts.append(frame.payload)
        self.fragments += frame.frame_finished
        if not frame.message_finished:
            return None
        content = type(self._parts[0])().join(self._parts)
        self._parts = []
        return "text" if isinstance(content, str) else "binary", content

    async def _read(self) -> bool:
        try:
            data = await self.stream.receive_some(65536)
        except trio.BrokenResourceError:
            self.reset = True
            data = b""
        if data:
            self._received += data
            self.code.receive_bytes(data)
            return True
        self._over = True
        self._check_whole()
        return False

    def _check_whole(self) -> None:
        decoder = self.code._frame_decoder  # wsproto tells in no other way whether a frame is unfinished
        assert decoder.header is None, "the connection ended inside a frame's payload"
        assert not len(decoder.buffer), "the connection ended inside a frame's header, or bytes came after the close"

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
                await self.close(None if code == CloseReason.NO_STATUS_RCVD else code)
            except trio.BrokenResourceError:
                return  # given up already: the end of the connection is on its way
        if not self.client:  # it is the server who ends the connection (RFC 6455 7.1.1)
            self._check_whole()
            await self.leave()

    async def leave(self) -> None:
        """End the network connection."""
        self._over = True
        with trio.CancelScope(shield=True):
            await trio.aclose_forcefully(self.stream)


def request(target: str = "/", *extra: str) -> bytes:
    """A request for a WebSocket, with extra header lines."""
    lines = [
        f"GET {target} HTTP/1.1",
        "Host: localhost",
        "Upgrade: websocket",
        "Connection: Upgrade",
        f"Sec-WebSocket-Key: {KEY}",
        "Sec-WebSocket-Version: 13",
        *extra,
    ]
    return "\r\n".join([*lines, "", ""]).encode()


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
            self._listener = MemoryListener()
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
        key = next(line for line in head.split(b"\r\n") if line.lower().startswith(b"sec-websocket-key:"))
        token = generate_accept_token(key.split(b":")[1].strip()).decode()
        lines = ["HTTP/1.1 101 Switching Protocols", "Upgrade: websocket", "Connection: Upgrade"]
        await stream.send_all("\r\n".join([*lines, f"Sec-WebSocket-Accept: {token}", "", ""]).encode())
        return Peer(stream, client=False, early=early)

    async def _open(self, body: Body, url: str, options: dict[str, Any]) -> None:
        try:
            async with open_websocket(url, **options) as websocket:
                self.websocket = websocket
                await body(websocket)
        except Exception as error:
            self.error = error
