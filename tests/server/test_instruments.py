"""Instruments: what they are told, in which order, and that they can hurt nobody."""

from __future__ import annotations

import contextvars
import gc
from types import SimpleNamespace
from typing import Any

import pytest
import trio
from support.endings import end_of, refusal_of
from support.handlers import app_of, echo, serve, stall, until_gone

from tests.testing.responders import Routes
from trio_ws import (
    App,
    CloseInfo,
    Instrument,
    Timeouts,
    WebSocket,
    WebSocketDisconnect,
    broadcast,
    open_websocket,
)
from trio_ws.app import BlockingWebSocket
from trio_ws.connection.connection import Connection
from trio_ws.connection.instrumented import InstrumentedReader, InstrumentedWriter
from trio_ws.connection.reader import MessageReader
from trio_ws.handler.instruments import HOOKS, Instruments, instruments_of
from trio_ws.handler.runner import HandlerRunner
from trio_ws.testing import TestClient

PATIENCE = 20.0


class Everything(Instrument):
    """Notes whatever it is told."""

    def __init__(self) -> None:
        self.told: list[tuple[Any, ...]] = []

    def connection_opened(self, websocket: WebSocket) -> None:
        self.told.append(("opened", websocket.accepted, websocket.url.path))

    def handshake_answered(self, websocket: WebSocket, status: int) -> None:
        self.told.append(("answered", status))

    def message_received(self, websocket: WebSocket, message: Any) -> None:
        self.told.append(("received", message))

    def message_sent(self, websocket: WebSocket, message: Any) -> None:
        self.told.append(("sent", message))

    def handler_failed(self, websocket: WebSocket, error: BaseException) -> None:
        self.told.append(("failed", type(error)))

    def connection_closed(self, websocket: WebSocket, close_info: CloseInfo | None) -> None:
        self.told.append(("closed", None if close_info is None else close_info.code))


OPENED = ("opened", False, "/echo")
BOUNDS = [OPENED, ("answered", 101)]


def serving(handler: Any, *instruments: Instrument, **options: Any) -> TestClient:
    return TestClient(Routes({"/echo": handler}, instruments=instruments, **options), raise_server_errors=False)


@pytest.mark.parametrize("observed", [True, False])
async def test_pings_and_pongs_pass_with_and_without_instruments(observed: bool) -> None:
    arrived = []

    async def handler(ws: WebSocket) -> None:
        await ws.receive()
        await ws.pong(b"unasked")
        arrived.append(await ws.ping(b"asked") >= 0)
        await ws.send("after")

    async with serving(handler, *[Everything()][:observed]) as client, client.websocket_connect("/echo") as ws:
        reader = ws.context.channel.reader
        pongs = []
        ws.context.channel.closing.pings = SimpleNamespace(answer=pongs.append, wake=lambda: False)
        await ws.send("begin")
        assert await ws.receive() == "after"
    assert arrived == [True]
    assert pongs == [b"unasked"]
    assert reader.received == 1


class TestWhatTheyAreTold:
    async def test_a_connection_from_its_beginning_to_its_end(self):
        heard = Everything()
        async with serving(echo, heard) as client:
            async with client.websocket_connect("/echo") as ws:
                for message in ("text", b"bytes", ""):
                    await ws.send(message)
                    await ws.receive()
        pairs = [(what, message) for message in ("text", b"bytes", "") for what in ("received", "sent")]
        assert heard.told == [*BOUNDS, *pairs, ("closed", 1000)]

    async def test_several_in_their_order_and_each_only_what_it_overrides(self):
        order = []

        class First(Instrument):
            def connection_opened(self, websocket: WebSocket) -> None:
                order.append("first")

        class Second(First):
            def connection_opened(self, websocket: WebSocket) -> None:
                order.append("second")

        async with serving(echo, First(), Second(), First()) as client:
            async with client.websocket_connect("/echo") as ws:
                assert await ws.ping() >= 0
        assert order == ["first", "second", "first"]

    async def test_refusals_with_their_status_and_no_close(self):
        heard = Everything()

        async with serving(lambda ws: ws.reject(418), heard, auto_accept=False) as client:
            await refusal_of(client, "/echo")
        assert heard.told == [OPENED, ("answered", 418), ("closed", None)]

    async def test_a_guard_of_an_application(self):
        heard = Everything()
        app = App(instruments=[heard], guards=[lambda: False])
        app.websocket("/echo")(echo)
        await refusal_of(app, "/echo")
        assert heard.told == [OPENED, ("answered", 403), ("closed", None)]

    async def test_a_refusal_that_is_the_server_s(self, autojump_clock):
        heard = Everything()

        client = TestClient(Routes({"/echo": stall}, instruments=[heard], auto_accept=False), timeout=60)
        async with client:
            await refusal_of(client, "/echo")
        assert heard.told == [OPENED, ("answered", 503), ("closed", None)]

    async def test_a_client_that_leaves_before_the_answer(self, nursery):
        heard = Everything()

        server = await serve(nursery, stall, auto_accept=False, instruments=[heard])
        with trio.move_on_after(PATIENCE):
            async with trio.open_nursery() as connecting:
                connecting.start_soon(lambda: open_websocket(f"{server.urls[0]}/echo").__aenter__())
                while not heard.told:
                    await trio.sleep(0.001)
                connecting.cancel_scope.cancel()
            while len(heard.told) < 2:
                await trio.sleep(0.001)
        assert heard.told == [OPENED, ("closed", None)]

    async def test_errors_that_nobody_foresaw(self):
        heard = Everything()

        async def fail(ws: WebSocket) -> None:
            raise ZeroDivisionError

        async with serving(fail, heard) as client:
            with pytest.raises(WebSocketDisconnect):
                async with client.websocket_connect("/echo") as ws:
                    await ws.receive()
        assert heard.told == [*BOUNDS, ("failed", ZeroDivisionError), ("closed", 1011)]

    async def test_they_hear_of_the_end_after_on_disconnect(self):
        heard = Everything()

        async def gone(ws: WebSocket, code: int) -> None:
            heard.told.append(("on_disconnect", code))

        async with serving(echo, heard, on_disconnect=gone) as client:
            async with client.websocket_connect("/echo"):
                pass
        assert heard.told == [*BOUNDS, ("on_disconnect", 1000), ("closed", 1000)]

    async def test_a_server_that_is_cancelled(self, nursery):
        heard = Everything()
        async with trio.open_nursery() as inner:
            server = await serve(inner, instruments=[heard])
            async with open_websocket(f"{server.urls[0]}/echo", caught_close_codes=all) as ws:
                await ws.send("x")
                await ws.receive()
                inner.cancel_scope.cancel()
                with trio.CancelScope(shield=True):
                    await ws.receive()
        assert heard.told[-1] == ("closed", 1001)


class TestMessages:
    async def test_streams_are_told_of_at_their_end_without_their_content(self):
        heard = Everything()

        async def parts(ws: WebSocket) -> None:
            async for _ in ws.receive_stream():
                pass
            await ws.send_stream(["a", "b", "c"])

        async with serving(parts, heard) as client:
            async with client.websocket_connect("/echo") as ws:
                await ws.send_stream(["x", "y"])
                assert await ws.receive() == "abc"
        assert heard.told == [*BOUNDS, ("received", None), ("sent", None), ("closed", 1000)]

    async def test_rooms_and_broadcasts(self):
        heard = Everything()

        async def join(ws: WebSocket) -> None:
            async with app.room("r").join(ws) as room:
                await room.publish({"n": 1})
                await broadcast([ws], "to all")
                await ws.receive()

        app = app_of(join, "/echo", App(instruments=[heard]))
        async with app.test_client() as client, client.websocket_connect("/echo") as ws:
            assert [await ws.receive(), await ws.receive()] == ['{"n":1}', "to all"]
            await ws.close()
        assert [told for told in heard.told if told[0] == "sent"] == [("sent", '{"n":1}'), ("sent", "to all")]

    async def test_what_an_ended_connection_drops_was_not_sent(self):
        heard = Everything()

        async def late(ws: WebSocket) -> None:
            await ws.close()
            await broadcast([ws], "dropped")

        async with serving(late, heard) as client:
            async with client.websocket_connect("/echo"):
                pass
        assert "sent" not in [told[0] for told in heard.told]

    async def test_events_listeners_and_plain_functions(self):
        heard = Everything()
        app = App(instruments=[heard])

        @app.listener("/listener")
        def shout(data: str) -> str:
            return data.upper()

        @app.websocket("/plain")
        def plain(ws: BlockingWebSocket) -> None:
            ws.send(ws.receive())

        @app.websocket("/events")
        async def events(ws: WebSocket) -> None:
            await ws.receive_event()
            await ws.send_event({"type": "websocket.send", "text": "event"})

        async with app.test_client() as client:
            for path, reply in {"/listener": '"X"', "/plain": '"x"', "/events": "event"}.items():
                heard.told.clear()
                async with client.websocket_connect(path) as ws:
                    await ws.send('"x"')
                    assert await ws.receive() == reply
                messages = [told for told in heard.told if told[0] in ("received", "sent")]
                assert messages == [("received", '"x"'), ("sent", reply)]

    @pytest.mark.parametrize("policy", ["drain", "cancel", "finish"])
    async def test_the_disconnect_rule_holds_with_them_as_without(self, policy, nursery):
        """The rule sees whether the handler reads, through what stands between them."""
        ends = []

        async def work(ws: WebSocket) -> None:
            await ws.receive()
            await trio.sleep(0.05 if policy == "finish" else 60)
            ends.append("finished")

        timeouts = Timeouts(drain_timeout=0, ping_interval=None)
        for instruments in ([], [Everything()]):
            ends.clear()
            server = await serve(nursery, work, instruments=instruments, when_peer_leaves=policy, timeouts=timeouts)
            async with open_websocket(server.urls[0]) as ws:
                await ws.send("go")
            await until_gone(server)
            assert ("finished" in ends) == (policy == "finish")


class TestWhatTheyCost:
    async def reader_with(self, *instruments: Instrument) -> Any:
        readers = []

        async def look(ws: WebSocket) -> None:
            readers.append(type(ws.context.open_channel().reader))

        async with serving(look, *instruments) as client:
            async with client.websocket_connect("/echo"):
                pass
        return readers[0]

    async def test_handler_uses_the_connection_directly_without_instrument(self):
        """Without one nothing stands between handler and connection."""
        assert await self.reader_with() is MessageReader

    async def test_one_that_overrides_nothing_is_as_good_as_none(self):
        assert instruments_of([Instrument()]) is None

    async def test_one_that_listens_to_no_messages_is_not_on_their_way(self):
        class Ends(Instrument):
            def connection_closed(self, websocket: WebSocket, close_info: CloseInfo | None) -> None: ...

        assert await self.reader_with(Ends()) is MessageReader

    async def test_what_others_note_on_a_connection_arrives_there(self):
        """`def` handlers and listeners do so."""
        reader = SimpleNamespace(reads=False)
        wrapper = InstrumentedReader(reader, print)  # type: ignore[arg-type]
        wrapper.reads = True
        assert (wrapper.reads, reader.reads) == (True, True)

    @pytest.mark.slow
    async def test_an_ended_connection_is_free_without_a_search_for_cycles(self, nursery):
        def alive() -> list[str]:
            return [
                type(each).__name__
                for each in gc.get_objects()
                if isinstance(each, (Connection, InstrumentedReader, InstrumentedWriter, HandlerRunner))
            ]

        server = await serve(nursery, instruments=[Everything()])
        gc.collect()
        before = alive()
        gc.disable()
        try:
            async with open_websocket(server.urls[0]) as ws:
                await ws.send("x")
                await ws.receive()
                assert "InstrumentedReader" in alive()
            await until_gone(server)
            del ws
            with trio.fail_after(PATIENCE):
                while len(alive()) > len(before):
                    await trio.sleep(0.01)
        finally:
            gc.enable()


class TestThoseThatFail:
    @pytest.mark.parametrize("hook", HOOKS)
    async def test_it_is_logged_and_told_nothing_more_and_others_go_on(self, hook, caplog):
        class Bad(Everything):
            pass

        def fail(self: Bad, *_: object) -> None:
            raise ZeroDivisionError(hook)

        async def once(ws: WebSocket) -> None:
            await ws.send(await ws.receive())
            raise KeyError

        setattr(Bad, hook, fail)
        bad, good = Bad(), Everything()
        async with serving(once, bad, good) as client:
            for _ in range(2):
                async with client.websocket_connect("/echo", caught_close_codes=all) as ws:
                    await ws.send("x")
                    assert await ws.receive() == "x"
                    await end_of(ws)
                    assert ws.close_code == 1011
        errors = [record for record in caplog.records if "instrument disabled" in record.getMessage()]
        assert len(errors) == 1
        assert f": {hook} of instrument <" in errors[0].getMessage()
        assert good.told == 2 * [
            *BOUNDS,
            ("received", "x"),
            ("sent", "x"),
            ("failed", KeyError),
            ("closed", 1011),
        ]
        assert bad.told == good.told[: HOOKS.index(hook)]

    @pytest.mark.parametrize("given", [Everything(), [Everything], ["metrics"]])
    def test_what_is_none_is_a_type_error(self, given):
        with pytest.raises(TypeError, match="takes a list"):
            App(instruments=given)

    def test_an_async_method_is_a_type_error(self):
        class Later(Instrument):
            async def message_sent(self, websocket: WebSocket, message: Any) -> None: ...  # type: ignore[override]

        with pytest.raises(TypeError, match=r"Later\.message_sent is async"):
            Instruments([Later()])


async def test_context_variable_set_at_begin_holds_in_handler_tasks():
    """A context variable that is set at the beginning holds in the handler and its tasks."""
    trace: contextvars.ContextVar[str] = contextvars.ContextVar("trace", default="none")

    class Trace(Instrument):
        def connection_opened(self, websocket: WebSocket) -> None:
            trace.set(f"trace of {websocket.number}")

    async def tell(ws: WebSocket) -> None:
        await ws.send(trace.get())

    async def handler(ws: WebSocket) -> None:
        await tell(ws)
        ws.nursery.start_soon(tell, ws)
        await ws.receive()

    async with serving(handler, Trace()) as client:
        for number in (1, 2):
            async with client.websocket_connect("/echo") as ws:
                assert [await ws.receive(), await ws.receive()] == 2 * [f"trace of {number}"]
                await ws.send("enough")
    assert trace.get() == "none"
