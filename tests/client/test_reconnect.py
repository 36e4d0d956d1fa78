"""reconnect: when the loop goes on, when it ends and how long it waits. In virtual time, over in-memory streams."""

from __future__ import annotations

import sys
from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import partial
from typing import Any

import attrs
import pytest
import trio
from support.handlers import QUICK, Ends, echo, serve, stall
from support.internals import internal
from trio.testing import wait_all_tasks_blocked

from trio_ws import (
    Attempt,
    BackoffSettings,
    ConnectError,
    ConnectionRejected,
    Reject,
    WebSocket,
    WebSocketDisconnect,
    WebSocketException,
    reconnect,
)
from trio_ws.client import client as client_module
from trio_ws.client.backoff import Backoff
from trio_ws.client.plan import Plan
from trio_ws.testing.network import MemoryListener

Step = Callable[[WebSocket], Awaitable[object]] | Exception
BACKOFF = BackoffSettings(initial=1.0, maximum=8.0, factor=2.0, stable_after=100.0)
"""With a random number that is always a half: 0.5, 1, 2, 4 and 4 seconds."""


class Script:
    """A server that does the next step of a script with each connection; an exception is raised by the dialling."""

    def __init__(self, listener: MemoryListener, follow: Any) -> None:
        self._listener = listener
        self._follow = follow
        self.steps: list[Step] = []
        self.times: list[float] = []
        """When somebody dialled."""
        self.ends = Ends()
        self.opened: list[trio.abc.Stream] = []
        """The client's end of each connection."""

    async def follow(self, plan: Plan) -> Any:
        """Stand in for `follow`, with a stream in memory."""
        self.times.append(trio.current_time() - self._began)
        if self.steps and isinstance(self.steps[0], Exception):
            raise self.steps.pop(0)
        stream = self._listener.connect()
        self.opened.append(stream)
        return await self._follow(attrs.evolve(plan, options=attrs.evolve(plan.options, stream=stream)))

    async def serve(self, ws: WebSocket) -> None:
        step = self.steps.pop(0)
        assert not isinstance(step, Exception)
        await step(ws)

    def plan(self, *steps: Step) -> None:
        self.steps, self._began = list(steps), trio.current_time()

    async def check_closed(self) -> None:
        """Check that the client has left no connection open."""
        for stream in self.opened:
            with pytest.raises(trio.ClosedResourceError):
                await stream.send_all(b"")


@pytest.fixture
async def script(nursery, monkeypatch):
    listener = MemoryListener()
    script = Script(listener, client_module.follow)
    monkeypatch.setattr(client_module, "follow", script.follow)
    monkeypatch.setattr(sys.modules[reconnect.__module__], "Backoff", partial(Backoff, source=lambda: 0.5))
    await serve(
        nursery,
        script.serve,
        listeners=[listener],
        auto_accept=False,
        on_disconnect=script.ends,
        timeouts=attrs.evolve(QUICK, open_timeout=1000.0),
    )
    script.plan()
    return script


def closing(code: int) -> Step:
    async def close(ws: WebSocket) -> None:
        await ws.accept()
        await ws.close(code)

    return close


def refusing(status: int, **headers: str) -> Step:
    async def refuse(_: WebSocket) -> None:
        raise Reject(status, {name.replace("_", "-"): value for name, value in headers.items()})

    return refuse


async def drop(ws: WebSocket) -> None:
    """End the network connection without a close frame."""
    await ws.accept()
    await wait_all_tasks_blocked()  # until the answer is out
    await trio.aclose_forcefully(internal(ws.context.channel.transport, "_stream"))


async def stay(ws: WebSocket) -> None:
    await ws.accept()
    await echo(ws)


async def drain(**options: Any) -> int:
    """Receive until the loop ends; return how many connections there were."""
    count = 0
    async for connection in reconnect("ws://example.org/", backoff=BACKOFF, **options):
        async with connection as ws:
            count += 1
            async for _ in ws:
                pass
    return count


async def test_a_normal_close_ends_the_loop(autojump_clock, script):
    script.plan(closing(1000))
    assert await drain() == 1
    await script.check_closed()


@pytest.mark.parametrize("code", [1001, 1011, 1014])
async def test_transient_close_codes_reconnect_after_the_first_delay(autojump_clock, script, code):
    """Codes of trouble that passes go on after the first delay."""
    script.plan(closing(code), closing(1000))
    assert await drain() == 2
    assert script.times == [0, pytest.approx(0.5)]
    await script.check_closed()


async def test_a_lost_connection_goes_on(autojump_clock, script):
    script.plan(drop, closing(1000))
    assert await drain() == 2
    assert script.times == [0, pytest.approx(0.5)]


async def test_a_block_that_does_not_read_goes_on_too(autojump_clock, script):
    script.plan(closing(1001), drop, closing(1000))
    count = 0
    async for connection in reconnect("ws://example.org/", backoff=BACKOFF):
        async with connection:
            count += 1
            await trio.sleep_forever()
    assert count == 3


async def test_a_restart_spreads_the_clients(autojump_clock, script):
    script.plan(closing(1012), closing(1000))
    assert await drain() == 2
    assert 0.5 <= script.times[1] <= BACKOFF.restart_spread + 0.5


async def test_try_again_later_waits_longer(autojump_clock, script):
    script.plan(closing(1013), closing(1000))
    assert await drain() == 2
    assert script.times[1] == pytest.approx(BACKOFF.try_later + 0.5)


@pytest.mark.parametrize("code", [1008, 1002, 3000, 4001])
async def test_permanent_close_codes_are_raised_by_the_block(autojump_clock, script, code):
    """Codes that say not to come again are raised by the block."""
    script.plan(closing(code))
    connections = aiter(reconnect("ws://example.org/", backoff=BACKOFF))
    with pytest.raises(WebSocketDisconnect) as caught:
        async with await anext(connections) as ws:
            await ws.receive()
    assert caught.value.code == code
    with pytest.raises(StopAsyncIteration):
        await anext(connections)
    await script.check_closed()


async def test_caught_permanent_close_code_ends_the_loop_silently(autojump_clock, script):
    """A caught code that says not to come again ends the loop silently."""
    script.plan(closing(4001))
    assert await drain(caught_close_codes=all) == 1


@pytest.mark.parametrize("status", [400, 401, 403, 404])
async def test_refusals_for_good_are_raised_by_the_loop(autojump_clock, script, status):
    script.plan(refusing(status))
    with pytest.raises(ConnectionRejected) as caught:
        await drain()
    assert caught.value.status == status
    await script.check_closed()


async def test_retry_after_is_obeyed(autojump_clock, script):
    script.plan(refusing(503, Retry_After="30"), refusing(429, Retry_After="7"), closing(1000))
    assert await drain() == 1
    assert script.times == pytest.approx([0, 30.5, 30.5 + 7 + 1.0])


async def test_delays_grow_to_their_maximum(autojump_clock, script):
    script.plan(*[refusing(500)] * 3, *[ConnectError("tcp", "refused")] * 3, closing(1000))
    assert await drain() == 1
    waits = [after - before for before, after in zip(script.times, script.times[1:], strict=False)]
    assert waits == pytest.approx([0.5, 1, 2, 4, 4, 4])


async def test_delays_grow_until_a_long_connection_resets_them(autojump_clock, script):
    """Delays go on growing after a short connection and begin anew after a long one."""

    async def live_long(ws: WebSocket) -> None:
        await ws.accept()
        await trio.sleep(BACKOFF.stable_after + 1)
        await ws.close(1001)

    script.plan(drop, drop, live_long, closing(1000))
    began = trio.current_time()
    assert await drain() == 4
    assert script.times == pytest.approx([0, 0.5, 1.5, 1.5 + BACKOFF.stable_after + 1 + 0.5])
    assert trio.current_time() - began == pytest.approx(script.times[-1])


@pytest.mark.parametrize("phase", ["dns", "tcp", "proxy", "tls", "handshake"])
async def test_a_failure_on_the_way_is_tried_again(autojump_clock, script, phase):
    script.plan(ConnectError(phase, "no luck"), closing(1000))
    assert await drain() == 1


async def test_what_is_wrong_with_the_arguments_is_raised_at_once(autojump_clock, script):
    with pytest.raises(ValueError, match="receive_type"):
        reconnect("ws://example.org/", receive_type="xml")
    assert script.opened == []
    with pytest.raises(TypeError, match="nonsense"):
        await drain(nonsense=1)


async def note_request(ws: WebSocket) -> None:
    """Refuse for a moment, with the request's parts that an attempt may have in the reason."""
    await ws.accept()
    cookie = ws.headers.get("cookie", "")
    await ws.close(
        1011, f"{ws.request.target} {ws.headers.get('authorization', '')}{cookie} {','.join(ws.request.subprotocols)}"
    )


async def reasons(count: int, target: Any, **options: Any) -> list[str]:
    """Connect so often, and return the reasons that the server gave."""
    found: list[str] = []
    async for connection in reconnect(target, backoff=BACKOFF, **options):
        with suppress(WebSocketDisconnect):
            async with connection as ws:
                await ws.receive()
        found.append(ws.close_reason)
        if len(found) == count:
            break
    return found


async def test_function_makes_url_and_headers_for_each_attempt(autojump_clock, script):
    script.plan(note_request, note_request, note_request)
    tokens = iter(["one", "two", "three"])
    since: list[int | None] = [None, 17, 42]

    async def target() -> Attempt:
        await trio.sleep(0.1)  # it asks another server for the token
        return Attempt(
            "ws://example.org/board?x=1",
            query={"since": since.pop(0), "b": "a b"},
            headers={"Authorization": f"Bearer {next(tokens)}"},
            subprotocols=["chat"],
        )

    assert await reasons(3, target, headers={"Authorization": "none"}, cookies={"a": "1"}) == [
        "/board?x=1&b=a+b Bearer onea=1 chat",
        "/board?x=1&since=17&b=a+b Bearer twoa=1 chat",
        "/board?x=1&since=42&b=a+b Bearer threea=1 chat",
    ]


async def test_plain_function_may_return_the_url_alone(autojump_clock, script):
    script.plan(note_request, note_request)
    urls = iter(["ws://example.org/a", "ws://example.org/b"])
    assert await reasons(2, lambda: next(urls), headers={"Authorization": "x"}) == ["/a x ", "/b x "]


@pytest.mark.parametrize(
    ("target", "error", "text"),
    [
        (lambda: 7, TypeError, "returns a URL or an Attempt, not 7"),
        (lambda: "ftp://example.org/", ValueError, "ftp"),
        (lambda: Attempt("ws://example.org/", headers={"a b": "c"}), ValueError, "a b"),
        (lambda: Attempt(7), TypeError, "url"),
        (lambda: 1 / 0, ZeroDivisionError, "division"),
    ],
)
async def test_wrong_result_of_the_function_is_raised_by_the_loop(autojump_clock, script, target, error, text):
    with pytest.raises(error, match=text):
        await reasons(1, target)
    assert script.times == []


@pytest.mark.parametrize("url", [7, None, b"ws://x"])
async def test_neither_url_nor_function_is_a_type_error(url):
    with pytest.raises(TypeError, match="takes a URL or a function"):
        reconnect(url)


async def test_options_beside_a_function_are_checked_at_once(script):
    with pytest.raises(ValueError, match="receive_type"):
        reconnect(lambda: "ws://example.org/", receive_type="xml")
    with pytest.raises(ValueError, match="a b"):
        reconnect(lambda: "ws://example.org/", headers={"a b": "c"})


async def test_every_delay_follows_initial(autojump_clock, script):
    quick = BackoffSettings(initial=0.001)
    assert (quick.restart_spread, quick.try_later) == (0.01, 0.03)
    script.plan(closing(1013), closing(1012), closing(1011), closing(1000))
    async for connection in reconnect("ws://example.org/", backoff=quick):
        async with connection as ws:
            async for _ in ws:
                pass
    assert 0.03 <= script.times[-1] <= 0.03 + 0.01 + 0.004


async def test_none_means_the_default_as_it_does_for_open_websocket(autojump_clock, script):
    script.plan(closing(1000))
    assert await drain(limits=None, timeouts=None, compression=None, poller=None) == 1


async def test_break_leaves_nothing_open(autojump_clock, script):
    script.plan(stay)
    async for connection in reconnect("ws://example.org/", backoff=BACKOFF):
        async with connection as ws:
            await ws.send("hello")
            assert await ws.receive() == "hello"
            break
    assert await script.ends.first() == 1000
    await script.check_closed()


async def test_a_block_that_ends_by_itself_ends_the_loop(autojump_clock, script):
    script.plan(stay)
    count = 0
    async for connection in reconnect("ws://example.org/", backoff=BACKOFF):
        async with connection:
            count += 1
    assert count == 1
    assert await script.ends.first() == 1000


async def test_an_own_close_ends_the_loop_whatever_its_code(autojump_clock, script):
    script.plan(stay)
    async for connection in reconnect("ws://example.org/", backoff=BACKOFF):
        async with connection as ws:
            await ws.close(1001)
    assert await script.ends.first() == 1001


@pytest.mark.parametrize(("error", "code"), [(ValueError("mine"), 1011), (WebSocketException(4002), 4002)], ids=str)
async def test_an_error_in_the_block_is_raised_as_it_is(autojump_clock, script, error, code):
    script.plan(stay)
    with pytest.raises(type(error)) as raised:
        async for connection in reconnect("ws://example.org/", backoff=BACKOFF):
            async with connection:
                raise error
    assert raised.value is error
    assert await script.ends.first() == code
    await script.check_closed()


async def test_a_disconnect_of_something_else_is_the_block_s_own_error(autojump_clock, script):
    """1006 of another connection is no reason to connect this one again."""
    script.plan(stay)
    with pytest.raises(WebSocketDisconnect):
        async for connection in reconnect("ws://example.org/", backoff=BACKOFF):
            async with connection:
                raise WebSocketDisconnect(1006)
    assert script.steps == []


async def test_cancelled_in_the_block_tells_the_server_1001(autojump_clock, script):
    script.plan(stay)
    with trio.move_on_after(5) as scope:
        await drain()
    assert scope.cancelled_caught
    assert await script.ends.first() == 1001
    await script.check_closed()


async def test_cancelled_while_it_waits_leaves_nothing_open(autojump_clock, script):
    script.plan(closing(1013))
    with trio.move_on_after(5) as scope:
        await drain()
    assert scope.cancelled_caught
    assert len(script.times) == 1
    await script.check_closed()


async def test_cancelled_while_it_dials_leaves_nothing_open(autojump_clock, script):
    script.plan(stall)
    with trio.move_on_after(0.5) as scope:
        await drain()
    assert scope.cancelled_caught
    await script.check_closed()
