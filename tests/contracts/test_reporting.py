"""When an error of the handler's is reported: before the closing handshake, which may take its time."""

from __future__ import annotations

import attrs
import pytest
import trio
from support.handlers import stall

from contracts.rig import PATIENT


async def fails(websocket):
    raise ZeroDivisionError


async def test_an_error_is_reported_before_the_close_frame(server, caplog):
    """The peer does not answer the close frame: record and `on_error` do not wait for it."""
    seen = []

    async def on_error(websocket, error):
        seen.extend((len(caplog.records), websocket.connected))
        await websocket.send("sorry")

    async with server.connect(fails, on_error=on_error) as peer:
        assert await peer.next() == ("text", "sorry")
        assert await peer.next() == ("close", (1011, ""))
        assert seen == [1, True]


@pytest.mark.parametrize("network", ["memory"], indirect=True)
async def test_on_error_that_hangs_is_cut_off(server, caplog, autojump_clock):
    """It has `cleanup_timeout`; the client gets its close frame then."""

    timeouts = attrs.evolve(PATIENT, cleanup_timeout=2.0)
    async with server.connect(fails, on_error=lambda ws, _: stall(ws), timeouts=timeouts) as peer:
        began = trio.current_time()
        assert await peer.next() == ("close", (1011, ""))
        assert trio.current_time() - began == pytest.approx(2.0)
    messages = [record.getMessage() for record in caplog.records]
    assert any("on_error of" in message and "cleanup_timeout" in message for message in messages)


async def test_an_error_before_the_answer_is_reported_before_the_500(server, caplog):
    answers = []

    async def on_error(websocket, error):
        await trio.lowlevel.checkpoint()
        answers.append(websocket.context.handshake.status)

    async with trio.open_nursery() as nursery:
        await server.serve(nursery, fails, on_error=on_error, auto_accept=False)
        head, peer = await server.dial()
        assert b" 500 " in head or b" 403 " in head  # the test's ASGI server may know no other refusal
        await peer.leave()
        nursery.cancel_scope.cancel()
    assert answers == [0]
