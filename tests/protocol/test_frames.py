"""Frames as RFC 6455 5.2 draws them, and its examples of 5.7."""

from __future__ import annotations

import pytest

from trio_ws.protocol.frames import (
    BINARY,
    CONTINUATION,
    FIN,
    MASKED,
    PING,
    PONG,
    TEXT,
    encode_frame,
    encode_header,
)


class TestExamplesOfTheRfc:
    """RFC 6455 5.7."""

    def test_unmasked_text(self) -> None:
        assert encode_frame(TEXT, b"Hello", mask=None) == bytes.fromhex("810548656c6c6f")

    def test_masked_text(self) -> None:
        frame = encode_frame(TEXT, b"Hello", mask=bytes.fromhex("37fa213d"))
        assert frame == bytes.fromhex("818537fa213d7f9f4d5158")

    def test_fragmented_text(self) -> None:
        assert encode_frame(TEXT, b"Hel", fin=False, mask=None) == bytes.fromhex("010348656c")
        assert encode_frame(CONTINUATION, b"lo", mask=None) == bytes.fromhex("80026c6f")

    def test_ping_and_masked_pong(self) -> None:
        assert encode_frame(PING, b"Hello", mask=None) == bytes.fromhex("890548656c6c6f")
        frame = encode_frame(PONG, b"Hello", mask=bytes.fromhex("37fa213d"))
        assert frame == bytes.fromhex("8a8537fa213d7f9f4d5158")

    def test_256_bytes(self) -> None:
        assert encode_frame(BINARY, bytes(256), mask=None) == bytes.fromhex("827e0100") + bytes(256)

    def test_64_kib(self) -> None:
        assert encode_frame(BINARY, bytes(65_536), mask=None)[:10] == bytes.fromhex("827f0000000000010000")


class TestHeader:
    @pytest.mark.parametrize(
        ("size", "header"),
        [
            (0, "8200"),
            (125, "827d"),
            (126, "827e007e"),
            (65_535, "827effff"),
            (65_536, "827f0000000000010000"),
            (2**63 - 1, "827f7fffffffffffffff"),
        ],
    )
    def test_the_length_is_in_its_shortest_form(self, size: int, header: str) -> None:
        assert encode_header(FIN | BINARY, size) == bytes.fromhex(header)

    @pytest.mark.parametrize(("size", "second"), [(5, 0x85), (126, 0xFE), (65_536, 0xFF)])
    def test_the_mask_bit_stands_beside_every_form_of_length(self, size: int, second: int) -> None:
        assert encode_header(FIN | BINARY, size, MASKED)[1] == second

    def test_rsv1_and_no_fin(self) -> None:
        assert encode_frame(TEXT, b"", fin=False, rsv1=True, mask=None) == bytes.fromhex("4100")


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
@pytest.mark.parametrize("mask", [None, b"abcd"])
def test_a_payload_of_any_buffer_gives_bytes(kind: type, mask: bytes | None) -> None:
    frame = encode_frame(BINARY, kind(b"payload"), mask=mask)
    assert type(frame) is bytes
    assert frame == encode_frame(BINARY, b"payload", mask=mask)
