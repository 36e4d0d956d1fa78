"""Pages beside the WebSockets, when the server shuts down."""

from __future__ import annotations

import pytest
import trio

from tests.testing.responders import Routes
from trio_ws import Server, Timeouts
from trio_ws.settings import Settings
from trio_ws.testing.network import MemoryListener
from trio_ws.testing.page import fetch
from trio_ws.url import URL


async def test_a_page_that_does_not_come_is_cancelled_at_shutdown_and_answered_503(autojump_clock) -> None:
    asked = trio.Event()

    class Endless(Routes):
        async def page(self, request):
            asked.set()
            await trio.sleep_forever()

    server, listener = Server(Endless()), MemoryListener()
    statuses = []

    async def get() -> None:
        page = await fetch(listener.connect(), URL.parse("http://test/page"), ())
        statuses.append(page.status)

    began = trio.current_time()
    async with trio.open_nursery() as nursery:
        await nursery.start(server.serve, [listener])
        nursery.start_soon(get)
        await asked.wait()
        server.shutdown()
    assert statuses == [503]
    assert trio.current_time() - began == pytest.approx(0, abs=1)


async def test_a_page_that_takes_longer_than_open_timeout_is_answered_503(autojump_clock) -> None:
    class Endless(Routes):
        async def page(self, request):
            await trio.sleep_forever()

    server, listener = Server(Endless(), Settings(timeouts=Timeouts(open_timeout=3))), MemoryListener()
    async with trio.open_nursery() as nursery:
        await nursery.start(server.serve, [listener])
        began = trio.current_time()
        assert (await fetch(listener.connect(), URL.parse("http://test/page"), ())).status == 503
        assert trio.current_time() - began == pytest.approx(3, abs=0.1)
        server.shutdown()


async def test_a_page_whose_client_has_left_is_cancelled(autojump_clock) -> None:
    cancelled = trio.Event()

    class Endless(Routes):
        async def page(self, request):
            try:
                await trio.sleep_forever()
            finally:
                cancelled.set()

    server, listener = Server(Endless()), MemoryListener()
    async with trio.open_nursery() as nursery:
        await nursery.start(server.serve, [listener])
        stream = listener.connect()
        await stream.send_all(b"GET /page HTTP/1.1\r\nHost: test\r\n\r\n")
        await trio.sleep(1)
        await stream.aclose()
        with trio.fail_after(1):
            await cancelled.wait()
        server.shutdown()
