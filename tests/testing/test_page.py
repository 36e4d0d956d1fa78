"""A plain GET over a connection in memory, against servers that answer what they like."""

from __future__ import annotations

import pytest
import trio

from trio_ws import URL, ConnectError
from trio_ws.testing.http import TestResponse, fetch
from trio_ws.testing.memory_stream import MemoryStream, memory_pair

PAGE = URL.parse("http://testserver/page")


async def fetched(answer: bytes) -> TestResponse:
    """Return what is made of an answer."""
    client, server = memory_pair()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(serve, server, answer)
        return await fetch(client, PAGE, ())
    raise AssertionError("unreachable")


async def serve(stream: MemoryStream, answer: bytes) -> None:
    async with stream:
        assert (await stream.receive_some()).startswith(b"GET /page HTTP/1.1\r\nHost: testserver\r\n")
        await stream.send_all(answer)


async def test_an_answer_that_only_announces_another_is_passed_over() -> None:
    response = await fetched(b"HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 404 Not Found\r\nContent-Length: 2\r\n\r\nno")
    assert (response.status, response.body) == (404, b"no")


async def test_body_without_stated_length_ends_with_the_connection() -> None:
    """A body ends with the connection if the head does not say where."""
    assert (await fetched(b"HTTP/1.1 200 OK\r\n\r\nall of it")).text == "all of it"


@pytest.mark.parametrize("answer", [b"", b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\npart", b"SSH-2.0\r\n\r\n"])
async def test_incomplete_or_non_http_answer_is_a_connect_error(answer: bytes) -> None:
    """An answer that is not complete or no HTTP is a ConnectError."""
    with pytest.raises(ExceptionGroup) as caught:
        await fetched(answer)
    assert caught.group_contains(ConnectError, match="^handshake: incomplete response: ")


async def test_a_server_that_has_left_is_a_connect_error() -> None:
    client, server = memory_pair()
    await server.aclose()
    with pytest.raises(ConnectError, match="incomplete response"):
        await fetch(client, PAGE, ())
