"""Interoperation with a browser: a real Chromium opens a page of our own server and talks to it, compressed.

It visits once over each of our transports; what page and server saw is noted, and judged by the tests.
"""

from __future__ import annotations

import socket
from collections.abc import Callable
from functools import partial
from typing import Any

import attrs
import pytest
import trio
from support.chromium import with_browser
from support.handlers import QUICK, echo

from trio_ws import Compression, Request, Response, Server, Service, WebSocket
from trio_ws.connection.settings import Settings

from .cases import SIZES, text_of

PAGE = b"""<!doctype html>
<meta charset="utf-8">
<title>A page</title>
<script>
function dial(path, protocols = [], host = location.host) {
  const ws = new WebSocket(`ws://${host}${path}`, protocols);
  ws.binaryType = "arraybuffer";
  const waiting = [], arrived = [];
  ws.onmessage = (event) => waiting.length ? waiting.shift()(event.data) : arrived.push(event.data);
  ws.next = () => new Promise((resolve) => arrived.length ? resolve(arrived.shift()) : waiting.push(resolve));
  ws.opened = new Promise((resolve) => { ws.onopen = () => resolve(true); });
  ws.closed = new Promise((resolve) => {
    ws.onclose = ({code, reason, wasClean}) => resolve({code, reason, wasClean});
  });
  return ws;
}
function same(one, other) {
  const [a, b] = [new Uint8Array(one), new Uint8Array(other)];
  return a.length === b.length && a.every((byte, index) => byte === b[index]);
}
</script>
"""

ECHO_TEXTS = """async (texts) => {
  const ws = dial("/echo");
  await ws.opened;
  const echoed = [];
  for (const text of texts) { ws.send(text); echoed.push(await ws.next()); }
  ws.close(1000);
  return {extensions: ws.extensions, echoed, end: await ws.closed};
}"""
ECHO_BINARY = """async (sizes) => {
  const ws = dial("/echo");
  await ws.opened;
  const wrong = [];
  for (const size of sizes) {
    const noise = new Uint8Array(size);
    for (let at = 0; at < size; at += 65536) crypto.getRandomValues(noise.subarray(at, at + 65536));
    for (const data of [noise, new Uint8Array(size)]) {
      ws.send(data);
      if (!same(await ws.next(), data.buffer)) wrong.push(size);
    }
  }
  ws.close(1000);
  await ws.closed;
  return wrong;
}"""
PAGE_CLOSES = """async ([code, reason]) => {
  const ws = dial("/echo");
  await ws.opened;
  if (code === null) ws.close(); else ws.close(code, reason);
  return await ws.closed;
}"""
SERVER_ENDS = """async (path) => {
  const ws = dial(path);
  const messages = [];
  ws.onmessage = (event) => messages.push(event.data);
  return {end: await ws.closed, messages};
}"""
SUBPROTOCOL = """async () => {
  const ws = dial("/echo", ["one", "two"]);
  await ws.opened;
  ws.close();
  return ws.protocol;
}"""
OTHER_NAME = """async (host) => {
  const ws = dial("/echo", [], host);
  const opened = await Promise.race([ws.opened, ws.closed.then(() => false)]);
  ws.close();
  return opened;
}"""
LEAVE_OPEN = """async () => {
  window.last = dial("/echo");
  await window.last.opened;
  return window.last.readyState;
}"""

TEXTS = ["", "x", "\N{GRINNING FACE} \N{EURO SIGN}", *["again and again " * 100] * 3, *map(text_of, SIZES)]
PAGE_CLOSINGS = [(None, ""), (1000, "done"), (3000, ""), (4001, "\N{EURO SIGN}" * 41)]
SERVER_CLOSINGS = {"/normal": (1000, ""), "/own": (4002, "the server says so"), "/broken": (1011, "")}


class Site:
    """A page, and the services that it uses."""

    def __init__(self) -> None:
        self.ends: list[int] = []
        self.services = {
            "/echo": Service(handler=echo, on_disconnect=self._note, subprotocols=("three", "two")),
            "/normal": Service(handler=self._greet),
            "/own": Service(handler=lambda ws: ws.close(4002, "the server says so")),
            "/broken": Service(handler=self._break),
        }

    async def page(self, request: Request) -> Response:
        headers = {"Content-Type": "text/html; charset=utf-8"}
        return Response(headers=headers, body=PAGE) if request.path == "/" else Response(status=404)

    def route(self, request: Request) -> tuple[Request, Service]:
        return request, self.services[request.path]

    async def _note(self, _: WebSocket, code: int) -> None:
        self.ends.append(code)

    async def _greet(self, ws: WebSocket) -> None:
        await ws.send_stream(["frag", "ment", "s"])
        await ws.send("compressed " * 1000)

    async def _break(self, ws: WebSocket) -> None:
        raise ZeroDivisionError


@attrs.define
class Seen:
    """What page and server saw."""

    texts: Any = None
    wrong_sizes: Any = None
    page_closings: list[Any] = attrs.Factory(list)
    server_ends: dict[str, Any] = attrs.Factory(dict)
    subprotocol: Any = None
    by_other_name: Any = None
    left_open: Any = None
    shutdown: Any = None
    codes: list[int] = attrs.Factory(list)


def browse(running: Any, port: int, shut_down: Callable[[], None]) -> Seen:
    """Do everything that a page can do, in the thread of the browser."""
    seen = Seen()
    page = running.new_page()
    page.goto(f"http://127.0.0.1:{port}/")
    seen.texts = page.evaluate(ECHO_TEXTS, TEXTS)
    seen.wrong_sizes = page.evaluate(ECHO_BINARY, SIZES)
    seen.page_closings = [page.evaluate(PAGE_CLOSES, list(closing)) for closing in PAGE_CLOSINGS]
    seen.server_ends = {path: page.evaluate(SERVER_ENDS, path) for path in SERVER_CLOSINGS}
    seen.subprotocol = page.evaluate(SUBPROTOCOL)
    seen.by_other_name = page.evaluate(OTHER_NAME, f"localhost:{port}")
    seen.left_open = page.evaluate(LEAVE_OPEN)
    shut_down()
    seen.shutdown = page.evaluate("() => window.last.closed")
    return seen


async def observe(poller: bool) -> Seen:
    site = Site()
    compression = Compression(send_context=True, receive_context=True, threshold=0)
    settings = Settings(timeouts=QUICK, compression=compression)
    server = Server(site, settings, poller=poller)
    listener = socket.create_server(("127.0.0.1", 0))
    listener.setblocking(False)
    seen: list[Seen] = []
    with trio.fail_after(90):
        async with trio.open_nursery() as nursery:
            await nursery.start(server.serve, [listener])

            shut_down = partial(
                trio.from_thread.run_sync, server.shutdown, trio_token=trio.lowlevel.current_trio_token()
            )
            work = partial(browse, port=server.port, shut_down=shut_down)
            seen.append(await trio.to_thread.run_sync(with_browser, work))
    seen[0].codes = site.ends
    return seen[0]


@pytest.fixture(
    scope="module", params=[True, pytest.param(False, marks=pytest.mark.repetition)], ids=["poller", "stream"]
)
def seen(request):
    return trio.run(observe, request.param)


def test_text_comes_back_over_permessage_deflate(seen):
    assert seen.texts["extensions"].startswith("permessage-deflate")
    assert seen.texts["echoed"] == TEXTS
    assert seen.texts["end"] == {"code": 1000, "reason": "", "wasClean": True}


def test_binary_messages_of_all_sizes_come_back(seen):
    """Noise, which does not compress, and zeros, which compress to nothing."""
    assert seen.wrong_sizes == []


def test_the_page_s_close_is_echoed(seen):
    expected = [{"code": code or 1005, "reason": reason, "wasClean": True} for code, reason in PAGE_CLOSINGS]
    assert seen.page_closings == expected


def test_the_page_s_codes_reach_on_disconnect(seen):
    codes = [code or 1005 for code, _ in PAGE_CLOSINGS]
    begin = seen.codes.index(codes[0])
    assert seen.codes[begin : begin + len(codes)] == codes


@pytest.mark.parametrize("path", SERVER_CLOSINGS)
def test_the_server_s_close_reaches_the_page(seen, path):
    code, reason = SERVER_CLOSINGS[path]
    assert seen.server_ends[path]["end"] == {"code": code, "reason": reason, "wasClean": True}


def test_what_the_server_sends_before_it_closes_arrives(seen):
    assert seen.server_ends["/normal"]["messages"] == ["fragments", "compressed " * 1000]


def test_the_subprotocol_is_the_server_s_favourite(seen):
    assert seen.subprotocol == "two"


def test_a_page_of_127_0_0_1_may_dial_localhost(seen):
    assert seen.by_other_name is True


def test_shutdown_tells_the_page_1001(seen):
    assert seen.left_open == 1
    assert seen.shutdown == {"code": 1001, "reason": "", "wasClean": True}
