"""Small servers on loopback for the tests of dialling."""

from __future__ import annotations

import ssl
from collections.abc import Awaitable, Callable, Iterable

import trio

from trio_ws.client.connector import Dialled
from trio_ws.testing import CancellationPoint, RawRequest, cancel_everywhere, response_bytes

CRLF = b"\r\n"


async def read_request(stream: trio.abc.Stream) -> RawRequest:
    head = b""
    while not head.endswith(CRLF * 2):
        piece = await stream.receive_some(1)
        if not piece:
            raise trio.BrokenResourceError
        head += piece
    request = RawRequest.parse(head)
    names = [name for name, _ in request.headers.pairs if not name.startswith("x-")]
    assert len(names) == len(set(names)), f"a header occurs twice: {names}"
    return request


def _pairs(lines: Iterable[str]) -> list[tuple[str, str]]:
    return [(name, value.strip()) for name, _, value in (line.partition(":") for line in lines)]


def accept(request: RawRequest, *extra: str) -> bytes:
    """The 101 to a request, with extra header lines."""
    return response_bytes(request.headers["sec-websocket-key"], _pairs(extra))


def answer(status: int, *extra: str, body: bytes = b"") -> bytes:
    return response_bytes(None, _pairs(extra), status=status, body=body)


def redirect(location: str, status: int = 302) -> bytes:
    return answer(status, f"Location: {location}")


Respond = Callable[[RawRequest], bytes]
Handler = Callable[[trio.abc.Stream], Awaitable[None]]


class Server:
    """Answers the first request of a connection with what `respond` says, then waits for the end."""

    def __init__(self, respond: Respond = accept) -> None:
        self.respond = respond
        self.requests: list[RawRequest] = []
        self.port = 0

    async def __call__(self, stream: trio.abc.Stream) -> None:
        try:
            request = await read_request(stream)
            self.requests.append(request)
            await stream.send_all(self.respond(request))
            await wait_for_end(stream)
        except (trio.BrokenResourceError, ssl.SSLError):
            pass
        finally:
            await trio.aclose_forcefully(stream)


async def wait_for_end(stream: trio.abc.Stream) -> None:
    """Wait until the client has left, by a reset too."""
    try:
        while await stream.receive_some():
            pass
    except trio.BrokenResourceError:
        pass


async def pump(source: trio.abc.Stream, sink: trio.abc.Stream) -> None:
    """Copy bytes until one side is gone, then close both."""
    try:
        while data := await source.receive_some():
            await sink.send_all(data)
    except (trio.BrokenResourceError, trio.ClosedResourceError):
        pass
    finally:
        await trio.aclose_forcefully(source)
        await trio.aclose_forcefully(sink)


async def tunnel(stream: trio.abc.Stream, host: str, port: int, greeting: bytes) -> None:
    """Be the middle of a proxied connection."""
    target = await trio.open_tcp_stream(host, port)
    await stream.send_all(greeting)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(pump, stream, target)
        nursery.start_soon(pump, target, stream)


async def listen(nursery: trio.Nursery, handler: Handler, context: ssl.SSLContext | None = None) -> int:
    """Serve `handler` on a free port of 127.0.0.1, with TLS if there is a context, and return the port."""

    async def handle(stream: trio.SocketStream) -> None:
        if context is None:
            await handler(stream)
            return
        secure = trio.SSLStream(stream, context, server_side=True, https_compatible=True)
        try:
            await secure.do_handshake()
        except trio.BrokenResourceError:
            await trio.aclose_forcefully(secure)
        else:
            await handler(secure)

    listeners = await nursery.start(lambda task_status: _serve(handle, task_status))
    return int(listeners[0].socket.getsockname()[1])


async def _serve(handle: Handler, task_status: trio.TaskStatus[list[trio.SocketListener]]) -> None:
    await trio.serve_tcp(handle, 0, host="127.0.0.1", task_status=task_status)


async def cancelled_at_every_step(scenario: Callable[[], Awaitable[Dialled]]) -> int:
    """Dial as `scenario` does, cancelled at each of its checkpoints in turn; return how often."""

    async def dialled(cut: CancellationPoint) -> None:
        done = None
        with cut():
            done = await scenario()
        if done is not None:
            await trio.aclose_forcefully(done.stream)

    return await cancel_everywhere(dialled)


class Resolver(trio.abc.HostnameResolver):
    """Knows some names and no others; nothing of it goes out."""

    def __init__(self, names: dict[str, Iterable[str]]) -> None:
        self.names = {name: list(addresses) for name, addresses in names.items()}
        self.hang = False

    async def getaddrinfo(self, host, port, family=0, type=0, proto=0, flags=0):  # noqa: A002, PLR0917
        if self.hang:
            await trio.sleep_forever()
        await trio.lowlevel.checkpoint()
        name = host.decode()
        if name not in self.names:
            raise trio.socket.gaierror(trio.socket.EAI_NONAME, "Name or service not known")
        return [_info(address, port) for address in self.names[name]]

    async def getnameinfo(self, sockaddr, flags):
        raise NotImplementedError


def _info(address: str, port: int):
    kind = trio.socket.SOCK_STREAM
    if ":" not in address:
        return (trio.socket.AF_INET, kind, 6, "", (address, port))
    host, _, scope = address.partition("%")
    return (trio.socket.AF_INET6, kind, 6, "", (host, port, 0, int(scope or 0)))
