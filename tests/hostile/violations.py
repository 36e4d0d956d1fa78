"""What peers do that RFC 6455 forbids: frames by name, with the close code that answers them.

They are made for either direction: a mask for what a client sends, none for what a server sends.
"""

from __future__ import annotations

from trio_ws.protocol.frames import encode_frame

__all__ = ["compressed_violations", "violations"]

_TEXT, _BINARY, _CLOSE, _PING, _PONG = 1, 2, 8, 9, 10


def violations(mask: bytes | None) -> dict[str, tuple[int, bytes]]:
    """Return the violations of one side without compression: name to close code and bytes."""

    def frame(opcode: int, payload: bytes = b"", *, fin: bool = True) -> bytes:
        return encode_frame(opcode, payload, fin=fin, mask=mask)

    def start(first: int, length: bytes) -> bytes:
        """A header up to its length; the key of a masked one follows."""
        return bytes([first, length[0] | (0x80 if mask else 0)]) + length[1:] + (mask or b"")

    def close(code: int, reason: bytes = b"") -> bytes:
        return frame(_CLOSE, code.to_bytes(2) + reason)

    def wrong_mask(opcode: int) -> bytes:
        return encode_frame(opcode, b"hello", mask=None if mask else b"\x01\x02\x03\x04")

    cases = {
        "wrongly masked text": (1002, wrong_mask(_TEXT)),
        "wrongly masked ping": (1002, wrong_mask(_PING)),
        "wrongly masked close": (1002, encode_frame(_CLOSE, b"\x03\xe8", mask=None if mask else b"\x01\x02\x03\x04")),
        "wrong mask in a message": (1002, frame(_TEXT, b"a", fin=False) + wrong_mask(0)),
        "ping of 126": (1002, start(0x89, b"\x7e\x00\x7e") + bytes(126)),
        "pong of 126": (1002, start(0x8A, b"\x7e\x00\x7e") + bytes(126)),
        "close of 126": (1002, start(0x88, b"\x7e\x00\x7e") + b"\x03\xe8" + bytes(124)),
        "ping of 2**63": (1002, start(0x89, b"\x7f\x80" + bytes(7))),
        "ping in fragments": (1002, frame(_PING, b"a", fin=False) + frame(0, b"b")),
        "pong in fragments": (1002, frame(_PONG, b"a", fin=False) + frame(0, b"b")),
        "close in fragments": (1002, frame(_CLOSE, b"\x03\xe8", fin=False) + frame(0)),
        "5 bytes in the 16 bit form": (1002, start(0x82, b"\x7e\x00\x05") + b"hello"),
        "125 bytes in the 16 bit form": (1002, start(0x82, b"\x7e\x00\x7d") + bytes(125)),
        "5 bytes in the 64 bit form": (1002, start(0x82, b"\x7f" + (5).to_bytes(8)) + b"hello"),
        "65535 bytes in the 64 bit form": (1002, start(0x82, b"\x7f" + (65535).to_bytes(8))),
        "2**63 bytes": (1009, start(0x82, b"\x7f\x80" + bytes(7))),
        "2**63 - 1 bytes": (1009, start(0x82, b"\x7f\x7f" + b"\xff" * 7)),
        "2**64 - 1 bytes": (1009, start(0x82, b"\x7f" + b"\xff" * 8)),
        "one byte too many": (1009, start(0x82, b"\x7f" + (2**20 + 1).to_bytes(8))),
        "fragments that are too many bytes": (
            1009,
            frame(_BINARY, b"a", fin=False) + start(0x80, b"\x7f" + (2**20).to_bytes(8)),
        ),
        "continuation of nothing": (1002, frame(0, b"x")),
        "continuation after the end": (1002, frame(_TEXT, b"a", fin=False) + frame(0, b"b") + frame(0, b"c")),
        "message within a message": (1002, frame(_TEXT, b"a", fin=False) + frame(_TEXT, b"b")),
        "half a close code": (1002, frame(_CLOSE, b"\x03")),
        "close reason not UTF-8": (1007, close(1000, b"\xff\xfe")),
        "close reason cut": (1007, close(1000, "ß".encode()[:1])),
        "text not UTF-8": (1007, frame(_TEXT, b"\xff")),
        "text cut": (1007, frame(_TEXT, "☃".encode()[:2])),
        "text with a surrogate": (1007, frame(_TEXT, b"\xed\xa0\x80")),
        "text overlong": (1007, frame(_TEXT, b"\xc0\xaf")),
        "text beyond U+10FFFF": (1007, frame(_TEXT, b"\xf4\x90\x80\x80")),
        "bad text in the first fragment": (1007, frame(_TEXT, b"ok\xc3\x28", fin=False)),
        "character broken by its fragments": (1007, frame(_TEXT, b"\xe2\x98", fin=False) + frame(0, b"\x28")),
        "character broken around a ping": (
            1007,
            frame(_TEXT, b"\xe2", fin=False) + frame(_PING, b"") + frame(0, b"\x28\xa1"),
        ),
        "character cut at the last fragment": (1007, frame(_TEXT, b"ok", fin=False) + frame(0, b"\xe2\x98")),
        "surrogate in halves": (1007, frame(_TEXT, b"\xed", fin=False) + frame(0, b"\xa0", fin=False)),
        "character broken after an empty fragment": (
            1007,
            frame(_TEXT, b"\xf0", fin=False) + frame(0, fin=False) + frame(0, b"\x41"),
        ),
    }
    for bit in (0x10, 0x20, 0x40):
        for opcode in (_TEXT, _BINARY, _CLOSE, _PING):
            cases[f"reserved bit {bit:#x} on opcode {opcode}"] = (1002, start(0x80 | bit | opcode, b"\x00"))
    for opcode in (3, 4, 5, 6, 7, 11, 12, 13, 14, 15):
        cases[f"opcode {opcode}"] = (1002, frame(opcode, b"x"))
    for code in (0, 1, 999, 1004, 1005, 1006, 1015, 1016, 2999, 5000, 65535):
        cases[f"close code {code}"] = (1002, close(code, b"bye"))
    return cases


def compressed_violations(mask: bytes | None) -> dict[str, tuple[int, bytes]]:
    """Return the violations that need permessage-deflate to have been agreed on (RFC 7692 6 and 7)."""

    def frame(opcode: int, payload: bytes = b"", *, fin: bool = True, rsv1: bool = True) -> bytes:
        return encode_frame(opcode, payload, fin=fin, rsv1=rsv1, mask=mask)

    return {
        "compressed ping": (1002, frame(_PING, b"")),
        "compressed close": (1002, frame(_CLOSE, b"\x03\xe8")),
        "RSV1 on a continuation": (1002, frame(_TEXT, b"", fin=False) + frame(0, b"")),
        "not deflate": (1007, frame(_TEXT, b"\xff" * 20)),
        "a block of the reserved type": (1007, frame(_BINARY, b"\x07")),
        "a block cut short": (1007, frame(_BINARY, b"\x4a\xcb")),
        "a distance before the beginning": (1007, frame(_BINARY, b"\x4b\x04\x22\x00")),
        "text not UTF-8 once inflated": (1007, frame(_TEXT, b"\xfa\x0f\x00")),
        "RSV2 beside RSV1": (1002, bytes([0xE1]) + frame(_TEXT)[1:]),
    }
