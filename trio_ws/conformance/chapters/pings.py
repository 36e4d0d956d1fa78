"""Chapter 2, pings are answered with their payload, in order; unsolicited pongs are not."""

from __future__ import annotations

from trio_ws.conformance.case import Case, Chapter
from trio_ws.conformance.frames import ping, pong, stars
from trio_ws.conformance.outcomes import fails
from trio_ws.conformance.steps import send

__all__ = ["CHAPTER"]

_NOT_TEXT = bytes([0x00, 0xFF, 0xFE, 0xFD, 0xFC, 0xFB, 0x00, 0xFF])
_LARGEST = stars(125, b"\xfe")
_TEN = [f"payload {number}" for number in range(10)]

_CASES = [
    Case("2.1", "ping without payload", [send(ping())], [pong()]),
    Case("2.2", "ping with text", [send(ping("Hello, world!"))], [pong("Hello, world!")]),
    Case("2.3", "ping with bytes that are no text", [send(ping(_NOT_TEXT))], [pong(_NOT_TEXT)]),
    Case("2.4", "ping of the largest size, 125 bytes", [send(ping(_LARGEST))], [pong(_LARGEST)]),
    Case("2.5", "ping of 126 bytes", [send(ping(stars(126, b"\xfe")))], ending=fails(1002), section="RFC 6455 5.5"),
    Case("2.6", "ping of 125 bytes, octet by octet", [send(ping(_LARGEST), chop=1)], [pong(_LARGEST)]),
    Case("2.7", "pong without payload", [send(pong())], section="RFC 6455 5.5.3"),
    Case("2.8", "pong with payload", [send(pong("unsolicited"))], section="RFC 6455 5.5.3"),
    Case("2.9", "pong, then ping", [send(pong("unsolicited"), ping("our ping"))], [pong("our ping")]),
    Case("2.10", "ten pings at once", [send(map(ping, _TEN))], map(pong, _TEN)),
    Case("2.11", "ten pings, octet by octet", [send(map(ping, _TEN), chop=1)], map(pong, _TEN)),
]

CHAPTER = Chapter.of("2", "Pings and pongs", "RFC 6455 5.5.2", _CASES)
