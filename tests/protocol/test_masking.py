"""Masking: the XOR, at every size and offset, and the supply of keys."""

from __future__ import annotations

import os
from typing import Any

import pytest
from codec_helpers import Codec
from hypothesis import example, given, settings
from hypothesis import strategies as st
from support.internals import internal

from trio_ws.protocol.masking import MaskSource, apply_mask, rotate

KEYS = st.binary(min_size=4, max_size=4)


@pytest.fixture(scope="module")
def xor(codec: Codec) -> Any:
    return internal(codec.decoder, "_apply_mask")


def by_definition(payload: bytes, key: bytes) -> bytes:
    """RFC 6455 5.3: octet i of the result is octet i of the payload XOR octet i mod 4 of the key."""
    return bytes(octet ^ key[index % 4] for index, octet in enumerate(payload))


class TestApplyMask:
    @pytest.mark.parametrize("size", [*range(10), 125, 126, 509, 510, 511, 512, 513, 514, 515, 4099])
    def test_each_size_is_masked_as_the_rfc_defines_it(self, xor: Any, size: int) -> None:
        payload = os.urandom(size)
        assert xor(payload, b"\x01\x80\xff\x00") == by_definition(payload, b"\x01\x80\xff\x00")

    @given(payload=st.binary(max_size=600), key=KEYS)
    @example(payload=b"\x00" * 8, key=b"\x00\x00\x00\x00")
    @settings(deadline=None)
    def test_masking_twice_gives_the_payload_back(self, xor: Any, payload: bytes, key: bytes) -> None:
        assert xor(payload, key) == by_definition(payload, key)
        assert xor(xor(payload, key), key) == payload

    @pytest.mark.parametrize("size", [5, 1000])
    @pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
    def test_any_buffer_gives_new_bytes(self, xor: Any, kind: type, size: int) -> None:
        payload = b"\x07" * size
        result = xor(kind(payload), b"abcd")
        assert type(result) is bytes
        assert result == by_definition(payload, b"abcd")

    def test_the_payload_is_not_changed(self, xor: Any) -> None:
        payload = bytearray(b"x" * 1000)
        xor(payload, b"abcd")
        assert payload == b"x" * 1000


class TestRotate:
    @given(st.binary(max_size=1200), KEYS, st.integers(0, 1200))
    @settings(deadline=None)
    def test_payload_masked_in_two_parts_equals_one_masking(self, payload: bytes, key: bytes, cut: int) -> None:
        """A payload masked in two parts is the payload masked at once."""
        head, rest = payload[:cut], payload[cut:]
        in_parts = apply_mask(head, key) + apply_mask(rest, rotate(key, len(head)))
        assert in_parts == by_definition(payload, key)


class TestMaskSource:
    def test_keys_are_four_bytes_and_do_not_repeat(self) -> None:
        source = MaskSource()
        keys = [source.take() for _ in range(1000)]
        assert {len(key) for key in keys} == {4}
        assert len(set(keys)) > 990  # 32 random bits: two equal ones among 1,000 are rare, ten are not chance

    def test_two_sources_give_different_keys(self) -> None:
        first, second = MaskSource(), MaskSource()
        assert [first.take() for _ in range(4)] != [second.take() for _ in range(4)]

    def test_every_random_byte_is_used_once_and_in_order(self, monkeypatch: pytest.MonkeyPatch) -> None:
        given_out = b""
        system = os.urandom

        def urandom(size: int) -> bytes:
            nonlocal given_out
            block = system(size)
            given_out += block
            return block

        monkeypatch.setattr("trio_ws.protocol.masking.os.urandom", urandom)
        source = MaskSource()
        assert given_out == b""  # nothing is read before it is needed
        keys = b"".join(source.take() for _ in range(600))
        assert given_out.startswith(keys)
        assert len(given_out) < len(keys) + 4096
