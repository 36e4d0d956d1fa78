"""Bodies of requests arrive whole on every transport, and are bounded in bytes and time."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest
import trio
from documented.ways import PATIENCE, Way
from support.tls import contexts, tls_over

from trio_ws import URL, App, Request, Response, Server
from trio_ws.server.request_receiver import LINGER
from trio_ws.testing.http import fetch

LARGE = bytes(range(256)) * 6000


class Echo:
    """An endpoint that answers with the body."""

    max_body = len(LARGE)

    def refusal(self, request: Request) -> Response | None:
        return Response(status=401) if "authorization" not in request.headers else None

    async def answer(self, request: Request, body: bytes) -> Response:
        return Response(body=body)


def echo_app() -> App:
    app = App()
    app.services.pages.add_endpoint("/echo", Echo())
    return app


@pytest.mark.parametrize("name", ["poller", "stream", "memory", "http1", "http2"])
async def test_a_large_body_arrives_whole(name: Any) -> None:
    async with Way(name).visit(echo_app()) as visitor:
        for body in (LARGE, b"", b"x"):
            assert (await visitor.post("/echo", body, {"Authorization": "me"})).body == body
        assert (await visitor.post("/echo", LARGE + b"x", {"Authorization": "me"})).status == 413
        assert (await visitor.post("/echo", LARGE, {})).status == 401


@pytest.mark.parametrize("poller", [True, False])
async def test_a_large_body_arrives_whole_over_tls(poller: bool) -> None:
    with trio.fail_after(PATIENCE):
        async with trio.open_nursery() as nursery:
            serve = partial(echo_app().serve, "127.0.0.1", 0, poller=poller, ssl_context=contexts()[0])
            server: Server = await nursery.start(serve)
            stream = tls_over(await trio.open_tcp_stream("127.0.0.1", server.port), server=False)
            url = URL.parse(f"wss://localhost:{server.port}/echo")
            assert (await fetch(stream, url, {"Authorization": "me"}, body=LARGE)).body == LARGE
            server.shutdown()


async def test_a_body_in_many_pieces_costs_no_more_than_its_bytes() -> None:
    """Each piece is added in place; a copy of all before it for each byte would take minutes for this one."""
    async with Way("memory").visit(echo_app()) as visitor:
        stream = await visitor.open_stream()
        async with stream:
            head = (
                f"POST /echo HTTP/1.1\r\nHost: testserver\r\nAuthorization: me\r\nContent-Length: {len(LARGE)}\r\n\r\n"
            )
            await stream.send_all(head.encode())
            await stream.send_all(LARGE[:-2000])
            for position in range(len(LARGE) - 2000, len(LARGE)):
                await stream.send_all(LARGE[position : position + 1])
            received = b""
            while part := await stream.receive_some(2**20):
                received += part
        assert received.endswith(LARGE)


async def test_a_client_that_has_its_answer_is_not_waited_for(autojump_clock: Any) -> None:
    """Its end is read behind its body, also where reading had paused at the end of that."""
    begun = trio.current_time()
    async with echo_app().test_client() as client:
        assert (await client.post("/echo", LARGE, headers={"Authorization": "me"})).body == LARGE
    assert trio.current_time() - begun < LINGER
