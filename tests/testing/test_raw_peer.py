"""Raw peers: bytes of the test's own in memory and over sockets, as client and as server, and what they report."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial

import pytest
import trio
from support.handlers import echo
from support.tls import contexts

from trio_ws import App, ConnectionRejected, WebSocket, WebSocketDisconnect, open_websocket
from trio_ws.testing import (
    CancellationPoint,
    InvalidFrame,
    InvalidHead,
    Opcode,
    RawConnectionEnded,
    RawPeer,
    TestTimeout,
    cancel_everywhere,
    frame_bytes,
    raw_connect,
    raw_server,
    request_bytes,
    response_bytes,
)
from trio_ws.testing.memory_stream import memory_pair

app = App()


app.websocket("/echo")(echo)


@app.websocket("/silent")
async def silent(ws: WebSocket) -> None:
    await trio.sleep_forever()


Connect = Callable[..., AbstractAsyncContextManager[RawPeer]]


@pytest.fixture(params=["memory", "socket", "tls"])
def connect(request: pytest.FixtureRequest) -> Connect:
    """Connects a raw client to the application, over each kind of stream."""

    @asynccontextmanager
    async def in_memory(path: str, **options: object) -> AsyncIterator[RawPeer]:
        async with app.test_client() as client, client.raw(path, **options) as peer:
            yield peer

    @asynccontextmanager
    async def over_socket(path: str, **options: object) -> AsyncIterator[RawPeer]:
        server_tls, client_tls = contexts() if request.param == "tls" else (None, None)
        async with trio.open_nursery() as nursery:
            server = await nursery.start(partial(app.serve, "127.0.0.1", 0, ssl_context=server_tls))
            async with raw_connect("localhost", server.port, path, ssl_context=client_tls, **options) as peer:
                yield peer
            server.shutdown(grace=0)

    return in_memory if request.param == "memory" else over_socket


async def test_bytes_of_the_test_are_echoed(connect: Connect) -> None:
    async with connect("/echo") as peer:
        peer.send(b"\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58")  # RFC 6455 5.7
        frame = await peer.receive_frame()
        assert (frame.opcode, frame.payload, frame.text) == (Opcode.TEXT, b"Hello", "Hello")
        assert (frame.fin, frame.masked, frame.close_code, frame.close_reason) == (True, False, None, None)
        assert peer.response.status == 101


async def test_invalid_frames_are_sent_and_refused(connect: Connect) -> None:
    async with connect("/echo") as peer:
        peer.frame(Opcode.TEXT, "hello", masked=False)
        (frame,) = await peer.receive_close()
        assert frame.close_code == 1002
        assert "mask" in frame.close_reason
        assert await peer.receive_frames() == []
        assert peer.end == "closed"


async def test_a_message_larger_than_any_buffer_needs_no_await(connect: Connect) -> None:
    size = 1_000_000  # the default limit is a mebibyte
    async with connect("/echo") as peer:
        peer.message(b"x" * size)
        peer.message("behind it")
        received = [await peer.receive_frame()]
        while received[-1].payload != b"behind it":
            received.append(await peer.receive_frame())
        assert sum(len(frame.payload) for frame in received[:-1]) == size


async def test_half_closed_peers_still_receive(connect: Connect) -> None:
    async with connect("/echo") as peer:
        peer.close_frame(4000, "bye")
        await peer.half_close()
        assert (await peer.receive_frame()).close_code == 4000
        with pytest.raises(trio.ClosedResourceError, match="ended its side"):
            peer.send(b"more")
        await peer.receive_all()
        assert peer.end is not None


async def test_a_reset_ends_the_servers_connection(connect: Connect) -> None:
    async with connect("/silent") as peer:
        peer.ping(b"there?")
        assert (await peer.receive_frame()).opcode == Opcode.PONG
        peer.reset()


async def test_the_handshake_is_left_to_the_test(connect: Connect) -> None:
    async with connect("/", handshake=False) as peer:
        await peer.send(request_bytes("/echo", {"Upgrade": "spdy"}, without=["Upgrade"]))
        response = await peer.receive_response()
        assert (response.status, response.line) == (400, "HTTP/1.1 400 Bad Request")
        assert len(await peer.receive_all()) == int(response.headers["content-length"])


async def test_a_timeout_shows_what_has_arrived(autojump_clock: None) -> None:
    async with app.test_client() as client, client.raw("/echo", timeout=2) as peer:
        await peer.message("hello")
        await peer.receive_frame()
        with pytest.raises(TestTimeout, match=r"after 2 s waiting for a frame from .*'HTTP/1.1 101.*TEXT b'hello'"):
            await peer.receive_frame()
        await peer.send(b"\x81")
        with pytest.raises(TestTimeout, match="waiting for 3 bytes"):
            await peer.receive_bytes(3)


async def test_other_answers_are_rejections() -> None:
    async with app.test_client() as client:
        with pytest.raises(ConnectionRejected) as refused:
            async with client.raw("/nowhere"):
                pass
    assert refused.value.status == 403


async def test_a_failing_test_fails_as_itself(autojump_clock: None) -> None:
    with pytest.raises(ZeroDivisionError):
        async with app.test_client() as client, client.raw("/silent") as peer:
            await peer.message("x" * 500_000)
            raise ZeroDivisionError


async def test_errors_of_the_handler_replace_their_consequences() -> None:
    broken = App()

    @broken.websocket("/")
    async def fail(ws: WebSocket) -> None:
        raise LookupError("the handler's")

    with pytest.raises(LookupError):
        async with broken.test_client() as client, client.raw("/") as peer:
            await peer.receive_close()
            await peer.receive_frame()


# --- over streams of the test's -----------------------------------------------------------------------------------


@asynccontextmanager
async def pair(**options: object) -> AsyncIterator[tuple[RawPeer, RawPeer]]:
    """A raw client and a raw server, connected in memory."""
    left, right = memory_pair()
    async with RawPeer(left, **options) as client, RawPeer(right, side="server", **options) as server:
        yield client, server


async def test_two_raw_peers_shake_hands() -> None:
    async with pair() as (client, server), trio.open_nursery() as nursery:
        nursery.start_soon(partial(server.accept, {"X-Server": "raw"}, early=frame_bytes(Opcode.PING, mask=None)))
        response = await client.handshake("/chat", {"Cookie": "a=1"})
        assert response.headers["x-server"] == "raw"
        assert (await client.receive_frame()).opcode == Opcode.PING
        assert (server.request.method, server.request.target, server.request.headers["cookie"]) == (
            "GET",
            "/chat",
            "a=1",
        )


async def test_a_peer_without_a_block_sends_what_is_awaited() -> None:
    """In a network without buffers nothing is sent at once."""
    left, right = memory_pair(capacity=0)
    client, server = RawPeer(left), RawPeer(right, side="server")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(server.accept)
        await client.handshake("/chat")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(client.receive_close)
        with trio.fail_after(5):
            await server.close_frame(4000, "bye")
            assert (await server.receive_frame()).close_code == 4000
    assert [frame.close_reason for frame in client.received] == ["bye"]
    await client.close()
    assert await server.receive_frames() == []


async def test_invalid_frames_raise_and_are_removed() -> None:
    async with pair() as (client, server):
        server.frame(0xB)
        server.ping(b"next")
        with pytest.raises(InvalidFrame, match=r"RFC 6455 5\.2.*OPCODE 0xb"):
            await client.receive_frame()
        assert (await client.receive_frame()).payload == b"next"


async def test_unchecked_peers_accept_invalid_frames() -> None:
    async with pair(check=False) as (client, server):
        server.send(frame_bytes(0xB, b"x", rsv3=True, length_bytes=8))
        assert str(await client.receive_frame()) == "OPCODE 0xb b'x' rsv3 length in 8 bytes"


async def test_a_compressed_message_is_valid_once_agreed() -> None:
    async with pair() as (client, server):
        server.send(response_bytes("any", {"Sec-WebSocket-Extensions": "permessage-deflate"}))
        await client.receive_response()
        server.frame(Opcode.TEXT, b"\xf2\x48\xcd\xc9\xc9\x07\x00", rsv1=True)
        assert (await client.receive_frame()).rsv1


async def test_an_end_within_a_frame_is_told_with_its_bytes() -> None:
    async with pair() as (client, server):
        server.ping(b"first")
        server.send(b"\x81\x05he")
        server.close()
        with pytest.raises(
            RawConnectionEnded, match=r"ended before a frame arrived; .*PING b'first', 4 bytes .*he'"
        ) as end:
            await client.receive_frames()
        assert not end.value.reset
        assert [str(frame) for frame in client.received] == ["PING b'first'"]


async def test_a_reset_is_told_from_a_close() -> None:
    async with pair() as (client, server):
        server.message("last words")
        server.reset()
        assert (await client.receive_frame()).text == "last words"
        with pytest.raises(RawConnectionEnded, match="was reset") as end:
            await client.receive_frame()
        assert end.value.reset
        assert client.end == "reset"
        with pytest.raises(trio.BrokenResourceError):
            await client.ping()


async def test_awaiting_a_send_waits_until_it_is_taken(autojump_clock: None) -> None:
    async with pair(timeout=3) as (client, server):
        large = client.send(b"x" * 200_000)
        with pytest.raises(TestTimeout, match="waiting for room to send"):
            await large
        assert len(await server.receive_bytes(64 * 1024)) == 64 * 1024


async def test_a_stream_that_cannot_be_reset_says_so() -> None:
    left, right = trio.testing.memory_stream_pair()
    async with RawPeer(left) as peer, RawPeer(right, side="server") as other:
        with pytest.raises(TypeError, match="cannot be reset"):
            peer.reset()
        peer.close()
        assert await other.receive_all() == b""


@pytest.mark.parametrize(
    "data", [b"\r\n\r\n", b"HTTP/1.1 OK\r\n\r\n", b"SSH-2.0\r\n\r\n", b"HTTP/1.1 200 OK\r\nno colon\r\n\r\n"]
)
async def test_what_is_no_response_is_an_invalid_head(data: bytes) -> None:
    async with pair() as (client, server):
        server.send(data)
        with pytest.raises(InvalidHead):
            await client.receive_response()


async def test_an_endless_head_is_refused() -> None:
    async with pair() as (client, server):
        server.send(b"x" * 300_000)
        with pytest.raises(InvalidHead, match="are no head"):
            await client.receive_response()


async def test_frames_are_described_in_short() -> None:
    async with pair() as (client, server):
        server.close_frame(4001, "wrong room")
        server.frame(Opcode.CLOSE)
        assert str(await client.receive_frame()) == "CLOSE 4001 'wrong room'"
    async with pair(check=False) as (client, server):
        server.frame(0xB, b"x" * 70, fin=False, rsv3=True)
        server.close_frame(None)
        assert str(await client.receive_frame()) == "OPCODE 0xb b'x' * 70 unfinished rsv3"
        assert (await client.receive_frame()).close_code == 1005


@pytest.mark.parametrize(
    "arguments", [{"opcode": 16}, {"opcode": 1, "length": 126, "length_bytes": 0}, {"opcode": 1, "length_bytes": 4}]
)
def test_frames_that_have_no_bytes_are_refused(arguments: dict[str, int]) -> None:
    with pytest.raises(ValueError, match=r"opcode|fit"):
        frame_bytes(**arguments)


async def test_cancelling_a_receive_loses_nothing() -> None:
    async def receive(cut: CancellationPoint) -> None:
        async with pair() as (client, server), trio.open_nursery() as nursery:

            async def send() -> None:
                for byte in frame_bytes(Opcode.TEXT, "hello", mask=None):
                    await trio.testing.wait_all_tasks_blocked()
                    server.send(bytes([byte]))

            nursery.start_soon(send)
            frame = None
            with cut():
                frame = await client.receive_frame()
            frame = frame or await client.receive_frame()
            assert frame.text == "hello"

    assert await cancel_everywhere(receive) > 3


# --- as a server ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("way", ["socket", "memory", "tls"])
async def test_a_client_talks_to_a_raw_server(way: str) -> None:
    server_tls, client_tls = contexts() if way == "tls" else (None, None)
    async with raw_server(ssl_context=server_tls) as server, trio.open_nursery() as nursery:

        async def converse() -> None:
            stream = server.connect() if way == "memory" else None
            url = f"{server.url}/chat".replace("127.0.0.1", "localhost")
            with pytest.raises(WebSocketDisconnect, match="1002"):
                async with open_websocket(url, stream=stream, ssl_context=client_tls, subprotocols=["chat"]) as ws:
                    await ws.send("hello")
                    await ws.receive()

        nursery.start_soon(converse)
        async with server.accept(headers={"Sec-WebSocket-Protocol": "chat"}) as peer:
            assert peer.request.headers["sec-websocket-protocol"] == "chat"
            assert (await peer.receive_frame()).text == "hello"
            peer.frame(Opcode.TEXT, "hello", masked=True)
            assert (await peer.receive_close())[-1].close_code == 1002


async def test_a_raw_server_answers_wrongly() -> None:
    async with raw_server() as server, trio.open_nursery() as nursery:

        async def converse() -> None:
            with pytest.raises(ConnectionRejected):
                async with open_websocket(server.url):
                    pass

        nursery.start_soon(converse)
        async with server.accept(handshake=False) as peer:
            await peer.respond(404, body=b"nothing here")


async def test_a_server_without_client_times_out(autojump_clock: None) -> None:
    async with raw_server(timeout=3) as server:
        with pytest.raises(TestTimeout, match="waiting for a client to connect"):
            async with server.accept():
                pass


async def test_a_client_without_request_times_out(autojump_clock: None) -> None:
    async with raw_server(timeout=3) as server:
        with pytest.raises(TestTimeout, match="waiting for a request from the client; received so far: nothing"):
            server.connect()
            async with server.accept():
                pass
