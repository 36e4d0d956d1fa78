"""Bad opening handshakes: each is answered as RFC 6455 4.2 and design 3.1 say, and ends its own connection only."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import product

import pytest
import trio

from hostile.arena import Arena, Arenas, until
from hostile.attacker import KEY, Answer, close_frame, request
from trio_ws import Limits, WebSocket

SMALL = Limits(max_request_line=100, max_header_size=150, max_head_size=500, max_headers=20)

BAD: dict[str, tuple[int, bytes]] = {
    "Host missing": (400, request(without=["Host"])),
    "Host twice": (400, request(("Host", "localhost"))),
    "Host with a path": (400, request(("Host", "a/b"), without=["Host"])),
    "Host with user": (400, request(("Host", "u:p@a"), without=["Host"])),
    "Host with bad port": (400, request(("Host", "a:99999"), without=["Host"])),
    "Host with half brackets": (400, request(("Host", "[::1"), without=["Host"])),
    "Key missing": (400, request(without=["Sec-WebSocket-Key"])),
    "Key twice": (400, request(("Sec-WebSocket-Key", KEY))),
    "Key empty": (400, request(("Sec-WebSocket-Key", ""), without=["Sec-WebSocket-Key"])),
    "Key too short": (400, request(("Sec-WebSocket-Key", "c2hvcnQ="), without=["Sec-WebSocket-Key"])),
    "Key too long": (400, request(("Sec-WebSocket-Key", KEY * 2), without=["Sec-WebSocket-Key"])),
    "Key not base64": (400, request(("Sec-WebSocket-Key", "!" * 22 + "=="), without=["Sec-WebSocket-Key"])),
    "Version missing": (400, request(without=["Sec-WebSocket-Version"])),
    "Version twice": (400, request(("Sec-WebSocket-Version", "13"))),
    "Version 8": (426, request(("Sec-WebSocket-Version", "8"), without=["Sec-WebSocket-Version"])),
    "Version a list": (426, request(("Sec-WebSocket-Version", "13, 8"), without=["Sec-WebSocket-Version"])),
    "Version no number": (426, request(("Sec-WebSocket-Version", "x"), without=["Sec-WebSocket-Version"])),
    "Connection missing": (400, request(without=["Connection"])),
    "Connection bad": (400, request(("Connection", "keep-alive"), without=["Connection"])),
    "Connection half a token": (400, request(("Connection", "Upgrades"), without=["Connection"])),
    "Upgrade missing": (400, request(without=["Upgrade"])),
    "Upgrade bad": (400, request(("Upgrade", "h2c"), without=["Upgrade"])),
    "Upgrade half a token": (400, request(("Upgrade", "websockets"), without=["Upgrade"])),
    "Protocol no token": (400, request(("Sec-WebSocket-Protocol", "two words"))),
    "Protocol repeated": (400, request(("Sec-WebSocket-Protocol", "a, b, a"))),
    "Extensions malformed": (400, request(("Sec-WebSocket-Extensions", 'a="\\'))),
    "body by length": (400, request(("Content-Length", "5")) + b"hello"),
    "length no number": (400, request(("Content-Length", "five")) + b"hello"),
    "length negative": (400, request(("Content-Length", "-1"))),
    "length twice": (400, request(("Content-Length", "0"), ("Content-Length", "5"))),
    "chunked body": (400, request(("Transfer-Encoding", "chunked")) + b"5\r\nhello\r\n0\r\n\r\n"),
    "unknown coding": (400, request(("Transfer-Encoding", "gzip, chunked"))),
    "length and chunked": (400, request(("Content-Length", "5"), ("Transfer-Encoding", "chunked")) + b"0\r\n\r\n"),
    "HTTP/1.0": (400, request(line="GET / HTTP/1.0")),
    "HTTP/0.9": (400, request(line="GET / HTTP/0.9")),
    "HTTP/2.0": (400, request(line="GET / HTTP/2.0")),
    "HTTP/9.9": (400, request(line="GET / HTTP/9.9")),
    "HTTP/11": (400, request(line="GET / HTTP/11")),
    "no version": (400, request(line="GET /")),
    "POST": (405, request(line="POST / HTTP/1.1")),
    "CONNECT": (405, request(line="CONNECT localhost:80 HTTP/1.1")),
    "target *": (400, request(line="GET * HTTP/1.1")),
    "target with a fragment": (400, request(line="GET /a#b HTTP/1.1")),
    "target without a host": (400, request(line="GET http:///x HTTP/1.1")),
    "target with user": (400, request(line="GET http://u:p@a/ HTTP/1.1")),
    "target not ASCII": (400, request(line="GET /gr\xfc\xdfe HTTP/1.1")),
    "two spaces": (400, request(line="GET  / HTTP/1.1")),
    "header without colon": (400, b"GET / HTTP/1.1\r\nHost\r\n\r\n"),
    "header name with a space": (400, request(("Bad Name", "x"))),
    "space before the colon": (400, request(("Host ", "x"), without=["Host"])),
    "folded header": (400, request(("X-Folded", "a\r\n b"))),
    "bare CR in a value": (400, request(("X-Return", "a\rb"))),
    "NUL in a value": (400, request(("X-Null", "a\0b"))),
    "a preface of HTTP/2": (400, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
    "a TLS hello": (400, b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(300)),
    "an SSH banner": (400, b"SSH-2.0-OpenSSH_9.6\r\n"),
    "frames without a request": (400, b"\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58"),
    "zeros": (400, bytes(1000)),
    "every byte": (400, bytes(range(256))),
}

_OURS = ("Sec-WebSocket-Protocol", "Sec-WebSocket-Extensions", "Sec-WebSocket-Key", "Sec-WebSocket-Version")
_OTHERS = ("Cookie", "User-Agent", "Authorization", "Accept-Language", "X-Forwarded-For", "X-Anything", "Expect")
OBS_TEXT = (b"\xff\xfe", "grüße".encode(), "☃".encode() * 20, b"caf\xe9", b"\x80" * 200)
CONTROLS = (b"\x1b[31mred", b"\x01\x02", b"a\x7fb")
"""What RFC 9110 5.5 lets a recipient keep."""
BREAKS = (b"a\x00b", b"a\rb", b"a\x0bb", b"a\x0cb")
"""What could be read as more than one line."""
ODD = (b"", b",", b",,,," * 40, b";;;===", b'"', b'a="', b"\\", b"{}[]()<>@", b"=" * 99)
ODD_TOKENS = (b"9" * 250, b"-1", b"%00%0a%0d")
GOOD = (*OBS_TEXT, *CONTROLS, *ODD, *ODD_TOKENS)
"""Of these nothing is refused in a header that is not ours."""


async def answer_to(arena: Arena, data: bytes) -> Answer:
    async with arena.attack() as attacker:
        await attacker.send(data)
        return await attacker.answer()


async def each_is_answered(arena: Arena, requests: Iterable[tuple[bytes, int]]) -> None:
    """Send requests on connections of their own, all at once; check the status of each answer."""

    async def ask(data: bytes, status: int) -> None:
        assert (await answer_to(arena, data)).status == status, data

    async with trio.open_nursery() as nursery:
        for data, status in requests:
            nursery.start_soon(ask, data, status)


@pytest.mark.parametrize("cut", ["whole", "in pieces"])
async def test_bad_request_is_answered_and_ends_its_own_connection(arenas: Arenas, cut: str) -> None:
    """Every bad request gets its status, whole or cut, without reaching a handler."""
    async with arenas.open() as arena:

        async def ask(name: str, status: int, data: bytes) -> None:
            async with arena.attack() as attacker:
                step = len(data) if cut == "whole" else 97
                for start in range(0, len(data), step):
                    await attacker.send(data[start : start + step])
                    await trio.lowlevel.checkpoint()
                answer = await attacker.answer()
            assert answer.status == status, name
            assert "close" in answer.headers["connection"].lower(), name
            assert len(answer.rest) == int(answer.headers["content-length"]), name
            assert answer.rest.isascii(), name
            if status == 426:
                assert answer.headers["sec-websocket-version"] == "13", name

        async with trio.open_nursery() as nursery:
            for name, (status, data) in BAD.items():
                nursery.start_soon(ask, name, status, data)
        assert not arena.websockets


async def test_relevant_header_with_controls_or_non_ascii_is_400(arenas: Arenas) -> None:
    """The handshake's own headers are read strictly: no byte outside printable ASCII."""
    async with arenas.open() as arena:
        headers = (*_OURS, "Host", "Connection", "Upgrade", "Content-Length", "Transfer-Encoding")
        values = (*OBS_TEXT, *CONTROLS, *BREAKS)
        pairs = product(headers, values)
        await each_is_answered(arena, ((request(pair, without=[pair[0]]), 400) for pair in pairs))
        assert not arena.websockets


async def test_absurd_value_in_a_header_of_ours_is_refused(arenas: Arenas) -> None:
    """Odd but printable: 400, or 426 where the version is what is odd; some extension lists are merely empty."""
    async with arenas.open() as arena:
        for header in ("Sec-WebSocket-Key", "Sec-WebSocket-Version", "Host", "Connection", "Upgrade"):
            values = ODD[1:] if header == "Host" else (*ODD, *ODD_TOKENS)  # an odd token may be a host's name
            expected = 426 if header == "Sec-WebSocket-Version" else 400
            requests = [(request((header, value), without=[header]), expected) for value in values]
            await each_is_answered(arena, requests)
        assert not arena.websockets


async def test_absurd_value_in_offer_list_is_refused_or_ignored(arenas: Arenas) -> None:
    """Commas alone are an empty list, a token that nobody knows is declined; other nonsense is a 400."""
    async with arenas.open(compression=True) as arena:
        for header in ("Sec-WebSocket-Protocol", "Sec-WebSocket-Extensions"):
            for value in (*ODD, *ODD_TOKENS):
                async with arena.attack() as attacker:
                    if not value.strip(b",") or value in ODD_TOKENS:
                        assert await attacker.handshake((header, value)) == b"", (header, value)
                    else:
                        await attacker.send(request((header, value)))
                        assert (await attacker.answer()).status == 400, (header, value)


async def test_header_that_is_not_ours_is_handed_on_whatever_it_holds(arenas: Arenas) -> None:
    """Bytes that HTTP allows reach the handler as latin-1; what could be read as a line end is a 400."""
    seen: set[str] = set()

    async def read_everything(ws: WebSocket) -> None:
        assert isinstance(ws.cookies, dict)
        assert ws.url.path == "/attack"
        assert repr(ws)
        assert repr(ws.request)
        assert not ws.query_parameters
        headers = dict(ws.headers.pairs)
        seen.add(headers["x-marked"] + headers["x-which"])

    async with arenas.open(read_everything) as arena:

        async def ask(header: str, value: bytes) -> None:
            async with arena.attack() as attacker:
                await attacker.handshake((header, value), ("X-Marked", value), ("X-Which", header))

        async with trio.open_nursery() as nursery:
            for header, value in product(_OTHERS, GOOD):
                nursery.start_soon(ask, header, value)
        wanted = {value.decode("latin-1").strip() + header for header, value in product(_OTHERS, GOOD)}
        await until(lambda: len(seen) >= len(wanted))
        assert seen == wanted
        await each_is_answered(arena, [(request(pair), 400) for pair in product(_OTHERS, BREAKS)])


BAD_ORIGINS = (*OBS_TEXT, *CONTROLS, *ODD[1:], *ODD_TOKENS, b"null", b"http://", b"http://[", b"file:///", b"a b")


async def test_bad_origin_is_another_origin(arenas: Arenas) -> None:
    """What is no origin is not ours: 403, and one line with the value escaped."""
    async with arenas.open() as arena:
        await each_is_answered(arena, [(request(("Origin", value)), 403) for value in BAD_ORIGINS])
        await until(lambda: len(arenas.caplog.records) == len(BAD_ORIGINS))
        assert not arena.websockets


async def test_two_origins_are_refused(arenas: Arenas) -> None:
    async with arenas.open() as arena:
        answer = await answer_to(arena, request(("Origin", "http://localhost"), ("Origin", "http://evil")))
        assert answer.status == 400


LONG = {
    "request line": (414, request(line="GET /" + "a" * 150 + " HTTP/1.1")),
    "one header": (431, request(("X-Long", "a" * 200))),
    "a header name": (431, request(("X" * 200, "a"))),
    "whole head": (431, request(*((f"X-{n}", "a" * 100) for n in range(6)))),
    "too many headers": (431, request(*((f"X-{n}", "") for n in range(30)))),
    "a line without end": (414, b"GET /" + b"a" * 600),
    "a header without end": (431, request()[:-2] + b"X-Long: " + b"a" * 600),
}


@pytest.mark.parametrize(("status", "data"), LONG.values(), ids=LONG)
async def test_head_too_long_is_refused_whole_and_dripping(arenas: Arenas, status: int, data: bytes) -> None:
    """One answer, the same whether the head arrives in one piece or byte by byte, and no later than at the limit."""
    async with arenas.open(limits=SMALL) as arena:
        whole = await answer_to(arena, data)
        assert whole.status == status
        async with arena.attack() as attacker:
            for position in range(len(data)):
                if not await attacker.send(data[position : position + 1]):
                    break
                await trio.lowlevel.checkpoint()
            dripped = await attacker.answer()
        assert dripped == whole
        assert not arena.websockets


async def test_head_longer_than_the_default_limits_is_refused_whole(arenas: Arenas) -> None:
    """Megabytes in one go are answered like any other head that is too long, and not kept."""
    async with arenas.open() as arena:
        for status, data in (
            (414, request(line="GET /" + "a" * 1_000_000 + " HTTP/1.1")),
            (431, request(("X-Long", "a" * 1_000_000))),
            (431, request(*((f"X-{n}", "v") for n in range(1000)))),
        ):
            async with arena.attack() as attacker, trio.open_nursery() as nursery:
                nursery.start_soon(attacker.send, data)
                answer = await attacker.answer()
                nursery.cancel_scope.cancel()
            assert answer.status == status


async def test_peer_text_in_the_log_is_escaped(arenas: Arenas) -> None:
    """Terminal escapes and line ends of a peer's never reach the log as they are: in a request, in a close reason."""
    bad = (
        request(("Sec-WebSocket-Version", "\x1b[2J%s%n{0}"), without=["Sec-WebSocket-Version"]),
        request(("Origin", b"http://\xe2\x80\xae%0a{}")),
        request(("Host", b"a%0d%0a\\n%d"), without=["Host"]),
        request(("Sec-WebSocket-Protocol", b'a"\xff')),
        request(("Sec-WebSocket-Extensions", b'a="\\')),
    )
    reason = "\n\x1b[31m%s\u202e{0}\r\u2028"

    async def until_the_end(ws: WebSocket) -> None:
        while True:
            await ws.receive()

    async with arenas.open(until_the_end) as arena:
        for data in bad:
            await answer_to(arena, data)
        async with arena.websocket(behind=close_frame(4000, reason.encode())) as (attacker, _):
            await attacker.rest()
        await until(lambda: len(arenas.caplog.records) == len(bad) + 1)
        assert arenas.caplog.records[-1].getMessage().endswith(f"closed with 4000, reason {reason!a}")
