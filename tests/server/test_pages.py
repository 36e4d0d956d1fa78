"""Pages beside the WebSockets, when the server shuts down."""

from __future__ import annotations

import pytest
import trio

from tests.testing.responders import Routes
from trio_ws import Server
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
