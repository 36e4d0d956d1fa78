"""Chapter 25, masking on the wrong side, keys, and payloads at every offset (RFC 6455 5.1, 5.3)."""

from __future__ import annotations

import attrs

from trio_ws.conformance.case import Case, Chapter, Level
from trio_ws.conformance.frames import HELLO, binary, close, continuation, ping, pong, text
from trio_ws.conformance.outcomes import fails
from trio_ws.conformance.steps import Send, send
from trio_ws.testing.raw_frame import Opcode, RawFrame

__all__ = ["CHAPTER"]

_WRONG: list[tuple[str, tuple[RawFrame, ...]]] = [
    ("text", (text("Hello"),)),
    ("binary without payload", (binary(b""),)),
    ("a ping", (ping("x"),)),
    ("a pong", (pong(),)),
    ("a close frame", (close(1000),)),
    ("the second fragment", (text("one ", fin=False), continuation("two"))),
]
"""Of which the last frame is masked wrongly."""
_KEYS = [b"\0\0\0\0", b"\xff\xff\xff\xff", b"\0\0\0\x01", b"\x80\0\0\0"]
_COUNTING = bytes(range(256))


def _wrong(frames: tuple[RawFrame, ...], *, server: bool) -> Send:
    """Return the step that sends frames to a server or a client, the last of them masked as the other side's."""
    *right, last = (attrs.evolve(frame, masked=server) for frame in frames)
    return send(*right, attrs.evolve(last, masked=not server), exact=True)


def _server() -> list[Case]:
    """Return the cases for servers, with frames that lack their mask, and with special keys."""
    wrong = [
        Case(
            f"25.1.{number}",
            f"{what} that is not masked",
            [_wrong(frames, server=True)],
            ending=fails(1002),
            side="server",
        )
        for number, (what, frames) in enumerate(_WRONG, start=1)
    ]
    keys = [
        Case(
            f"25.2.{number}",
            f"the key {key.hex()}",
            [send(RawFrame(Opcode.BINARY, _COUNTING, masked=True, mask=key), exact=True)],
            [binary(_COUNTING)],
            section="RFC 6455 5.3",
            side="server",
        )
        for number, key in enumerate(_KEYS, start=1)
    ]
    return [*wrong, *keys]


def _client() -> list[Case]:
    """Return the cases for clients, with masked frames of a server, and about the client's own keys."""
    wrong = [
        Case(
            f"25.3.{number}",
            f"{what} that is masked",
            [_wrong(frames, server=False)],
            ending=fails(1002),
            side="client",
        )
        for number, (what, frames) in enumerate(_WRONG, start=1)
    ]
    fresh = Case(
        "25.3.7",
        "each frame of the client has a new key",
        [send(*[HELLO] * 20)],
        [HELLO] * 20,
        section="RFC 6455 5.3",
        side="client",
        check="fresh masks",
    )
    return [*wrong, fresh]


def _offsets() -> list[Case]:
    """Return a case for each length around that of the key, each cut at every place."""
    return [
        Case(
            f"25.4.{size}",
            f"payloads of {size} bytes in writes of {size % 3 + 1}",
            [send(*[binary(_COUNTING[start : start + size]) for start in range(3)], chop=size % 3 + 1)],
            [binary(_COUNTING[start : start + size]) for start in range(3)],
            section="RFC 6455 5.3",
            level=Level.MUST,
        )
        for size in range(1, 18)
    ]


CHAPTER = Chapter.of("25", "Masking", "RFC 6455 5.1", [*_server(), *_client(), *_offsets()])
