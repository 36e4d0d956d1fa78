"""The one reader of frames, that of raw peers and of the conformance suite: its rules, and when they are looked at."""

from __future__ import annotations

import pytest

from trio_ws.testing import InvalidFrame, Opcode, RawFrame, encode_frames, parse_frames
from trio_ws.testing.raw_reader import RawFrameReader, RawFrameRules

TEXT = RawFrame(Opcode.TEXT, b"x")
HEADERS = {
    "masked by a server": ("5.1", [RawFrame(Opcode.TEXT, b"x", masked=True)]),
    "reserved opcode": ("5.2", [RawFrame(0xB, b"x")]),
    "reserved bit": ("5.2", [RawFrame(Opcode.TEXT, b"x", rsv2=True)]),
    "rsv1 without extension": ("5.2", [RawFrame(Opcode.TEXT, b"x", rsv1=True)]),
    "one byte with its length in two": ("5.2", [RawFrame(Opcode.TEXT, b"x", length_bytes=2)]),
    "one byte with its length in eight": ("5.2", [RawFrame(Opcode.TEXT, b"x", length_bytes=8)]),
    "64 KiB with their length in eight": ("5.2", [RawFrame(Opcode.TEXT, b"x" * 65_535, length_bytes=8)]),
    "longer than any": ("5.2", [RawFrame(Opcode.TEXT, b"x", length=1 << 63)]),
    "control fragment": ("5.5", [RawFrame(Opcode.PING, b"x", fin=False)]),
    "large control": ("5.5", [RawFrame(Opcode.PING, b"x" * 126)]),
    "continues nothing": ("5.4", [RawFrame(Opcode.CONTINUATION, b"x")]),
    "message in a message": ("5.4", [RawFrame(Opcode.TEXT, b"x", fin=False), TEXT]),
    "after a close": ("5.5.1", [RawFrame(Opcode.CLOSE), TEXT]),
}
PAYLOADS = {
    "one byte of a code": ("5.5.1", [RawFrame(Opcode.CLOSE, b"\x03")]),
    "1005 sent": ("7.4", [RawFrame(Opcode.CLOSE, b"\x03\xed")]),
    "reason in latin-1": ("5.5.1", [RawFrame(Opcode.CLOSE, b"\x03\xe8\xff")]),
    "text in latin-1": ("8.1", [RawFrame(Opcode.TEXT, b"\xff")]),
    "half a character": ("8.1", [RawFrame(Opcode.TEXT, b"\xc3")]),
}


def read(data: bytes, *, masked: bool = False) -> list[RawFrame]:
    reader = RawFrameReader(RawFrameRules(masked=masked))
    reader.feed(data)
    return list(iter(reader.next_frame, None))


@pytest.mark.parametrize(("section", "frames"), [*HEADERS.values(), *PAYLOADS.values()], ids=[*HEADERS, *PAYLOADS])
def test_invalid_frames_raise_with_their_section(section: str, frames: list[RawFrame]) -> None:
    with pytest.raises(InvalidFrame) as invalid:
        read(encode_frames(frames))
    assert invalid.value.section == f"RFC 6455 {section}"
    assert invalid.value.rule in str(invalid.value)


@pytest.mark.parametrize(("section", "frames"), HEADERS.values(), ids=HEADERS)
def test_a_wrong_header_raises_before_its_payload(section: str, frames: list[RawFrame]) -> None:
    *before, last = frames
    data = encode_frames(before) + last.encode()[: -len(last.payload)]
    with pytest.raises(InvalidFrame) as invalid:
        read(data)
    assert invalid.value.section == f"RFC 6455 {section}"


def test_the_first_two_bytes_are_checked_before_the_length() -> None:
    with pytest.raises(InvalidFrame, match=r"at most 125 bytes \(RFC 6455 5.5\): PING b'' length 127 declared"):
        read(b"\x89\x7f")
    assert read(b"\x81\x7f") == []


def test_a_client_that_does_not_mask_is_found() -> None:
    with pytest.raises(InvalidFrame, match=r"5\.1"):
        read(TEXT.encode(), masked=True)


def test_reading_goes_on_behind_an_invalid_frame() -> None:
    reader = RawFrameReader(RawFrameRules(masked=False))
    for piece in (b"\x83", b"\x02", b"a"):
        reader.feed(piece)
        if len(reader.unread) > 1:
            with pytest.raises(InvalidFrame, match="reserved opcodes"):
                reader.next_frame()
    reader.feed(b"b" + TEXT.encode())
    with pytest.raises(InvalidFrame, match="b'ab'"):
        reader.next_frame()
    assert reader.next_frame() == TEXT


@pytest.mark.parametrize("name", [*HEADERS, *PAYLOADS])
def test_any_frame_is_read_without_rules(name: str) -> None:
    frames = {**HEADERS, **PAYLOADS}[name][1]
    assert parse_frames(encode_frames(frames)) == (frames if name != "longer than any" else [], parse_rest(name))


def parse_rest(name: str) -> bytes:
    return HEADERS[name][1][0].encode() if name == "longer than any" else b""


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("size", [0, 1, 125, 126, 65_535, 65_536])
def test_a_frame_can_be_read_octet_by_octet(masked: bool, size: int) -> None:
    frame = RawFrame(Opcode.TEXT, b"x" * size, masked=masked, mask=b"abcd")
    reader = RawFrameReader(RawFrameRules(masked=masked))
    data, found = frame.encode(), []
    octets = [data[index : index + 1] for index in range(len(data))]
    pieces = octets if size < 1000 else [*octets[:20], data[20:-20], *octets[-20:]]
    for piece in pieces:
        reader.feed(piece)
        found += [each for each in [reader.next_frame()] if each is not None]
    assert found == [frame]
    assert not masked or found[0].mask == frame.mask
    assert not reader.unread
