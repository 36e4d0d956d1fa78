"""open_websocket: what its docstring says of the block and its end, over real sockets on both transports."""

from __future__ import annotations

import contextlib
import gc

import attrs
import pytest
import trio
from support.handlers import QUICK, Ends, echo, noted_when_cancelled, serve

from trio_ws import (
    Compression,
    InvalidMessage,
    LocalProtocolError,
    UnexpectedMessage,
    WebSocket,
    WebSocketDisconnect,
    WebSocketException,
    open_websocket,
)
from trio_ws.protocol.deflate import Deflater, Inflater
from trio_ws.transport.sockets import SocketTransport
from trio_ws.transport.stream import StreamTransport

PATIENT = attrs.evolve(QUICK, drain_timeout=60.0, cleanup_timeout=60.0)


async def describe(ws: WebSocket) -> None:
    """Tell the client what its request looked like."""
    await ws.send_json(
        {
            "target": ws.request.target,
            "headers": {name: ws.headers.get(name) for name in ("x-one", "origin", "authorization", "host")},
            "cookies": ws.cookies,
            "subprotocols": ws.request.subprotocols,
        }
    )


class TestTheBlock:
    async def test_echo(self, nursery, poller):
        server = await serve(nursery)
        async with open_websocket(server.urls[0], poller=poller) as ws:
            assert ws.connected
            assert isinstance(ws.context.channel.transport, SocketTransport if poller else StreamTransport)
            for message in ("text", b"binary", "", b""):
                await ws.send(message)
                assert await ws.receive() == message
        assert not ws.connected

    async def test_contexts_are_freed_at_the_end(self, nursery, poller):
        """Whoever keeps a `WebSocket` after its end does not keep 300 KiB with it."""

        def contexts() -> list[object]:
            return [each for each in gc.get_objects() if isinstance(each, (Inflater, Deflater))]

        gc.collect()
        before = len(contexts())
        compression, ends, kept = Compression(send_context=True), Ends(), []

        async def keep(ws: WebSocket) -> None:
            kept.append(ws)
            await echo(ws)

        server = await serve(nursery, keep, compression=compression, on_disconnect=ends)
        async with open_websocket(server.urls[0], poller=poller, compression=compression) as ws:
            kept.append(ws)
            await ws.send(1000 * "text")
            assert await ws.receive() == 1000 * "text"
            assert len(contexts()) == before + 4
        await ends.first()
        for each in kept:
            await each.context.channel.closing.wait_gone()
        assert len(contexts()) == before
        with pytest.raises(WebSocketDisconnect):
            await kept[0].send(1000 * "text")

    async def test_leaving_it_closes_with_1000(self, nursery, poller):
        ends = Ends()
        server = await serve(nursery, on_disconnect=ends)
        async with open_websocket(server.urls[0], poller=poller) as ws:
            pass
        assert (ws.close_info.code, ws.close_info.by) == (1000, "local")
        assert await ends.first() == 1000

    async def test_the_websocket_knows_what_was_asked_for_and_agreed(self, nursery, poller):
        server = await serve(nursery, describe, subprotocols=("two",))
        async with open_websocket(
            f"{server.urls[0]}/path?a=1",
            headers={"X-One": "1"},
            cookies={"c": "2"},
            subprotocols=["one", "two"],
            origin=server.urls[0].replace("ws", "http"),
            poller=poller,
        ) as ws:
            seen = await ws.receive_json()
            assert seen["target"] == "/path?a=1"
            assert seen["cookies"] == {"c": "2"}
            assert seen["subprotocols"] == ["one", "two"]
            assert seen["headers"]["x-one"] == "1"
            assert ws.subprotocol == "two"
            assert str(ws.url) == f"{server.urls[0]}/path?a=1"
            assert ws.headers["X-One"] == "1"
            assert dict(ws.query_parameters) == {"a": "1"}
            assert ws.cookies == {"c": "2"}
            assert ws.accepted

    async def test_username_and_password_become_authorization(self, nursery, poller):
        server = await serve(nursery, describe)
        async with open_websocket(f"ws://user:secret@127.0.0.1:{server.port}", poller=poller) as ws:
            assert (await ws.receive_json())["headers"]["authorization"] == "Basic dXNlcjpzZWNyZXQ="

    async def test_it_cannot_be_accepted_or_rejected(self, nursery, poller):
        server = await serve(nursery)
        async with open_websocket(server.urls[0], poller=poller) as ws:
            with pytest.raises(LocalProtocolError):
                await ws.accept()
            with pytest.raises(LocalProtocolError):
                await ws.reject()

    async def test_the_block_may_close_by_itself(self, nursery, poller):
        ends = Ends()
        server = await serve(nursery, on_disconnect=ends)
        async with open_websocket(server.urls[0], poller=poller) as ws:
            await ws.close(4001, "enough")
            with pytest.raises(WebSocketDisconnect) as caught:
                await ws.send("too late")
            assert caught.value.code == 4001
        assert await ends.first() == 4001


class TestTypes:
    async def test_receive_type_and_send_type(self, nursery, poller):
        server = await serve(nursery)
        async with open_websocket(server.urls[0], receive_type="json", send_type="json", poller=poller) as ws:
            await ws.send({"a": [1, None]})
            assert await ws.receive() == {"a": [1, None]}
            await ws.send_text("{")
            with pytest.raises(InvalidMessage):
                await ws.receive()
        async with open_websocket(server.urls[0], receive_type="text", send_type="bytes", poller=poller) as ws:
            await ws.send(b"1")
            with pytest.raises(UnexpectedMessage):
                await ws.receive()
            with pytest.raises(TypeError):
                await ws.send("text")

    @pytest.mark.parametrize("name", ["receive_type", "send_type", "when_peer_leaves"])
    async def test_a_word_that_does_not_exist_is_a_value_error(self, nursery, name):
        server = await serve(nursery)
        with pytest.raises(ValueError, match=name):
            async with open_websocket(server.urls[0], **{name: "xml"}):
                pass
        assert server.statistics().accepted == 0, "nothing was dialled"


class TestTheServersEnd:
    @pytest.mark.parametrize("code", [1000, 1001])
    async def test_a_caught_code_ends_the_iteration_and_the_block_silently(self, nursery, poller, code):
        server = await serve(nursery, lambda ws: ws.close(code))
        reached = []
        async with open_websocket(server.urls[0], poller=poller) as ws:
            async for _ in ws:
                pass
            reached.append("after the loop")
            await ws.receive()
            reached.append("never")
        assert reached == ["after the loop"]
        assert ws.close_code == code

    async def test_another_code_leaves_the_block(self, nursery, poller):
        server = await serve(nursery, lambda ws: ws.close(4001, "why"))
        with pytest.raises(WebSocketDisconnect) as caught:
            async with open_websocket(server.urls[0], poller=poller) as ws:
                async for _ in ws:
                    pass
        assert (caught.value.code, caught.value.reason) == (4001, "why")

    @pytest.mark.parametrize("codes", [[4001], all])
    async def test_codes_to_catch_are_the_callers(self, nursery, poller, codes):
        server = await serve(nursery, lambda ws: ws.close(4001))
        async with open_websocket(server.urls[0], caught_close_codes=codes, poller=poller) as ws:
            await ws.receive()
        assert ws.close_code == 4001

    async def test_no_code_may_be_caught(self, nursery, poller):
        server = await serve(nursery, lambda ws: ws.close(1000))
        with pytest.raises(WebSocketDisconnect):
            async with open_websocket(server.urls[0], caught_close_codes=(), poller=poller) as ws:
                await ws.receive()

    async def test_what_came_before_the_end_can_still_be_received(self, nursery, poller):
        server = await serve(nursery, lambda ws: ws.send("hello"))
        async with open_websocket(server.urls[0], poller=poller) as ws:
            assert await ws.receive() == "hello"
            with pytest.raises(WebSocketDisconnect):
                await ws.receive()

    async def test_a_block_that_waits_elsewhere_is_cancelled_at_once(self, nursery, poller):
        server = await serve(nursery, lambda ws: ws.close(1001))
        with trio.fail_after(5):
            async with open_websocket(server.urls[0], timeouts=PATIENT, poller=poller):
                await trio.sleep_forever()
        with trio.fail_after(5), pytest.raises(WebSocketDisconnect):
            async with open_websocket(server.urls[0], timeouts=PATIENT, caught_close_codes=(), poller=poller):
                await trio.sleep_forever()

    async def test_a_block_that_has_received_gets_the_drain_timeout(self, nursery, poller):
        server = await serve(nursery, lambda ws: ws.send("hello"))
        async with open_websocket(server.urls[0], timeouts=QUICK, poller=poller) as ws:
            assert await ws.receive() == "hello"
            with trio.move_on_after(60) as scope:
                began = trio.current_time()
                try:
                    await trio.sleep_forever()
                finally:
                    assert trio.current_time() - began >= QUICK.drain_timeout * 0.5
            pytest.fail("the block goes on")
        assert not scope.cancelled_caught

    async def test_cancel_means_at_once_even_if_it_has_received(self, nursery, poller):
        server = await serve(nursery, lambda ws: ws.send("hello"))
        with trio.fail_after(5):
            async with open_websocket(server.urls[0], timeouts=PATIENT, when_peer_leaves="cancel", poller=poller) as ws:
                assert await ws.receive() == "hello"
                await trio.sleep_forever()

    async def test_finish_means_never(self, nursery, poller):
        server = await serve(nursery, lambda ws: ws.close(1000))
        finished = False
        async with open_websocket(server.urls[0], when_peer_leaves="finish", poller=poller) as ws:
            while ws.connected:
                await trio.sleep(0.001)
            await trio.sleep(3 * QUICK.drain_timeout)
            finished = True
        assert finished


class TestErrorsInTheBlock:
    async def test_exception_leaves_block_unchanged_and_closes_with_1011(self, nursery, poller):
        """An exception comes out as it is and the server is told 1011."""
        ends = Ends()
        server = await serve(nursery, on_disconnect=ends)
        error = ValueError("mine")
        with pytest.raises(ValueError, match="mine") as caught:
            async with open_websocket(server.urls[0], poller=poller):
                raise error
        assert caught.value is error
        assert await ends.first() == 1011

    async def test_a_websocket_exception_says_the_code(self, nursery, poller):
        ends = Ends()
        server = await serve(nursery, on_disconnect=ends)
        with pytest.raises(WebSocketException):
            async with open_websocket(server.urls[0], poller=poller):
                raise WebSocketException(4003, "why")
        assert await ends.first() == 4003

    async def test_an_exception_after_the_end_comes_out_as_it_is(self, nursery, poller):
        server = await serve(nursery, lambda ws: ws.close(1000))
        with pytest.raises(ValueError, match="mine"):
            async with open_websocket(server.urls[0], poller=poller) as ws:
                async for _ in ws:
                    pass
                raise ValueError("mine")

    async def test_a_stop_of_an_outer_generator_is_none_of_ours(self, nursery, poller):
        server = await serve(nursery)
        with pytest.raises(StopAsyncIteration):
            async with open_websocket(server.urls[0], poller=poller):
                raise StopAsyncIteration

    async def test_a_group_stays_a_group(self, nursery, poller):
        server = await serve(nursery)
        with pytest.raises(ExceptionGroup) as caught:
            async with open_websocket(server.urls[0], poller=poller):
                raise ExceptionGroup("mine", [ValueError(), KeyError()])
        assert caught.value.message == "mine"

    async def test_error_and_disconnect_cancellation_leave_only_the_error(self, nursery, poller):
        """A group of both, as a nursery in the block makes it when the server goes away."""
        server = await serve(nursery, lambda ws: ws.close(1000))

        async def fail_when_cancelled() -> None:
            try:
                await trio.sleep_forever()
            finally:
                raise ValueError("mine")

        with pytest.RaisesGroup(ValueError):
            async with (
                open_websocket(server.urls[0], poller=poller),
                trio.open_nursery() as inner,
            ):
                inner.start_soon(fail_when_cancelled)
                await trio.sleep_forever()

    async def test_an_error_is_not_lost_when_the_block_is_cancelled_too(self, nursery, poller):
        server = await serve(nursery)
        with trio.CancelScope() as scope, pytest.raises(ValueError, match="mine"):
            async with open_websocket(server.urls[0], poller=poller):
                scope.cancel()
                raise ValueError("mine")
        assert not scope.cancelled_caught

    async def test_what_several_tasks_were_told_is_told_once(self, nursery, poller):
        async def greet_and_close(ws: WebSocket) -> None:
            await ws.receive()
            await ws.close(4001)

        server = await serve(nursery, greet_and_close)
        for codes in (all, ()):
            with contextlib.ExitStack() as stack:
                if codes == ():
                    caught = stack.enter_context(pytest.raises(WebSocketDisconnect))
                async with (
                    open_websocket(server.urls[0], caught_close_codes=codes, poller=poller) as ws,
                    trio.open_nursery() as inner,
                ):
                    inner.start_soon(ws.receive)
                    inner.start_soon(ws.ping)
                    await ws.send("now")
        assert caught.value.code == 4001


class TestTheNursery:
    async def test_its_tasks_are_cancelled_when_the_block_ends(self, nursery, poller):
        server = await serve(nursery)
        ended = []

        async def child() -> None:
            await noted_when_cancelled(ended)

        async with open_websocket(server.urls[0], poller=poller) as ws:
            ws.nursery.start_soon(child)
            await trio.testing.wait_all_tasks_blocked()
        assert ended == [True]
        with pytest.raises(LocalProtocolError):
            _ = ws.nursery

    async def test_its_tasks_may_send(self, nursery, poller):
        server = await serve(nursery)

        async with open_websocket(server.urls[0], poller=poller) as ws:
            ws.nursery.start_soon(ws.send, "from a task")
            assert await ws.receive() == "from a task"

    async def test_error_in_task_cancels_the_block_and_closes_with_1011(self, nursery, poller):
        """An error in a task cancels the block and tells the server 1011."""
        ends = Ends()
        server = await serve(nursery, on_disconnect=ends)

        async def fail() -> None:
            raise ValueError("mine")

        with pytest.raises(ValueError, match="mine"):
            async with open_websocket(server.urls[0], poller=poller) as ws:
                ws.nursery.start_soon(fail)
                await trio.sleep_forever()
        assert await ends.first() == 1011


class TestCancellation:
    async def test_the_server_is_told_1001_and_not_waited_for(self, nursery, poller):
        ends = Ends()
        release = trio.Event()

        async def stubborn(ws: WebSocket) -> None:
            with trio.CancelScope(shield=True):
                await release.wait()

        server = await serve(nursery, stubborn, on_disconnect=ends)
        timeouts = attrs.evolve(QUICK, close_timeout=60.0)
        with trio.fail_after(5), trio.CancelScope() as scope:
            async with open_websocket(server.urls[0], timeouts=timeouts, poller=poller) as ws:
                scope.cancel()
                await trio.sleep_forever()
        assert scope.cancelled_caught
        assert (ws.close_info.code, ws.close_info.by) == (1001, "local")
        release.set()
        assert await ends.first() == 1001

    async def test_what_was_sent_before_arrives(self, nursery, poller):
        received = []

        async def collect(ws: WebSocket) -> None:
            received.extend([message async for message in ws])

        ends = Ends()
        server = await serve(nursery, collect, on_disconnect=ends)
        with trio.CancelScope() as scope:
            async with open_websocket(server.urls[0], poller=poller) as ws:
                await ws.send(b"x" * 60_000)
                await ws.send("last")
                scope.cancel()
                await trio.sleep_forever()
        assert await ends.first() == 1001
        assert received == [b"x" * 60_000, "last"]

    async def test_cancelled_while_it_closes_it_ends_at_once(self, nursery, poller):
        release = trio.Event()

        async def never_reads(ws: WebSocket) -> None:
            with trio.CancelScope(shield=True):
                await release.wait()

        server = await serve(nursery, never_reads, timeouts=attrs.evolve(QUICK, close_timeout=60.0))
        timeouts = attrs.evolve(QUICK, close_timeout=60.0)
        with trio.fail_after(5), trio.CancelScope() as scope:
            async with open_websocket(server.urls[0], timeouts=timeouts, poller=poller) as ws:

                async def cancel() -> None:
                    while ws.close_code is None:
                        await trio.sleep(0.001)
                    scope.cancel()

                nursery.start_soon(cancel)
                await ws.close(4001)
                await trio.sleep_forever()
        assert ws.close_code == 4001
        release.set()


class TestCompression:
    async def test_it_is_used_when_both_want_it(self, nursery, poller):
        server = await serve(nursery, compression=True)
        async with open_websocket(server.urls[0], compression=Compression(threshold=1), poller=poller) as ws:
            for _ in range(3):
                await ws.send("again and again " * 1000)
                assert await ws.receive() == "again and again " * 1000
            assert "permessage-deflate" in ws.headers["sec-websocket-extensions"]

    @pytest.mark.parametrize(("ours", "theirs"), [(True, None), (None, True), (False, True)])
    async def test_it_is_not_used_when_one_does_not(self, nursery, poller, ours, theirs):
        server = await serve(nursery, compression=theirs)
        async with open_websocket(server.urls[0], compression=ours, poller=poller) as ws:
            await ws.send("again and again " * 1000)
            assert await ws.receive() == "again and again " * 1000


async def test_echo_handler_is_the_tests_own(nursery):
    """Two clients of both kinds talk to one server at once."""
    server = await serve(nursery, echo)
    async with open_websocket(server.urls[0], poller=True) as one, open_websocket(server.urls[0], poller=False) as two:
        await one.send("1")
        await two.send("2")
        assert (await one.receive(), await two.receive()) == ("1", "2")
