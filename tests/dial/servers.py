"""Small servers on loopback for the tests of dialling, and what the tests share to look for leaks."""

from __future__ import annotations

import os
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager

import attrs
import trio
from wsproto.utilities import generate_accept_token

from trio_ws.dial import Dialled

CRLF = b"\r\n"


@attrs.frozen
class Request:
    """A request as it arrived: its first line, and its headers with names in lower case."""

    line: str
    headers: list[tuple[str, str]]

    def get(self, name: str) -> str | None:
        values = [value for key, value in self.headers if key == name]
        assert len(values) <= 1, f"{name} occurs {len(values)} times"
        return values[0] if values else None


async def read_request(stream: trio.abc.Stream) -> Request:
    head = b""
    while not head.endswith(CRLF * 2):
        piece = await stream.receive_some(1)
        if not piece:
            raise trio.BrokenResourceError
        head += piece
    line, *fields = head.decode("latin-1").split("\r\n")[:-2]
    pairs = [field.split(":", 1) for field in fields]
    return Request(line, [(name.lower(), value.strip()) for name, value in pairs])


def accept(request: Request, *extra: str) -> bytes:
    """The 101 to a request, with extra header lines."""
    key = request.get("sec-websocket-key")
    assert key is not None
    token = generate_accept_token(key.encode()).decode()
    lines = [
        "HTTP/1.1 101 Switching Protocols",
        "Upgrade: websocket",
        "Connection: Upgrade",
        f"Sec-WebSocket-Accept: {token}",
        *extra,
    ]
    return "\r\n".join([*lines, "", ""]).encode("latin-1")


def answer(status: int, *extra: str, body: bytes = b"") -> bytes:
    lines = [f"HTTP/1.1 {status} X", f"Content-Length: {len(body)}", *extra]
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + body


def redirect(location: str, status: int = 302) -> bytes:
    return answer(status, f"Location: {location}")


Respond = Callable[[Request], bytes]
Handler = Callable[[trio.abc.Stream], Awaitable[None]]


class Server:
    """Answers the first request of a connection with what `respond` says, then waits for the end."""

    def __init__(self, respond: Respond = accept) -> None:
        self.respond = respond
        self.requests: list[Request] = []
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
    while await stream.receive_some():
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


def descriptors() -> int:
    """How many file descriptors this process has open; 0 where nobody counts."""
    return len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else 0


@asynccontextmanager
async def leaks_nothing() -> AsyncIterator[None]:
    """Check that no more descriptors are open after the block than before, once the servers saw it too."""
    before = descriptors()
    yield
    for _ in range(2000):
        if descriptors() <= before:
            return
        await trio.lowlevel.checkpoint()
    assert descriptors() <= before, "descriptors leaked"


class CancelAtStep(trio.abc.Instrument):
    """Cancels a scope after so many steps of a task and its children."""

    def __init__(self, task: trio.lowlevel.Task, scope: trio.CancelScope, steps: int) -> None:
        self.task, self.scope, self.steps = task, scope, steps

    def after_task_step(self, task: trio.lowlevel.Task) -> None:
        while task is not self.task:
            if task.parent_nursery is None:
                return
            task = task.parent_nursery.parent_task
        self.steps -= 1
        if self.steps == 0:
            self.scope.cancel()


async def cancelled_at_every_step(scenario: Callable[[], Awaitable[Dialled]]) -> int:
    """Run `scenario` again and again, cancelled one step later each time, until it comes to its end."""
    for steps in range(1, 500):
        async with leaks_nothing():
            with trio.CancelScope() as scope:
                instrument = CancelAtStep(trio.lowlevel.current_task(), scope, steps)
                trio.lowlevel.add_instrument(instrument)
                try:
                    done = await scenario()
                finally:
                    trio.lowlevel.remove_instrument(instrument)
                await trio.aclose_forcefully(done.stream)
                return steps
            assert scope.cancelled_caught
    raise AssertionError("it never came to its end")


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
