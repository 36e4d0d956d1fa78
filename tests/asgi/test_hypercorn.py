"""What hypercorn does, and does not let an application do: each test holds a row of the table in docs/asgi.md.

They serve plain ASGI applications, without the bridge. One that fails says that hypercorn has changed.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing
from contracts.rig import Peer, read_head, request, status_of
from support.asgi import VERSIONS, Version, open_network, plain_hypercorn
from support.tunnel import Tunnel

from trio_ws.protocol.frames import encode_frame

LONG = 20.0
SOCKETS = Path("/proc/self/fd")
CLOSE = 8
KEY = b"abcd"


@contextmanager
def unchanged() -> Iterator[None]:
    """Say what to do when an assertion about hypercorn fails."""
    try:
        yield
    except AssertionError as error:
        error.add_note("hypercorn has changed: update the table in docs/asgi.md, and what the bridge does about it")
        raise


@pytest.fixture(params=VERSIONS)
def version(request: pytest.FixtureRequest) -> Version:
    given: Version = request.param
    return given


def application(websocket: Any) -> Any:
    """An ASGI application with a lifespan, which handles everything else with a function."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "lifespan":
            await websocket(scope, receive, send)
            return
        while True:
            stage = (await receive())["type"]
            await send({"type": f"{stage}.complete"})
            if stage == "lifespan.shutdown":
                return

    return app


class Recorder:
    """Accepts, and notes every event until the disconnect."""

    def __init__(self, **accept: Any) -> None:
        self.events: list[Any] = []
        self.over = trio.Event()
        self._accept = accept

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "websocket.accept", **self._accept})
        while not self.events or self.events[-1]["type"] != "websocket.disconnect":
            self.events.append(await receive())
        self.over.set()
        await self.afterwards(receive, send)

    async def afterwards(self, receive: Any, send: Any) -> None:
        """What follows the disconnect."""


async def dial(port: int, version: Version, *extra: str, behind: bytes = b"") -> tuple[bytes, Any]:
    """Ask for a WebSocket; return the head of the answer and the peer."""
    stream = await open_network(port, version)
    async with given_up(stream):
        await stream.send_all(request("/", *extra) + behind)
        head, early = await read_head(stream)
    return head, Peer(stream, client=True, early=early)


@asynccontextmanager
async def given_up(stream: trio.abc.Stream) -> AsyncIterator[None]:
    """Close a stream if the block fails, because the server has ended."""
    try:
        yield
    except BaseException:
        await trio.aclose_forcefully(stream)
        raise


async def settled() -> None:
    """Wait until hypercorn, which runs in this process, has nothing more to do, however busy the machine is."""
    await trio.testing.wait_all_tasks_blocked(0.1)


@contextmanager
def server_ends_with(error: type[BaseException]) -> Iterator[None]:
    """The whole server ends with an error, however many clients it had."""
    with unchanged():
        ended: BaseException | None = None
        try:
            yield
        except* error as group:
            ended = group
        assert ended is not None, "the server has survived it"


# --- the end of a connection -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("leave", [1000, 4000, None], ids=["1000", "4000", "drop"])
async def test_however_the_client_leaves_the_application_is_told_1006(version: Version, leave: int | None) -> None:
    app = Recorder()
    with trio.fail_after(LONG), unchanged():
        async with plain_hypercorn(application(app)) as port:
            _, peer = await dial(port, version)
            if leave is not None:
                await peer.close(leave, "bye")
                assert await peer.next() == ("close", (leave, "bye"))
            await peer.leave()
            await app.over.wait()
        assert app.events == [{"type": "websocket.disconnect", "code": 1006}]


async def test_a_second_receive_after_the_disconnect_waits_for_ever(version: Version) -> None:
    hung: list[bool] = []

    class Twice(Recorder):
        async def afterwards(self, receive: Any, send: Any) -> None:
            with trio.move_on_after(0.1) as scope:
                await receive()
            hung.append(scope.cancelled_caught)

    with trio.fail_after(LONG), unchanged():
        async with plain_hypercorn(application(Twice())) as port:
            _, peer = await dial(port, version)
            await peer.leave()
            while not hung:
                await trio.sleep(0.005)
        assert hung == [True]


async def test_a_send_after_the_disconnect_is_silently_dropped(version: Version) -> None:
    sent: list[str] = []

    class SendsOn(Recorder):
        async def afterwards(self, receive: Any, send: Any) -> None:
            await send({"type": "websocket.send", "text": "to nobody"})
            sent.append("no error")

    with trio.fail_after(LONG), unchanged():
        async with plain_hypercorn(application(SendsOn())) as port:
            _, peer = await dial(port, version)
            await peer.leave()
            while not sent:
                await trio.sleep(0.005)


async def test_the_shutdown_sends_no_close_frame(version: Version) -> None:
    """The application is cancelled when graceful_timeout is over."""
    trigger = trio.Event()
    with trio.fail_after(LONG), unchanged():
        async with plain_hypercorn(
            application(Recorder()), shutdown_trigger=trigger.wait, graceful_timeout=0.05
        ) as port:
            _, peer = await dial(port, version)
            trigger.set()
            assert await peer.next() is None
            await peer.leave()
        assert peer.seen == []


async def test_http2_close_frame_of_cancelled_call_is_not_sent() -> None:
    """The task that sends for all streams was cancelled with it."""
    trigger = trio.Event()

    async def says_goodbye(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "websocket.accept"})
        try:
            await receive()
        finally:
            with trio.move_on_after(0.2, shield=True):
                await send({"type": "websocket.close", "code": 1001})

    with trio.fail_after(LONG), unchanged():
        async with plain_hypercorn(
            application(says_goodbye), shutdown_trigger=trigger.wait, graceful_timeout=0.05
        ) as port:
            _, peer = await dial(port, "http2")
            trigger.set()
            assert await peer.next() is None
            await peer.leave()


@pytest.mark.parametrize("frame", [b"\x83\x80abcd", b"\x81\x81\0\0\0\0\xff"], ids=["opcode", "utf-8"])
async def test_protocol_error_is_answered_without_close_frame(version: Version, frame: bytes) -> None:
    """A breach of the protocol is answered with no close frame."""
    app = Recorder()
    with trio.fail_after(LONG), unchanged():
        async with plain_hypercorn(application(app)) as port:
            _, peer = await dial(port, version)
            await peer.send(frame)
            await app.over.wait()
            assert app.events == [{"type": "websocket.disconnect", "code": 1006}]
            with trio.move_on_after(0.1):
                assert await peer.next() is None
            await peer.leave()
        assert peer.seen == []


async def test_http2_end_of_client_stream_alone_is_not_noticed() -> None:
    """Over HTTP/2 the end of the client's side alone is not noticed."""
    app = Recorder()
    with trio.fail_after(LONG), unchanged():
        async with plain_hypercorn(application(app)) as port:
            _, peer = await dial(port, "http2")
            await peer.stream.send_eof()
            with trio.move_on_after(0.2):
                await app.over.wait()
            assert app.events == []
            await peer.leave()


async def test_http2_stream_stays_open_when_client_closed_first() -> None:
    """Over HTTP/2 the stream is not ended when the client closed first."""
    app = Recorder()
    with trio.fail_after(LONG), unchanged():
        async with plain_hypercorn(application(app)) as port:
            _, peer = await dial(port, "http2")
            peer.stream.ends_with_close = False
            await peer.close(1000)
            assert await peer.next() == ("close", (1000, ""))
            with trio.move_on_after(0.2) as waited:
                await peer.stream.receive_some()
            assert waited.cancelled_caught
            await peer.leave()


async def test_http2_stream_ends_before_client_answers_our_close() -> None:
    """Over HTTP/2 the application's close ends the stream before the client answers."""

    async def closes(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "websocket.accept"})
        await send({"type": "websocket.close", "code": 4000})
        await receive()

    with trio.fail_after(LONG), unchanged():
        async with plain_hypercorn(application(closes)) as port:
            _, peer = await dial(port, "http2")
            peer.stream.ends_with_close = False
            assert await peer.next() == ("close", (4000, ""))
            assert await peer.next() is None
            await peer.leave()


# --- what ends the whole server --------------------------------------------------------------------------------------


async def test_a_subprotocol_that_was_not_offered_ends_the_server(version: Version) -> None:
    with trio.fail_after(LONG), server_ends_with(AttributeError):
        async with plain_hypercorn(application(Recorder(subprotocol="never offered"))) as port:
            _, peer = await dial(port, version)
            async with given_up(peer.stream):
                await trio.sleep_forever()


@pytest.mark.parametrize("name", ["Sec-WebSocket-Protocol", "Sec-WebSocket-Extensions"])
async def test_bytes_outside_ascii_in_these_headers_end_the_server(version: Version, name: str) -> None:
    with trio.fail_after(LONG), server_ends_with(UnicodeDecodeError):
        async with plain_hypercorn(application(Recorder())) as port:
            stream = await open_network(port, version)
            asked = request("/", f"{name}: x").replace(f"{name}: x".encode(), name.encode() + b": \xff")
            async with given_up(stream):
                await stream.send_all(asked)
                await trio.sleep_forever()


async def test_a_bad_window_of_permessage_deflate_ends_the_server(version: Version) -> None:
    with trio.fail_after(LONG), server_ends_with(AttributeError):
        async with plain_hypercorn(application(Recorder())) as port:
            _, peer = await dial(
                port, version, "Sec-WebSocket-Extensions: permessage-deflate; server_max_window_bits=zz"
            )
            async with given_up(peer.stream):
                await trio.sleep_forever()


async def test_frames_before_the_answer_are_refused_or_end_the_server() -> None:
    """Over HTTP/1.1: which of the two depends on who is faster."""

    told: list[Any] = []

    async def slow(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await trio.testing.wait_all_tasks_blocked(0.02)  # hypercorn has answered
        await send({"type": "websocket.accept"})
        accepted.set()
        told.append(await receive())

    accepted = trio.Event()

    with trio.fail_after(LONG), unchanged():
        async with plain_hypercorn(application(slow)) as port:
            head, peer = await dial(port, "http1", behind=encode_frame(1, b"early", mask=KEY))
            assert status_of(head) == 400
            await accepted.wait()  # without an error
            await peer.leave()
            await settled()
        assert told == []  # neither the frame nor the end


async def test_http2_data_for_returned_call_ends_the_server() -> None:
    """Over HTTP/2 what comes for a call that has returned ends the server."""

    async def closes(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "websocket.accept"})
        await send({"type": "websocket.close", "code": 4000})

    with trio.fail_after(LONG), server_ends_with(KeyError):
        async with plain_hypercorn(application(closes)) as port:
            _, peer = await dial(port, "http2")
            async with given_up(peer.stream):
                assert await peer.next() == ("close", (4000, ""))
                await settled()
                await peer.close(4000)
                await trio.sleep_forever()


async def test_http2_body_behind_the_answer_ends_the_server() -> None:
    """Over HTTP/2 a body that comes behind the answer ends the server."""

    async def answers(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    with trio.fail_after(LONG), server_ends_with(KeyError):
        async with plain_hypercorn(application(answers)) as port:
            stream = await open_network(port, "http2")
            async with given_up(stream):
                await stream.send_all(b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 4\r\n\r\n")
                await read_head(stream)
                await settled()
                await stream.send_all(b"body")
                await trio.sleep_forever()


# --- limits, pings, compression --------------------------------------------------------------------------------------


@pytest.mark.slow
async def test_send_to_client_that_does_not_read_is_uncancellable() -> None:
    """A send to a client that does not read cannot be cancelled."""
    ended = trio.Event()

    async def floods(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "websocket.accept"})
        with trio.move_on_after(0.05):
            await send({"type": "websocket.send", "bytes": bytes(20_000_000)})
        ended.set()

    with trio.fail_after(LONG), unchanged():
        async with plain_hypercorn(application(floods)) as port:
            _, peer = await dial(port, "http1")
            with trio.move_on_after(0.3) as waited:
                await ended.wait()
            assert waited.cancelled_caught
            await peer.leave()
            await ended.wait()


async def test_http2_buffers_all_data_for_client_that_does_not_read() -> None:
    """Over HTTP/2 hypercorn keeps whatever a client does not read."""
    taken: list[int] = []

    async def floods(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "websocket.accept"})
        for number in range(100):
            await send({"type": "websocket.send", "bytes": bytes(100_000)})
            await trio.lowlevel.checkpoint()
            taken.append(number)

    with trio.fail_after(LONG), unchanged():
        async with plain_hypercorn(application(floods)) as port:
            _, peer = await dial(port, "http2")
            while len(taken) < 100:
                await trio.sleep(0.005)
            await peer.leave()


async def test_pings_pongs_and_fragments_are_not_told(version: Version) -> None:
    app = Recorder()
    with trio.fail_after(LONG), unchanged():
        async with plain_hypercorn(application(app)) as port:
            _, peer = await dial(port, version)
            await peer.ping(b"p")
            await peer.pong(b"q")
            await peer.message("frag", fin=False)
            await peer.message("ments")
            assert await peer.next() == ("pong", b"p")
            await peer.leave()
            await app.over.wait()
        assert app.events[0] == {"type": "websocket.receive", "bytes": None, "text": "fragments"}
        assert len(app.events) == 2


@pytest.mark.slow
async def test_server_ping_task_outlives_connection_without_pong_check() -> None:
    """So a connection without an answer is kept, and the shutdown waits for the sleepers or graceful_timeout."""
    app, trigger = Recorder(), trio.Event()
    with trio.fail_after(LONG), unchanged():
        async with plain_hypercorn(
            application(app), websocket_ping_interval=1, shutdown_trigger=trigger.wait, graceful_timeout=30
        ) as port:
            _, peer = await dial(port, "http1")
            for _ in range(2):
                assert await peer.next() == ("ping", b"")
            await peer.leave()
            await app.over.wait()
            tasks = {task.name for task in _all_tasks()}
            assert any("_send_pings" in name for name in tasks), tasks


@pytest.mark.skipif(not SOCKETS.exists(), reason="this platform has no /proc")
async def test_closed_connection_keeps_descriptor_until_next_ping() -> None:
    """With the interval of a thousand seconds here it is there as long as anybody looks; without pings it is closed."""

    async def served(interval: float | None, kept: int) -> None:
        """Let a client come and go, and wait until no more sockets than `kept` are left of it."""
        app = Recorder()
        async with plain_hypercorn(application(app), websocket_ping_interval=interval) as port:
            before = _sockets()
            _, peer = await dial(port, "http1")
            if interval is not None:
                assert await peer.next() == ("ping", b"")
            await peer.leave()
            await app.over.wait()
            while len(_sockets() - before) > kept:
                await trio.sleep(0.001)
            await trio.testing.wait_all_tasks_blocked(0.01)
            assert len(_sockets() - before) == kept

    with trio.fail_after(LONG), unchanged():
        await served(1000, kept=1)
        await served(None, kept=0)


def _sockets() -> set[str]:
    return {link for each in SOCKETS.iterdir() if (link := _link(each)).startswith("socket:")}


def _link(descriptor: Path) -> str:
    try:
        return os.readlink(descriptor)
    except OSError:  # that of the folder itself
        return ""


def _all_tasks() -> list[trio.lowlevel.Task]:
    root = trio.lowlevel.current_root_task()
    tasks = [] if root is None else [root]
    for task in tasks:
        tasks.extend(child for nursery in task.child_nurseries for child in nursery.child_tasks)
    return tasks


async def test_compression_is_agreed_on_whenever_it_is_offered(version: Version) -> None:
    with trio.fail_after(LONG), unchanged():
        async with plain_hypercorn(application(Recorder())) as port:
            head, peer = await dial(port, version, "Sec-WebSocket-Extensions: permessage-deflate")
            assert b"sec-websocket-extensions: permessage-deflate" in head.lower()
            await peer.leave()


async def test_text_limit_counts_characters_and_overflow_is_silent() -> None:
    """The size of text is counted in characters and a large one is not told."""
    app = Recorder()
    with trio.fail_after(LONG), unchanged():
        async with plain_hypercorn(application(app), websocket_max_message_size=10) as port:
            _, peer = await dial(port, "http1")
            await peer.message("\N{SNOWMAN}" * 10)  # 30 bytes
            await peer.message("x" * 11)
            assert await peer.next() == ("close", (1009, ""))
            assert [event["type"] for event in app.events] == ["websocket.receive"]
            await peer.leave()


async def test_a_full_queue_hides_the_disconnect(version: Version) -> None:
    events: list[Any] = []
    go = trio.Event()

    async def stalls(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "websocket.accept"})
        await go.wait()
        while True:
            events.append(await receive())

    with trio.fail_after(LONG), unchanged():
        async with plain_hypercorn(application(stalls)) as port:
            _, peer = await dial(port, version)
            for _ in range(30):
                await peer.message("x")
            await peer.leave()
            await settled()
            go.set()
            while not events or events[-1]["type"] != "websocket.disconnect":
                await trio.sleep(0.005)
        assert len(events) > 11  # ten in the queue, and the reader waited with the next, not at the end


async def test_the_tunnel_of_these_tests_speaks_http2(version: Version) -> None:
    """The scope says so: what is shown over HTTP/2 is not shown over HTTP/1.1 by mistake."""
    scopes: list[Any] = []

    async def looks(scope: Any, receive: Any, send: Any) -> None:
        scopes.append(scope)
        await receive()
        await send({"type": "websocket.accept"})
        await receive()

    with trio.fail_after(LONG):
        async with plain_hypercorn(application(looks)) as port:
            _, peer = await dial(port, version)
            assert isinstance(peer.stream, Tunnel) == (version == "http2")
            await peer.leave()
    assert scopes[0]["http_version"] == {"http1": "1.1", "http2": "2"}[version]
