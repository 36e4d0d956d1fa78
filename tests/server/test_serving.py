"""serve_websocket and Server: where they listen, whom they let in, what they tell, and how they end."""

from __future__ import annotations

import errno
import gc
import logging
import os
import signal
import socket
import ssl
import subprocess
import sys
import textwrap
from contextlib import nullcontext
from functools import partial

import attrs
import pytest
import trio
from support.endings import code_of, end_of
from support.handlers import QUICK, Ends, echo, serve, until_cancelled, until_gone
from support.internals import internal
from trio.testing import wait_all_tasks_blocked

from trio_ws import (
    ConnectError,
    ConnectionRejected,
    Limits,
    Server,
    Statistics,
    WebSocket,
    WebSocketDisconnect,
    open_websocket,
    serve_websocket,
)
from trio_ws.connection.reader import MessageReader
from trio_ws.connection.writer import MessageWriter
from trio_ws.handler.service import Service
from trio_ws.server import serve as serve_module
from trio_ws.server.connection import ServerConnection
from trio_ws.testing.network import MemoryListener
from trio_ws.transport.listeners import bind_tcp
from trio_ws.transport.poller import Poller

OneService = internal(serve_module, "_OneService")


async def sleep(ws: WebSocket) -> None:
    await trio.sleep_forever()


async def ask(port: int, *lines: str, host: str = "127.0.0.1") -> bytes:
    """Send a request with these headers; return the whole answer."""
    async with await trio.open_tcp_stream(host, port) as stream:
        await stream.send_all("\r\n".join([*lines, "", ""]).encode())
        return b"".join([piece async for piece in stream])


async def works(url: str, **options) -> bool:
    async with open_websocket(url, **options) as ws:
        await ws.send("hello")
        return await ws.receive() == "hello"


class Names(trio.abc.HostnameResolver):
    """Knows one name."""

    def __init__(self, *addresses: str) -> None:
        self.addresses = addresses

    async def getaddrinfo(self, host, port, family=0, type=0, proto=0, flags=0):  # noqa: A002, PLR0917
        return [
            (
                (socket.AF_INET6, socket.SOCK_STREAM, 6, "", (address, int(port), 0, 0))
                if ":" in address
                else (socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, int(port)))
            )
            for address in self.addresses
        ]

    async def getnameinfo(self, sockaddr, flags):
        raise NotImplementedError


def has_ipv6() -> bool:
    try:
        with socket.create_server(("::1", 0), family=socket.AF_INET6):
            return True
    except OSError:
        return False


needs_ipv6 = pytest.mark.skipif(not has_ipv6(), reason="this machine has no IPv6 on loopback")


class TestAddresses:
    async def test_start_returns_the_server_with_its_urls_and_port(self, nursery):
        server = await nursery.start(serve_websocket, echo, "127.0.0.1", 0)
        assert isinstance(server, Server)
        assert server.urls == (f"ws://127.0.0.1:{server.port}",)
        assert server.port > 0
        assert not server.draining
        assert await works(server.urls[0])
        server.shutdown()
        assert server.draining

    async def test_a_port_of_the_caller_s_is_taken(self, nursery):
        (sock,) = await bind_tcp("127.0.0.1", 0)
        port = sock.getsockname()[1]
        sock.close()
        server = await serve(nursery, host="127.0.0.1", port=port)
        assert server.port == port

    @needs_ipv6
    async def test_name_with_two_addresses_is_served_on_both_at_one_port(self, nursery):
        """A name with two addresses is served on both with one port."""
        trio.socket.set_custom_hostname_resolver(Names("127.0.0.1", "::1"))
        server = await serve(nursery, host="localhost", port=0)
        assert server.urls == (f"ws://127.0.0.1:{server.port}", f"ws://[::1]:{server.port}")
        for url in server.urls:
            assert await works(url)

    async def test_an_address_that_this_machine_does_not_have_is_left_out(self, nursery):
        """A machine may resolve localhost to ::1 and have no IPv6; 192.0.2.1 is nobody's (RFC 5737)."""
        trio.socket.set_custom_hostname_resolver(Names("192.0.2.1", "127.0.0.1"))
        server = await serve(nursery, host="localhost", port=0)
        assert server.urls == (f"ws://127.0.0.1:{server.port}",)

    async def test_a_host_that_is_nowhere_on_this_machine_is_an_error(self):
        with pytest.raises(OSError, match=os.strerror(errno.EADDRNOTAVAIL)):
            await serve_websocket(echo, "192.0.2.1", 0)

    async def test_no_host_means_all_interfaces(self, nursery):
        server = await serve(nursery, host=None, port=0)
        assert await works(f"ws://127.0.0.1:{server.port}")

    async def test_a_port_in_use_is_an_error_and_leaves_nothing_bound(self, nursery, tmp_path):
        server = await serve(nursery)
        path = tmp_path / "socket"
        with pytest.raises(OSError) as caught:  # noqa: PT011 - the number is looked at
            await serve_websocket(echo, "127.0.0.1", server.port, uds=path)
        assert caught.value.errno == errno.EADDRINUSE
        assert not path.exists()
        assert await works(server.urls[0])

    async def test_all_kinds_of_listeners_are_served_together(self, nursery, tmp_path):
        trios = await trio.open_tcp_listeners(0, host="127.0.0.1")
        plain = socket.create_server(("127.0.0.1", 0))
        server = await serve(nursery, host="127.0.0.1", port=0, uds=tmp_path / "s", listeners=[*trios, plain])
        ports = [trios[0].socket.getsockname()[1], plain.getsockname()[1]]
        assert server.port == ports[0]
        assert next(url for url in server.urls if url.startswith("ws://")) == f"ws://127.0.0.1:{ports[1]}"
        for port in ports:
            assert await works(f"ws://127.0.0.1:{port}")
        assert await works(server.urls[-1])
        assert await works("ws://localhost/", uds=tmp_path / "s")

    async def test_a_server_on_no_tcp_has_no_port(self, nursery, tmp_path):
        server = await serve(nursery, uds=tmp_path / "s")
        with pytest.raises(RuntimeError, match="no TCP port"):
            _ = server.port

    async def test_two_servers_in_one_process_do_not_mix(self, nursery):
        async def shout(ws: WebSocket) -> None:
            async for message in ws:
                await ws.send(message.upper())

        one, two = await serve(nursery), await serve(nursery, shout)
        async with open_websocket(one.urls[0]) as a, open_websocket(two.urls[0]) as b:
            for ws in (a, b):
                await ws.send("hello")
            assert (await a.receive(), await b.receive()) == ("hello", "HELLO")
            one.shutdown()
            await end_of(a)
            await b.send("still here")
            assert await b.receive() == "STILL HERE"


class TestUnixSockets:
    async def test_the_path_is_removed_at_the_end(self, tmp_path):
        path = tmp_path / "socket"
        async with trio.open_nursery() as nursery:
            server = await serve(nursery, uds=str(path))
            assert path.is_socket()
            server.shutdown()
        assert not path.exists()

    async def test_a_path_that_nobody_listens_on_is_replaced(self, nursery, tmp_path):
        path = tmp_path / "socket"
        with socket.socket(socket.AF_UNIX) as stale:
            stale.bind(str(path))
        await serve(nursery, uds=path)
        assert await works("ws://localhost/", uds=path)

    @pytest.mark.parametrize("backlog", [0, 5])
    async def test_a_path_in_use_is_refused(self, tmp_path, backlog):
        """Also when it is one whose backlog is full."""
        path = tmp_path / "socket"
        with socket.socket(socket.AF_UNIX) as other, socket.socket(socket.AF_UNIX) as waiting:
            other.bind(str(path))
            other.listen(backlog)
            waiting.connect(str(path))
            with pytest.raises(OSError) as caught:  # noqa: PT011 - the number is looked at
                await serve_websocket(echo, uds=path)
        assert caught.value.errno == errno.EADDRINUSE
        assert path.is_socket()

    async def test_a_file_is_left_alone(self, tmp_path):
        path = tmp_path / "file"
        path.write_text("precious")
        with pytest.raises(FileExistsError):
            await serve_websocket(echo, uds=path)
        assert path.read_text() == "precious"

    async def test_a_path_that_cannot_be_written_is_an_error(self, tmp_path):
        with pytest.raises(FileNotFoundError):
            await serve_websocket(echo, uds=tmp_path / "no" / "such" / "directory")


class TestArguments:
    async def test_there_must_be_something_to_listen_on(self):
        with pytest.raises(ValueError, match="nothing to listen on"):
            await serve_websocket(echo)
        with pytest.raises(ValueError, match="nothing to listen on"):
            await serve_websocket(echo, "127.0.0.1")

    @pytest.mark.parametrize("name", ["when_peer_leaves", "receive_type", "send_type"])
    async def test_a_word_that_does_not_exist_is_a_value_error(self, name):
        with pytest.raises(ValueError, match=name):
            await serve_websocket(echo, "127.0.0.1", 0, **{name: "xml"})

    async def test_an_option_that_does_not_exist_is_a_type_error(self):
        with pytest.raises(TypeError, match="nonsense"):
            await serve_websocket(echo, "127.0.0.1", 0, nonsense=1)

    async def test_a_single_origin_is_a_type_error(self):
        with pytest.raises(TypeError, match=r"origins=\['https://example.org'\]"):
            await serve_websocket(echo, "127.0.0.1", 0, origins="https://example.org")

    @pytest.mark.parametrize(("code", "reason"), [(1006, ""), (1000, "x" * 124)])
    async def test_a_farewell_that_cannot_be_sent_is_a_value_error(self, nursery, code, reason):
        server = await serve(nursery)
        with pytest.raises(ValueError, match="close"):
            server.shutdown(code, reason=reason)
        assert not server.draining


class TestPlainHTTP:
    async def test_a_get_is_told_that_this_is_a_websocket_server(self, nursery):
        server = await serve(nursery)
        answer = await ask(server.port, "GET / HTTP/1.1", "Host: localhost")
        assert answer.startswith(b"HTTP/1.1 426 ")
        assert b"upgrade: websocket" in answer.lower()
        assert b"sec-websocket-version: 13" in answer.lower()
        assert answer.endswith(b"this is a WebSocket server\n")

    async def test_a_head_gets_no_body(self, nursery):
        server = await serve(nursery)
        answer = await ask(server.port, "HEAD / HTTP/1.1", "Host: localhost")
        assert answer.startswith(b"HTTP/1.1 426 ")
        assert answer.endswith(b"\r\n\r\n")

    @pytest.mark.slow
    @pytest.mark.parametrize("limits", [Limits(), Limits(max_connections=1)], ids=["426", "503"])
    async def test_nothing_is_kept_of_those_who_were_refused(self, nursery, limits):
        """An exception that is raised twice would keep the tracebacks of both, and all that is in their frames."""

        def alive() -> dict[int, ServerConnection]:
            gc.collect()
            return {id(each): each for each in gc.get_objects() if isinstance(each, ServerConnection)}

        before = alive()  # what an earlier test's log still refers to, say
        server = await serve(nursery, limits=limits)
        async with open_websocket(server.urls[0]):
            for _ in range(3):
                await ask(server.port, "GET / HTTP/1.1", "Host: localhost")
            await until_gone(server, 1)
            assert len(alive().keys() - before.keys()) == server.statistics().connections


class TestOrigins:
    @pytest.mark.parametrize(
        "origin",
        ["http://127.0.0.1:{port}", "http://localhost:{port}", "http://[::1]:{port}", "HTTP://LOCALHOST:{port}"],
    )
    async def test_pages_of_the_same_machine_and_port_may_connect(self, nursery, origin):
        server = await serve(nursery)
        assert await works(server.urls[0], origin=origin.format(port=server.port))

    async def test_without_an_origin_it_is_no_page(self, nursery):
        server = await serve(nursery)
        assert await works(server.urls[0])

    @pytest.mark.parametrize("origin", ["https://example.org", "http://localhost:1", "null", "no origin at all"])
    async def test_others_are_refused_with_403_and_a_log_line_with_both(self, nursery, origin, caplog):
        caplog.set_level(logging.INFO, "trio_ws")
        server = await serve(nursery)
        with pytest.raises(ConnectionRejected) as caught:
            await works(server.urls[0], origin=origin)
        assert caught.value.status == 403
        (record,) = [record for record in caplog.records if "403" in record.getMessage()]
        assert repr(origin) in record.getMessage()
        assert repr(f"127.0.0.1:{server.port}") in record.getMessage()
        assert server.statistics().accepted == 0

    async def test_origins_lets_others_in_beside_the_server_s_own(self, nursery):
        server = await serve(nursery, origins=["https://example.org"])
        assert await works(server.urls[0], origin="https://example.org")
        assert await works(server.urls[0], origin="https://EXAMPLE.org:443")
        assert await works(server.urls[0], origin=f"http://127.0.0.1:{server.port}")
        with pytest.raises(ConnectionRejected):
            await works(server.urls[0], origin="https://www.example.org")

    async def test_a_star_lets_all_in(self, nursery):
        server = await serve(nursery, origins="*")
        assert await works(server.urls[0], origin="https://example.org")
        assert await works(server.urls[0], origin="null")


class TestStatistics:
    @pytest.mark.parametrize("poller", [True, False], ids=["poller", "stream"])
    async def test_they_count(self, nursery, poller):
        async def echo_until_bad(ws: WebSocket) -> None:
            async for message in ws:
                if message == "bad":
                    raise ZeroDivisionError
                await ws.send(message)

        server = await serve(nursery, echo_until_bad, poller=poller)
        nothing = Statistics(
            connections=0,
            websockets=0,
            accepted=0,
            refused=0,
            messages_received=0,
            messages_sent=0,
            handler_errors=0,
        )
        assert server.statistics() == nothing
        async with open_websocket(server.urls[0]) as ws:
            for _ in range(3):
                await ws.send("good")
                await ws.receive()
            while server.statistics().outbox_bytes:  # a stream says in a turn of its own that it has sent
                await trio.sleep(0.001)
            assert server.statistics() == attrs.evolve(
                nothing, connections=1, websockets=1, accepted=1, messages_received=3, messages_sent=3
            )
        await ask(server.port, "GET / HTTP/1.1", "Host: localhost")
        async with open_websocket(server.urls[0], caught_close_codes=[1011]) as ws:
            await ws.send("bad")
            await ws.receive()
        await until_gone(server)
        assert server.statistics() == attrs.evolve(
            nothing,
            accepted=2,
            refused=1,
            messages_received=4,
            messages_sent=3,
            handler_errors=1,
            closed={1000: 1, 1011: 1},
            responses={426: 1},
        )


class TestHandlerErrors:
    async def test_an_error_ends_its_own_connection_only(self, nursery, caplog):
        async def fail_on_demand(ws: WebSocket) -> None:
            async for message in ws:
                if message == "fail":
                    raise ValueError("the handler's own")
                await ws.send(message)

        server = await serve(nursery, fail_on_demand)
        async with open_websocket(server.urls[0]) as healthy:
            with pytest.raises(WebSocketDisconnect) as caught:
                async with open_websocket(server.urls[0]) as ws:
                    await ws.send("fail")
                    await ws.receive()
            assert caught.value.code == 1011
            await healthy.send("hello")
            assert await healthy.receive() == "hello"
        (record,) = [record for record in caplog.records if record.levelno >= logging.ERROR]
        assert record.exc_info is not None

    async def test_strict_lets_the_error_out_and_tells_the_others_1001(self, caplog):
        others: list[int] = []

        async def watch(url: str, *, task_status) -> None:
            with pytest.raises(WebSocketDisconnect) as caught:
                async with open_websocket(url, caught_close_codes=()) as ws:
                    task_status.started()
                    await ws.receive()
            others.append(caught.value.code)

        async def fail_on_demand(ws: WebSocket) -> None:
            await ws.receive()
            raise ValueError("the handler's own")

        with pytest.RaisesGroup(pytest.RaisesExc(ValueError, match="own"), flatten_subgroups=True):
            async with trio.open_nursery() as nursery, trio.open_nursery() as clients:
                server = await serve(nursery, fail_on_demand, strict=True)
                await clients.start(watch, server.urls[0])
                with trio.CancelScope(shield=True):
                    async with open_websocket(server.urls[0], caught_close_codes=all) as ws:
                        await ws.send("fail")
                        await trio.sleep_forever()
                clients.cancel_scope.shield = True
        assert others == [1001]


class TestTheEnd:
    @pytest.mark.parametrize("poller", [True, False], ids=["poller", "stream"])
    async def test_cancelled_it_tells_everyone_1001_and_is_gone(self, poller):
        ends = Ends()
        async with trio.open_nursery() as clients:
            codes: list[int] = []

            async def client(url: str, *, task_status) -> None:
                async with open_websocket(url, caught_close_codes=all) as ws:
                    await ws.send("hello")
                    await ws.receive()
                    task_status.started()
                    codes.append(await code_of(ws))

            async with trio.open_nursery() as nursery:
                server = await serve(nursery, poller=poller, on_disconnect=ends)
                for _ in range(5):
                    await clients.start(client, server.urls[0])
                nursery.cancel_scope.cancel()
        assert codes == [1001] * 5
        assert ends.codes == [1001] * 5
        with pytest.raises(ConnectError):
            await works(server.urls[0])

    async def test_shutdown_returns_from_serve_with_the_code_and_reason(self):
        async with trio.open_nursery() as nursery:
            server = await serve(nursery)
            with pytest.raises(WebSocketDisconnect) as caught:
                async with open_websocket(server.urls[0]) as ws:
                    await wait_all_tasks_blocked()
                    server.shutdown(1012, reason="new version")
                    await ws.receive()
            assert (caught.value.code, caught.value.reason) == (1012, "new version")

    async def test_a_second_shutdown_does_not_change_the_code(self):
        async with trio.open_nursery() as nursery:
            server = await serve(nursery)
            async with open_websocket(server.urls[0], caught_close_codes=all) as ws:
                await wait_all_tasks_blocked()
                server.shutdown(1012)
                server.shutdown(1001)
                await trio.sleep_forever()
        assert ws.close_code == 1012

    async def test_stubborn_handlers_are_cancelled_after_the_grace(self, autojump_clock):
        cancelled: list[float] = []

        async def stubborn(ws: WebSocket) -> None:
            began = trio.current_time()
            await until_cancelled(lambda _: cancelled.append(trio.current_time() - began))

        listener = MemoryListener()
        async with trio.open_nursery() as nursery:
            timeouts = attrs.evolve(QUICK, shutdown_grace=7.0)
            server = await serve(nursery, stubborn, listeners=[listener], timeouts=timeouts, when_peer_leaves="finish")
            nursery.start_soon(_stay, listener)
            await wait_all_tasks_blocked()
            server.shutdown()
        assert cancelled == pytest.approx([7.0])

    async def test_the_grace_can_be_shortened_but_not_stretched(self, autojump_clock):
        listener = MemoryListener()
        began = trio.current_time()
        async with trio.open_nursery() as nursery:
            timeouts = attrs.evolve(QUICK, shutdown_grace=1000.0)
            server = await serve(nursery, sleep, listeners=[listener], timeouts=timeouts, when_peer_leaves="finish")
            nursery.start_soon(_stay, listener)
            await wait_all_tasks_blocked()
            server.shutdown(grace=20)
            await trio.sleep(5)
            server.shutdown(grace=3)
            server.shutdown(grace=500)
        assert trio.current_time() - began == pytest.approx(8.0)

    async def test_who_is_still_shaking_hands_gets_503(self, nursery):
        server = await serve(nursery, sleep, auto_accept=False)
        nursery.start_soon(_shut_down_once_connected, server)
        with pytest.raises(ConnectionRejected) as caught:
            await works(server.urls[0])
        assert caught.value.status == 503


async def test_a_server_serves_once(autojump_clock):
    server = Server(OneService(Service(handler=echo)))
    async with trio.open_nursery() as nursery:
        await nursery.start(server.serve, [MemoryListener()])
        server.shutdown()
    with pytest.raises(RuntimeError, match="serves once"):
        await server.serve([MemoryListener()])


async def test_a_tls_context_for_clients_is_refused():
    """`ssl.create_default_context()` makes one: every client would be dropped without a word."""
    with pytest.raises(ValueError, match="CLIENT_AUTH"):
        await serve_websocket(echo, "127.0.0.1", 0, ssl_context=ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT))


async def _shut_down_once_connected(server: Server) -> None:
    while not server.statistics().connections:
        await trio.sleep(0.001)
    await wait_all_tasks_blocked(0.01)
    server.shutdown()


async def _stay(listener: MemoryListener) -> None:
    """Be a client that waits for the end."""
    async with open_websocket("ws://example.org/", stream=listener.connect(), when_peer_leaves="finish") as ws:
        await end_of(ws)


SCRIPT = """
    import trio, trio_ws

    async def echo(ws):
        async for message in ws:
            await ws.send(message)

    class Announce:
        def started(self, server):
            print(server.urls[0], flush=True)

    try:
        trio.run(lambda: trio_ws.serve_websocket(echo, "127.0.0.1", 0, task_status=Announce()))
    except KeyboardInterrupt as error:
        print("KeyboardInterrupt", error.__cause__, flush=True)
        raise
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="SIGINT is sent to one process")
async def test_ctrl_c_closes_all_with_1001_and_raises_interrupt():
    """Ctrl-C tells everyone 1001 and ends with KeyboardInterrupt."""
    process = await trio.lowlevel.open_process(
        [sys.executable, "-c", textwrap.dedent(SCRIPT)], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    with trio.fail_after(20):
        try:
            url = (await process.stdout.receive_some()).decode().strip()
            async with open_websocket(url, caught_close_codes=()) as ws:
                await ws.send("hello")
                assert await ws.receive() == "hello"
                process.send_signal(signal.SIGINT)
                assert await code_of(ws) == 1001
            output = b"".join([piece async for piece in process.stdout])
            assert output.split() == [b"KeyboardInterrupt", b"None"]
            errors = b"".join([piece async for piece in process.stderr])
            assert await process.wait() == -signal.SIGINT
            assert b"ExceptionGroup" not in errors
            assert errors.rstrip().endswith(b"KeyboardInterrupt")
        finally:
            process.kill()
            await process.wait()
            await process.stdout.aclose()
            await process.stderr.aclose()


async def test_keyboard_interrupt_in_handler_is_raised_after_closing():
    """Ctrl-C on a busy server strikes wherever Python code runs."""
    codes: list[int] = []

    async def interrupted(ws: WebSocket) -> None:
        await ws.receive()
        raise KeyboardInterrupt

    async def client(message: str, *, task_status) -> None:
        async with open_websocket(servers[0].urls[0], when_peer_leaves="finish") as ws:
            task_status.started()
            await ready.wait()
            if message:
                await ws.send(message)
            codes.append(await code_of(ws))

    servers: list[Server] = []
    started, ready = trio.Event(), trio.Event()

    class Note:
        def started(self, server: Server) -> None:
            servers.append(server)
            started.set()

    async def run() -> None:
        with pytest.raises(KeyboardInterrupt):
            await serve_websocket(interrupted, "127.0.0.1", 0, timeouts=QUICK, task_status=Note())

    async with trio.open_nursery() as nursery:
        nursery.start_soon(run)
        await started.wait()
        await nursery.start(client, "")
        await nursery.start(client, "now")
        ready.set()
    assert codes == [1001, 1001]


@pytest.mark.skipif(not Poller.available(), reason="this platform has no poller")
@pytest.mark.parametrize(("part", "busy"), [(MessageReader, "data_received"), (MessageWriter, "send_keepalive")])
def test_ctrl_c_in_busy_shared_tasks_leaves_them_for_the_closes(part, busy, monkeypatch):
    """The poller and the timers work for all connections: without them the goodbyes would never end."""
    codes: list[int] = []
    plain = getattr(part, busy)

    def struck(self: MessageReader | MessageWriter, *args: object) -> object:
        closing = self.closing if isinstance(self, MessageReader) else self._closing
        if not internal(closing, "_client"):
            monkeypatch.setattr(part, busy, plain)
            signal.raise_signal(signal.SIGINT)
        return plain(self, *args)

    async def client(server: Server) -> None:
        async with open_websocket(server.urls[0], when_peer_leaves="finish") as ws:
            await ws.send("hello")
            codes.append(await code_of(ws))

    async def main() -> None:
        class Note:
            def started(self, server: Server) -> None:
                nursery.start_soon(client, server)

        with trio.fail_after(20):
            async with trio.open_nursery() as nursery:
                times = attrs.evolve(QUICK, ping_interval=0.01)
                with pytest.raises(KeyboardInterrupt):
                    await serve_websocket(sleep, "127.0.0.1", 0, timeouts=times, poller=True, task_status=Note())

    monkeypatch.setattr(part, busy, struck)
    trio.run(main)
    assert codes == [1001]


class Faulty(trio.abc.Listener[trio.abc.Stream]):
    """A listener that fails with the errors it is given, then accepts what `connect` connected."""

    def __init__(self, *errors: OSError) -> None:
        self.errors = list(errors)
        self.inner = MemoryListener()
        self.closed = False

    async def accept(self) -> trio.abc.Stream:
        if self.errors:
            await trio.lowlevel.checkpoint()
            raise self.errors.pop(0)
        return await self.inner.accept()

    async def aclose(self) -> None:
        self.closed = True
        await self.inner.aclose()


class TestAcceptErrors:
    @pytest.mark.parametrize("number", [errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM])
    async def test_to_run_out_of_something_is_logged_once_and_waited_for(self, autojump_clock, number, caplog):
        listener = Faulty(*[OSError(number, "not enough")] * 5)
        async with trio.open_nursery() as nursery:
            server = await serve(nursery, listeners=[listener])
            began = trio.current_time()
            assert await works("ws://example.org/", stream=listener.inner.connect())
            assert 0.1 < trio.current_time() - began < 5
            server.shutdown()
        assert listener.closed
        assert [record.getMessage() for record in caplog.records] == ["cannot accept connections for now: not enough"]

    async def test_another_error_ends_the_server_and_closes_its_listeners(self, autojump_clock):
        broken, healthy = Faulty(), MemoryListener()
        with pytest.RaisesGroup(OSError, flatten_subgroups=True):
            async with trio.open_nursery() as nursery:
                await serve(nursery, listeners=[broken, healthy])
                async with open_websocket("ws://example.org/", stream=healthy.connect(), caught_close_codes=all) as ws:
                    with trio.CancelScope(shield=True):
                        broken.errors.append(OSError(errno.EIO, "hardware"))
                        trash = broken.inner.connect()  # wakes the listener
                        caught = await end_of(ws)
                await trash.aclose()
        assert caught.code == 1001
        assert broken.closed

    async def test_all_listeners_are_closed_even_if_an_error_ends_server(self, autojump_clock):
        """All listeners are closed also when an error ends the server."""

        async def fail(ws: WebSocket) -> None:
            raise ValueError

        listeners = [Faulty(), Faulty()]
        with pytest.RaisesGroup(ValueError, flatten_subgroups=True):
            async with trio.open_nursery() as nursery:
                await serve(nursery, fail, listeners=listeners, strict=True)
                nursery.start_soon(_stay, listeners[1].inner)
        assert [listener.closed for listener in listeners] == [True, True]

    @pytest.mark.parametrize("strict", [False, True])
    async def test_connection_the_kernel_cannot_watch_is_lost_alone(self, strict, monkeypatch, caplog):
        """A connection that the kernel has no room to watch is lost and no other."""
        add = Poller.add

        def refuse(*_: object) -> None:
            monkeypatch.setattr(Poller, "add", add)
            raise OSError(errno.ENOSPC, "too many are watched")

        expected = pytest.RaisesGroup(OSError, flatten_subgroups=True) if strict else nullcontext()
        with expected:
            async with trio.open_nursery() as nursery:
                server = await serve(nursery, poller=True, strict=strict)
                monkeypatch.setattr(Poller, "add", refuse)
                with pytest.raises(ConnectError):
                    await works(server.urls[0], poller=False)
                assert await works(server.urls[0], poller=False)
                server.shutdown()
        (record,) = caplog.records
        assert record.exc_info[0] is OSError

    @pytest.mark.parametrize("poller", [True, False], ids=["poller", "stream"])
    async def test_a_socket_that_fails_for_one_connection_goes_on(self, nursery, poller, monkeypatch):
        """A client that gave up while it waited to be accepted, say."""

        class Flaky(socket.socket):
            failures = 2

            def accept(self):
                if self.failures:
                    self.failures -= 1
                    raise OSError(errno.ECONNABORTED, "gone")
                return super().accept()

        sock = Flaky()
        sock.bind(("127.0.0.1", 0))
        sock.listen()
        server = await serve(nursery, listeners=[sock], poller=poller)
        assert await works(server.urls[0])
        assert sock.failures == 0


class TestRoom:
    async def test_more_connections_than_allowed_get_503(self, nursery):
        server = await serve(nursery, limits=Limits(max_connections=2))
        async with open_websocket(server.urls[0]), open_websocket(server.urls[0]) as second:
            with pytest.raises(ConnectionRejected) as caught:
                await works(server.urls[0])
            assert caught.value.status == 503
            await second.close()
            await until_gone(server, 1)
            assert await works(server.urls[0])

    async def test_clients_without_an_address_are_not_taken_for_one(self, autojump_clock, nursery):
        """Those of a Unix socket, say, behind a proxy."""
        listener = MemoryListener()
        await serve(nursery, listeners=[listener], limits=Limits(max_connections_per_ip=1))
        async with open_websocket("ws://example.org/", stream=listener.connect()):
            assert await works("ws://example.org/", stream=listener.connect())

    async def test_the_poller_can_be_demanded_only_where_there_is_one(self, monkeypatch):
        monkeypatch.setattr("trio_ws.transport.poller.make_selector", None)
        with pytest.raises(RuntimeError, match="poller=True"):
            await serve_websocket(echo, "127.0.0.1", 0, poller=True)
        async with trio.open_nursery() as nursery:
            server = await nursery.start(partial(serve_websocket, echo, "127.0.0.1", 0))
            assert await works(server.urls[0])
            server.shutdown()
