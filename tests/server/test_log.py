"""Records about connections: which there are, what they say, and the fields that a machine reads."""

from __future__ import annotations

import ast
import contextlib
import json
import logging
import re
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
import trio
from support.endings import code_of, end_of, refusal_of
from support.handlers import app_of, echo, serve, stall, until_gone
from support.tls import contexts

from tests.testing.responders import Routes
from trio_ws import (
    App,
    ConnectionRejected,
    Depends,
    Instrument,
    LocalProtocolError,
    Server,
    Sessions,
    Timeouts,
    WebSocket,
    open_websocket,
)
from trio_ws.connection.flow import FlowControl
from trio_ws.connection.keepalive import Keepalive
from trio_ws.connection.reader import MessageReader
from trio_ws.runtime.log import MOST_SHOWN, ConnectionLog, escaped, format_address
from trio_ws.testing import TestClient
from trio_ws.testing.network import MemoryListener

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "seeing.md").read_text(encoding="utf-8")
BASIC = ["connection_id", "path", "peer"]
PATIENCE = 20.0


class Keeper(logging.Handler):
    """Keeps records."""

    def __init__(self) -> None:
        super().__init__()
        self.records: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)


@pytest.fixture
def records() -> Iterator[list[logging.LogRecord]]:
    """What the library records, from DEBUG on."""
    logger, keeper = logging.getLogger("trio_ws"), Keeper()
    logger.addHandler(keeper)
    level = logger.level
    logger.setLevel(logging.DEBUG)
    yield keeper.records
    logger.setLevel(level)
    logger.removeHandler(keeper)


def fields(record: logging.LogRecord) -> dict[str, Any]:
    """Return what a record has beside what every record has."""
    known = logging.makeLogRecord({}).__dict__.keys() | {"message", "asctime"}
    return {name: value for name, value in record.__dict__.items() if name not in known}


async def visit(server: Server, path: str = "/chat/42?token=secret", **options: Any) -> None:
    """Connect, exchange a message, and leave."""
    async with open_websocket(server.urls[0] + path, caught_close_codes=all, **options) as ws:
        await ws.send("hello")
        await ws.receive()
    await until_gone(server)


class TestAnOrdinaryConnection:
    @pytest.mark.parametrize("poller", [True, False], ids=["poller", "stream"])
    async def test_it_has_two_records_at_debug(self, nursery, records, poller):
        server = await serve(nursery, poller=poller)
        await visit(server)
        opened, closed = records
        assert [record.levelname for record in records] == ["DEBUG", "DEBUG"]
        own = fields(opened)
        assert own.pop("peer").startswith("127.0.0.1:")
        assert own == {"connection_id": 1, "path": "/chat/42"}
        assert opened.getMessage() == f"/chat/42 #1 from {opened.peer} is open"
        told = fields(closed)
        assert told.pop("seconds") >= 0
        assert told == {
            "connection_id": 1,
            "path": "/chat/42",
            "peer": opened.peer,
            "code": 1000,
            "reason": "",
            "closed_by": "peer",
            "messages_received": 1,
            "messages_sent": 1,
        }
        assert closed.getMessage().startswith(f"/chat/42 #1 from {opened.peer} closed after ")
        assert closed.getMessage().endswith(" s with 1000, reason '', by peer")

    async def test_its_duration_is_in_seconds(self, nursery, records, autojump_clock):
        listener = MemoryListener()
        server = await serve(nursery, listeners=[listener])
        await trio.sleep(10)
        async with open_websocket("ws://here/", stream=listener.connect()):
            await trio.sleep(2.5)
        await until_gone(server)
        closed = records[-1]
        assert fields(closed)["seconds"] == pytest.approx(2.5, abs=0.1)
        assert " closed after 2.5" in closed.getMessage()

    async def test_it_is_silent_at_info(self, nursery, caplog):
        caplog.set_level(logging.INFO, "trio_ws")
        await visit(await serve(nursery))
        assert caplog.records == []

    async def test_records_say_where_in_the_library_they_come_from(self, nursery, records):
        await visit(await serve(nursery))
        assert {record.filename for record in records} == {"runner.py", "close_record.py"}

    async def test_numbers_tell_connections_apart_and_handlers_know_them(self, nursery, records):
        numbers = []

        async def handler(ws: WebSocket) -> None:
            numbers.append(ws.number)
            await echo(ws)

        server = await serve(nursery, handler)
        for _ in range(2):
            await visit(server)
        assert numbers == [1, 2]
        assert [record.connection_id for record in records] == [1, 1, 2, 2]

    async def test_a_client_has_no_number(self, nursery):
        server = await serve(nursery)
        async with open_websocket(server.urls[0]) as ws:
            assert ws.number == 0


async def fail(*_: object) -> None:
    raise ZeroDivisionError


class TestEveryRecord:
    """Each record that the documentation lists, with its level and its fields."""

    async def told(self, records, level, message, *more):
        """Return the one record of a kind."""
        (record,) = [each for each in records if each.msg == message]
        assert record.levelname == level
        assert list(fields(record)) == [*BASIC, *more]
        assert record.path in record.getMessage()
        assert f"#{record.connection_id} from {record.peer}" in record.getMessage()
        assert "secret" not in record.getMessage() + repr(fields(record))
        assert (record.exc_info is not None) == (level == "ERROR")
        return record

    @pytest.mark.parametrize("poller", [True, False], ids=["poller", "stream"])
    async def test_a_client_that_does_not_speak_tls(self, nursery, records, poller):
        server = await serve(nursery, poller=poller, ssl_context=contexts()[0])
        async with await trio.open_tcp_stream("127.0.0.1", server.port) as stream:
            await stream.send_all(b"GET /x?token=secret HTTP/1.1\r\n\r\n")
            await until_gone(server)
        await self.told(
            records, "INFO", "%s: TLS failed: %s: the client speaks ws:// where wss:// is meant", "tls_error"
        )

    @pytest.mark.parametrize("poller", [True, False], ids=["poller", "stream"])
    async def test_a_client_whose_tls_is_none(self, nursery, records, poller):
        server = await serve(nursery, poller=poller, ssl_context=contexts()[0])
        async with await trio.open_tcp_stream("127.0.0.1", server.port) as stream:
            await stream.send_all(bytes(100))
            await until_gone(server)
        await self.told(records, "DEBUG", "%s: TLS failed: %s", "tls_error")

    async def test_a_handshake_that_breaks_a_rule(self, nursery, records):
        server = await serve(nursery)
        with pytest.raises(ConnectionRejected):
            await visit(server, origin="https://example.org")
        await until_gone(server)
        record = await self.told(records, "INFO", "%s refused with %d: %s", "status")
        assert record.status == 403

    async def test_a_connection_that_is_no_http_at_all(self, nursery, records):
        server = await serve(nursery)
        async with await trio.open_tcp_stream("127.0.0.1", server.port) as stream:
            await stream.send_all(b"\x16\x03\x01\r\n\r\n")
            await stream.receive_some(100)
        record = await self.told(records, "INFO", "%s refused with %d: %s", "status")
        assert (record.status, record.path) == (400, "")
        assert record.getMessage().startswith("#1 from 127.0.0.1:")

    async def test_what_a_route_a_guard_or_a_handler_refuses_and_pages(self, nursery, records):
        server = await serve(nursery, lambda ws: ws.reject(418), auto_accept=False)
        with pytest.raises(ConnectionRejected):
            await visit(server)
        await until_gone(server)
        record = await self.told(records, "DEBUG", "%s answered with %d", "status")
        assert record.status == 418
        assert len(records) == 1

    async def test_a_page(self, records):
        from trio_ws import App

        app = App()
        app.page("/", lambda request: "hello")
        async with app.test_client() as client:
            await client.get("/?token=secret")
            await client.get("/nothing")
        assert [(record.msg, record.status, record.path) for record in records] == [
            ("%s answered with %d", 200, "/"),
            ("%s answered with %d", 404, "/nothing"),
        ]

    async def test_a_path_without_a_route(self, records):
        from trio_ws import App

        async with App().test_client() as client:
            await refusal_of(client, "/nowhere?token=secret")
        record = await self.told(records, "DEBUG", "%s answered with %d", "status")
        assert (record.status, record.path) == (403, "/nowhere")

    async def test_an_end_that_the_handler_did_not_expect(self, nursery, records):
        server = await serve(nursery)
        async with open_websocket(server.urls[0] + "/x?token=secret") as ws:
            await ws.close(4000, "evil\n\x1b[31m")
        await until_gone(server)
        record = await self.told(records, "INFO", "%s: closed with %d, reason '%s'", "code", "reason")
        assert (record.code, record.reason) == (4000, "evil\\n\\x1b[31m")
        assert record.getMessage().endswith("closed with 4000, reason 'evil\\n\\x1b[31m'")
        assert records[-1].reason == record.reason

    async def test_a_restart_is_no_news_of_each_connection(self, nursery, records):
        server = await serve(nursery)
        async with open_websocket(server.urls[0], when_peer_leaves="finish") as ws:
            await ws.send("x")
            await ws.receive()
            server.shutdown(1012)
            assert await code_of(ws) == 1012
        await until_gone(server)
        assert [each.levelname for each in records] == ["DEBUG", "DEBUG"]
        assert (records[1].code, records[1].closed_by) == (1012, "local")

    async def test_an_answer_that_comes_too_late(self, autojump_clock, records):
        async with TestClient(Routes({"/x": stall}, auto_accept=False), timeout=60) as client:
            await refusal_of(client, "/x?token=secret")
        record = await self.told(records, "WARNING", "%s got no answer within open_timeout: refused with 503", "status")
        assert record.status == 503
        assert records[-1].status == 503

    async def test_a_handler_that_gives_no_answer(self, nursery, records):
        async def nothing(ws: WebSocket) -> None:
            pass

        server = await serve(nursery, nothing, auto_accept=False)
        with pytest.raises(ConnectionRejected):
            await visit(server)
        message = "handler of %s returned without accept() or reject(): rejected with 403"
        await self.told(records, "WARNING", message, "status")

    async def test_a_farewell_that_takes_too_long(self, autojump_clock, records):
        async with TestClient(Routes({"/x": echo}, on_disconnect=lambda ws, _: stall(ws)), timeout=60) as client:
            async with client.websocket_connect("/x?token=secret"):
                pass
        message = "on_disconnect of %s took longer than cleanup_timeout, %g s: it was cancelled"
        await self.told(records, "WARNING", message)

    async def test_an_on_error_that_takes_too_long(self, autojump_clock, records):
        routes = Routes({"/x": fail}, on_error=lambda ws, _: stall(ws))
        async with TestClient(routes, timeout=60, raise_server_errors=False) as client:
            async with client.websocket_connect("/x?token=secret", caught_close_codes=all) as ws:
                assert [message async for message in ws] == []
        message = "on_error of %s took longer than cleanup_timeout, %g s: it was cancelled"
        await self.told(records, "WARNING", message)

    async def test_a_clean_up_that_takes_too_long(self, autojump_clock, records):
        async def linger() -> AsyncIterator[None]:
            yield
            await trio.sleep_forever()

        async def view(ws: WebSocket, _: None = Depends(linger)) -> None:
            pass

        app = App()
        app.websocket("/x")(view)
        async with app.test_client(timeout=60) as client:
            async with client.websocket_connect("/x?token=secret") as ws:
                assert [message async for message in ws] == []
        message = "clean-up in %s took longer than cleanup_timeout, %g s: it was cancelled"
        await self.told(records, "WARNING", message)

    async def test_a_handler_that_is_cut_off(self, autojump_clock, records):
        async def work(ws: WebSocket) -> None:
            await ws.receive()
            await trio.sleep_forever()

        async with TestClient(Routes({"/x": work}), timeout=60) as client:
            async with client.websocket_connect("/x?token=secret") as ws:
                await ws.send("a")
        message = "handler of %s was at work on a message: cut off %.3f s after its peer left, by when_peer_leaves=%r"
        record = await self.told(records, "INFO", message, "when_peer_leaves")
        assert record.when_peer_leaves == "drain"

    async def test_errors_of_the_application(self, nursery, records):
        def code_of(error: BaseException) -> None:
            raise KeyError

        server = await serve(nursery, fail, on_error=fail, close_code_of=code_of)
        await visit(server)
        for message, kind in {
            "error in the handler of %s": ZeroDivisionError,
            "error in on_error of %s": ZeroDivisionError,
            "error in close_code_of for %s": KeyError,
        }.items():
            record = await self.told(records, "ERROR", message)
            assert record.exc_info[0] is kind

    async def test_an_error_of_a_warning_before_the_end(self, autojump_clock, records):
        async def expire(ws: WebSocket) -> None:
            ws.expires_at(time.time() + 60, warn_before=20, on_expiring=fail)
            await ws.receive()

        async with TestClient(Routes({"/x": expire}), timeout=120) as client:
            async with client.websocket_connect("/x?token=secret", caught_close_codes=all) as ws:
                assert [message async for message in ws] == []
        await self.told(records, "ERROR", "error in on_expiring of %s")

    async def test_errors_that_would_be_lost(self, records):
        async def swallow():
            with contextlib.suppress(KeyError):
                yield

        async def view(ws: WebSocket, error: str = "KeyError", swallowed: Any = Depends(swallow)) -> None:
            cart = ws.session.setdefault("cart", [])
            await ws.accept()
            if error == "KeyError":
                raise KeyError
            cart.append(1)
            raise ZeroDivisionError

        app = app_of(view, "/x", App(sessions=Sessions(secret_key="k" * 32)), auto_accept=False)
        async with app.test_client(raise_server_errors=False) as client:
            for error in ("KeyError", "ZeroDivisionError"):
                async with client.websocket_connect(f"/x?token=secret&error={error}") as ws:
                    await ws.recv()
        record = await self.told(records, "ERROR", "%s: a dependency swallowed an error of the handler's")
        assert record.exc_info[0] is KeyError
        record = await self.told(records, "ERROR", "%s: session changed after the answer")
        assert record.exc_info[0] is LocalProtocolError

    async def test_an_error_of_the_responder(self, records):
        class Broken(Routes):
            def route(self, request):
                raise ZeroDivisionError

        async with TestClient(Broken(), raise_server_errors=False) as client:
            await refusal_of(client, "/x?token=secret")
        await self.told(records, "ERROR", "error in the responder for %s")

    @pytest.mark.parametrize("poller", [True, False], ids=["poller", "stream"])
    async def test_an_error_in_the_library(self, nursery, records, poller, monkeypatch):
        def broken(self: MessageReader, data: object, now: float) -> None:
            raise ZeroDivisionError

        server = await serve(nursery, poller=poller)
        async with open_websocket(server.urls[0] + "/x?token=secret", caught_close_codes=all) as ws:
            with monkeypatch.context() as patch:
                patch.setattr(MessageReader, "data_received", broken)
                await ws.send("hello")
                await until_gone(server)
        await self.told(records, "ERROR", "unexpected error in connection %s, closing it")

    async def test_an_error_in_the_library_on_the_side_of_a_client(self, nursery, records, monkeypatch):
        async def greet(ws: WebSocket) -> None:
            await ws.receive()
            with monkeypatch.context() as patch:
                patch.setattr(MessageReader, "data_received", fail_at_once)
                await ws.send("hello")
                await end_of(client)

        def fail_at_once(self: MessageReader, data: object, now: float) -> None:
            raise ZeroDivisionError

        server = await serve(nursery, greet)
        async with open_websocket(f"{server.urls[0]}/x?token=secret", caught_close_codes=all) as client:
            await client.send("go")
            await until_gone(server)
        (record,) = [each for each in records if each.levelname == "ERROR"]
        assert fields(record) == {"connection_id": 0, "path": "/x", "peer": f"127.0.0.1:{server.port}"}

    @pytest.mark.parametrize("watch", [Keepalive, FlowControl])
    async def test_an_error_at_a_deadline(self, nursery, records, watch, monkeypatch):
        def broken(self: object) -> None:
            raise ZeroDivisionError

        async def greet(ws: WebSocket) -> None:
            await ws.send("hello")
            if watch is FlowControl:
                ws.context.channel.closing.timers.call_later(0, ws.context.channel.writer.flow.check)
            await ws.receive()

        monkeypatch.setattr(watch, "fire" if watch is Keepalive else "check", broken)
        server = await serve(nursery, greet, timeouts=Timeouts(ping_interval=0.01))
        silent = Timeouts(ping_interval=None)
        async with open_websocket(f"{server.urls[0]}/x?token=secret", timeouts=silent, caught_close_codes=all) as ws:
            await ws.receive()
            with trio.fail_after(PATIENCE):
                while not any(record.levelname == "ERROR" for record in records):
                    await trio.sleep(0.001)
        await self.told(records, "ERROR", "unexpected error in a timer of connection %s")

    async def test_an_instrument_that_fails(self, nursery, records):
        class Bad(Instrument):
            def connection_opened(self, websocket: WebSocket) -> None:
                raise ZeroDivisionError

        server = await serve(nursery, instruments=[Bad()])
        await visit(server)
        await self.told(records, "ERROR", "%s: %s of instrument %r failed, instrument disabled")


class TestDocumentation:
    """docs/seeing.md lists what there is."""

    def listed(self) -> dict[tuple[str, str], list[str]]:
        rows = re.findall(r"^\| (DEBUG|INFO|WARNING|ERROR) \| `(.+?)` \|(.*)\|$", PAGE, re.MULTILINE)
        return {(level, message): re.findall(r"`(\w+)`", more) for level, message, more in rows}

    def in_source(self) -> set[tuple[str, str]]:
        levels = {"debug": "DEBUG", "info": "INFO", "warning": "WARNING", "error": "ERROR", "exception": "ERROR"}
        found = set()
        sources = [path.read_text(encoding="utf-8") for path in (ROOT / "trio_ws").rglob("*.py")]
        for source in filter(re.compile(rf"\.({'|'.join(levels)})\(").search, sources):  # to parse all takes a second
            for node in ast.walk(ast.parse(source)):
                match node:
                    case ast.Call(ast.Attribute(value, level), [ast.Constant(str(message)), *_]) if level in levels:
                        if not (isinstance(value, ast.Name) and value.id == "logger"):
                            found.add((levels[level], message))
        return found

    @pytest.mark.slow
    def test_it_lists_every_record_about_a_connection(self):
        assert self.in_source() == self.listed().keys()

    def test_it_lists_the_fields_of_each(self):
        """As `TestEveryRecord` finds them."""
        files = (Path(__file__), Path(__file__).with_name("test_refusals.py"), ROOT / "tests/app/test_mistakes.py")
        source = "".join(path.read_text(encoding="utf-8") for path in files)
        for (_, message), more in self.listed().items():
            assert message in source or "closed after" in message or "is open" in message
            assert all(f'"{name}"' in source for name in more)

    async def test_its_formatter_writes_json(self, nursery, records, monkeypatch):
        monkeypatch.setattr(logging, "basicConfig", lambda level, handlers: None)
        made: dict[str, Any] = {}
        (program,) = re.findall(r"^```python\n(# as_json.py\n.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
        exec(program, made)
        logger = logging.getLogger("trio_ws")
        monkeypatch.setattr(made["handler"], "stream", lines := Lines())
        logger.addHandler(made["handler"])
        try:
            server = await serve(nursery, fail)
            async with open_websocket(f"{server.urls[0]}/chat/42", caught_close_codes=all):
                pass
            await until_gone(server)
        finally:
            logger.removeHandler(made["handler"])
        written = [json.loads(line) for line in lines.text.splitlines()]
        failed = next(line for line in written if line["level"] == "ERROR")
        assert (failed["connection_id"], failed["path"]) == (1, "/chat/42")
        assert "ZeroDivisionError" in failed["error"]


class Lines:
    text = ""

    def write(self, text: str) -> None:
        self.text += text

    def flush(self) -> None:
        pass


@pytest.mark.parametrize(
    ("address", "shown"),
    [
        (("127.0.0.1", 80), "127.0.0.1:80"),
        (("::1", 80), "[::1]:80"),
        (("192.0.2.1", 0), "192.0.2.1"),
        ("/run/a\nb", "/run/a\\nb"),
        ("", "unknown"),
        (None, "unknown"),
    ],
)
def test_addresses_are_written_as_people_do(address: Any, shown: str) -> None:
    assert format_address(address) == shown


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("/plain", "/plain"),
        ("/\u00fc\x00\n", "/\\xfc\\x00\\n"),
        ("/'\"", "/\\'\""),
        ("x" * 500, "x" * MOST_SHOWN + "..."),
    ],
)
def test_text_of_a_peer_is_escaped_and_cut(text: str, shown: str) -> None:
    assert escaped(text) == shown


def test_a_record_costs_nothing_where_nobody_listens(caplog: pytest.LogCaptureFixture) -> None:
    class Untold(ConnectionLog):
        def fields(self) -> dict[str, Any]:
            raise AssertionError

    caplog.set_level(logging.INFO, "trio_ws")
    Untold(1, None).debug("%s is open")
    assert caplog.records == []
