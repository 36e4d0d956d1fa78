"""Serving until a signal: graceful at the first, at once at the second, and no word too many."""

from __future__ import annotations

import io
import signal
import sys
from functools import partial

import pytest
import trio

from tests.testing.responders import Routes, echo
from trio_ws import App, CloseCode, Server, WebSocket, WebSocketDisconnect, open_websocket
from trio_ws.server.signals import END_SIGNALS, get_page_url, print_line, serve_until_signalled
from trio_ws.testing.network import MemoryListener


class Served:
    """A server in memory that is run until a signal, and what it says."""

    def __init__(self, handler=echo, **service) -> None:
        self.server = Server(Routes({"/": handler}, **service))
        self.listener = MemoryListener()
        self.lines: list[str] = []

    async def run(self, *, task_status, **options) -> None:
        """Serve; started when the server is."""

        async def serve(*, task_status: trio.TaskStatus[Server]) -> None:
            async with trio.open_nursery() as nursery:
                await nursery.start(self.server.serve, [self.listener])
                self.server.urls = ("ws://here",)
                task_status.started(self.server)
                started()

        started = task_status.started
        await serve_until_signalled(serve, report=self.lines.append, **options)

    def connect(self):
        return open_websocket("ws://test/", stream=self.listener.connect(), when_peer_leaves="finish")


@pytest.mark.parametrize(
    ("urls", "path", "page"),
    [
        (["ws://127.0.0.1:8000"], "/", "http://localhost:8000"),
        (["ws://[::1]:8000"], "/chat", "http://localhost:8000/chat"),
        (["ws+unix:///run/app", "wss://0.0.0.0:443"], "/", "https://localhost:443"),
        (["ws://[::]:80"], "/", "http://localhost:80"),
        (["ws://10.0.0.7:80"], "/", "http://10.0.0.7:80"),
        (["ws://[fe80::1]:80"], "/", "http://[fe80::1]:80"),
        (["ws+unix:///run/app:80", "<a listener:1>"], "/", None),
        (["ws://127.0.0.1:8000"], None, None),
    ],
)
def test_page_url_is_the_one_to_open_on_this_machine(urls, path, page) -> None:
    assert get_page_url(urls, path) == page


async def test_server_with_pages_prints_the_url_to_open(tmp_path) -> None:
    app = App()
    app.page("/about/", lambda request: "about")
    app.page("/now", lambda request: "now")
    lines: list[str] = []

    def started(line: str) -> None:
        lines.append(line)
        if line.startswith("open"):
            signal.raise_signal(signal.SIGTERM)

    await serve_until_signalled(partial(app.serve, "127.0.0.1", 0), report=started)
    url = lines[0].removeprefix("listening on ws://127.0.0.1:")
    assert lines[1] == f"open http://localhost:{url}/now"


async def stubborn(websocket: WebSocket) -> None:
    await trio.sleep_forever()


@pytest.fixture
def hangup(request):
    """What SIGHUP does at the start, whoever started the tests."""
    before = signal.signal(signal.SIGHUP, request.param)
    yield request.param
    signal.signal(signal.SIGHUP, before)


@pytest.mark.parametrize("hangup", [signal.SIG_DFL], indirect=True)
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
async def test_signal_closes_all_with_1001_and_ends_without_error(autojump_clock, number, hangup) -> None:
    """A signal sends everyone off with 1001 and ends without an error."""
    served = Served()
    async with trio.open_nursery() as nursery:
        await nursery.start(served.run)
        async with served.connect() as ws, served.connect() as other:
            signal.raise_signal(number)
            for each in (ws, other):
                with pytest.raises(WebSocketDisconnect, match="1001"):
                    await each.receive()
    assert served.lines == ["listening on ws://here", "shutting down: 2 connections"]


async def test_a_second_signal_cancels_the_handlers_at_once(autojump_clock) -> None:
    served = Served(stubborn, when_peer_leaves="finish")
    async with trio.open_nursery() as nursery:
        await nursery.start(served.run)
        async with served.connect():
            signal.raise_signal(signal.SIGINT)
            began = trio.current_time()
            await trio.sleep(1)
            signal.raise_signal(signal.SIGTERM)
    assert trio.current_time() - began < 2
    assert served.lines[1:] == ["shutting down: 1 connection", "ended by SIGTERM"]


async def test_without_a_second_signal_handlers_have_their_grace(autojump_clock) -> None:
    served = Served(stubborn, when_peer_leaves="finish")
    async with trio.open_nursery() as nursery:
        await nursery.start(served.run)
        async with served.connect():
            signal.raise_signal(signal.SIGINT)
            began = trio.current_time()
    assert trio.current_time() - began == pytest.approx(10, abs=0.1)


async def test_another_signal_may_mean_another_close_code(autojump_clock) -> None:
    served = Served()
    close_codes = {**END_SIGNALS, signal.SIGUSR1: CloseCode.SERVICE_RESTART}
    async with trio.open_nursery() as nursery:
        await nursery.start(partial(served.run, close_codes=close_codes))
        async with served.connect() as ws:
            signal.raise_signal(signal.SIGUSR1)
            with pytest.raises(WebSocketDisconnect, match="1012"):
                await ws.receive()


@pytest.mark.parametrize("hangup", [signal.SIG_IGN, print], ids=["nohup", "handler"], indirect=True)
async def test_sighup_handler_of_others_is_left_in_place(autojump_clock, hangup) -> None:
    """The end of the terminal is left to who wants something of it."""
    served = Served()
    async with trio.open_nursery() as nursery:
        await nursery.start(served.run)
        assert signal.getsignal(signal.SIGHUP) is hangup
        signal.raise_signal(signal.SIGTERM)


async def test_a_signal_before_the_server_listens_ends_it(autojump_clock) -> None:
    lines = []

    async def slow_start(*, task_status) -> None:
        await trio.sleep(1)
        signal.raise_signal(signal.SIGTERM)
        await trio.sleep_forever()

    await serve_until_signalled(slow_start, report=lines.append)
    assert lines == ["ended by SIGTERM"]


async def test_an_error_of_the_serving_is_raised_as_it_is() -> None:
    async def fail(*, task_status) -> None:
        raise OSError("no such address")

    with pytest.raises(OSError, match="no such address"):
        await serve_until_signalled(fail)


async def test_a_server_that_ends_by_itself_ends_the_running(autojump_clock, capsys) -> None:
    server = Server(Routes())
    server.shutdown()
    await serve_until_signalled(partial(server.serve, [MemoryListener()]))
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.startswith("listening on <")


async def test_after_the_end_signals_mean_what_they_meant_before(autojump_clock) -> None:
    async def serve(*, task_status) -> None:
        await trio.sleep(1)

    before = signal.getsignal(signal.SIGTERM)
    await serve_until_signalled(serve)
    assert signal.getsignal(signal.SIGTERM) is before


class Unread(io.StringIO):
    """A pipe whose reader has ended."""

    def flush(self) -> None:
        raise BrokenPipeError


def test_a_log_that_nobody_reads_any_more_is_no_reason_to_end(monkeypatch) -> None:
    unread = Unread()
    monkeypatch.setattr(sys, "stderr", unread)
    print_line("hello")
    assert unread.getvalue() == "hello\n"


def test_where_there_is_no_standard_error_nothing_is_written(monkeypatch, capsys) -> None:
    monkeypatch.setattr(sys, "stderr", None)
    print_line("hello")
    assert capsys.readouterr().out == ""
