"""Compressors that all connections share: nothing of one message is ever in another, whatever happened to it."""

from __future__ import annotations

import random
import sys
import threading
import tracemalloc
import zlib
from collections.abc import Iterable
from typing import Any

import pytest
from codec_helpers import BYTES, LIBRARIES, read_in_window, zlib_ng
from hypothesis import given
from hypothesis import strategies as st
from support.internals import internal
from support.machine import traced_memory

from trio_ws.protocol import deflate
from trio_ws.protocol.compressors import (
    STANDARD,
    STANDARD_ZLIB,
    TAIL,
    Library,
    Shared,
    choose,
    get_library,
    make_compressor,
)
from trio_ws.protocol.deflate import Deflater, Inflater, deflated_bound

KINDS = st.tuples(st.integers(0, 9), st.integers(8, 15))


@pytest.fixture(scope="module", params=LIBRARIES)
def library(request: pytest.FixtureRequest) -> Any:
    return request.param


def afresh(library: Library, kind: tuple[int, int], message: bytes) -> bytes:
    """Deflate with a compressor that was used for nothing else."""
    compressor = make_compressor(*kind, library)
    return (compressor.compress(message) + compressor.flush(zlib.Z_SYNC_FLUSH))[: -len(TAIL)]


class TestShared:
    @pytest.mark.slow
    @given(messages=st.lists(st.tuples(KINDS, BYTES), min_size=1, max_size=8), kinds=st.sets(KINDS, min_size=1))
    def test_message_deflates_to_same_bytes_as_new_compressor(
        self, library: Library, messages: list[Any], kinds: set[tuple[int, int]]
    ) -> None:
        """Whatever was sent before, by whomever; and who has an empty window of the agreed size can read it."""
        shared = Shared(lambda: library)
        few = sorted(kinds)
        for (level, bits), message in messages:
            kind = few[(level * 8 + bits) % len(few)]
            payload = shared.deflate(kind, message)
            assert payload == afresh(library, kind, message)
            assert read_in_window(payload, max(kind[1], 9)) == message

    @pytest.mark.parametrize("level", range(10))
    @pytest.mark.parametrize("bits", range(8, 16))
    def test_long_messages_one_after_the_other_neither(self, library: Library, level: int, bits: int) -> None:
        """Longer than the window, so that it slides; noise, runs, and what repeats itself near and far."""
        rnd = random.Random(level * 16 + bits)
        words = [rnd.randbytes(6) for _ in range(100)]
        messages = [b"".join(rnd.choices(words, k=4000)), rnd.randbytes(20_000), bytes(70_000), b"", words[0]]
        shared = Shared(lambda: library)
        for message in [*messages, messages[0]]:
            payload = shared.deflate((level, bits), message)
            assert payload == afresh(library, (level, bits), message)
            assert read_in_window(payload, max(bits, 9)) == message
            assert len(payload) <= deflated_bound(len(message), 1)

    def test_a_compressor_is_used_again(self) -> None:
        made: list[Any] = []
        shared = Shared(lambda: counting(made))
        for number in range(20):
            shared.deflate((6, 12), b"%d" % number)
            shared.deflate((1, 12), b"%d" % number)
        assert len(made) == 2

    def test_no_more_than_a_few_are_kept_and_the_others_work_too(self, library: Library) -> None:
        shared = Shared(lambda: library)
        kinds = [(level, bits) for bits in range(8, 16) for level in range(10)]
        with traced_memory():
            for kind in kinds * 2:
                assert shared.deflate(kind, b"Hello" * 20) == afresh(library, kind, b"Hello" * 20)
            size, _ = tracemalloc.get_traced_memory()
        assert len(internal(shared, "_idle")) == 16
        assert size < 4 << 20


class Failing:
    """A compressor that fails once, with half of its message inside or half of it out."""

    def __init__(self, real: Any, where: str) -> None:
        self.real = real
        self.where: str | None = where

    def compress(self, data: bytes) -> bytes:
        done = self.real.compress(data)
        self._perhaps("compress")
        return done

    def flush(self, mode: int) -> bytes:
        done = self.real.flush(mode)
        self._perhaps("flush")
        return done

    def _perhaps(self, where: str) -> None:
        if self.where == where:
            self.where = None
            raise MemoryError


def counting(made: list[Any], wrap: Any = lambda real: real) -> Library:
    """A zlib that notes what it makes."""

    def compressobj(*arguments: int) -> Any:
        made.append(wrap(zlib.compressobj(*arguments)))
        return made[-1]

    return Library("counting", compressobj)


class TestFailures:
    @pytest.mark.parametrize("where", ["compress", "flush"])
    def test_what_failed_in_the_middle_is_not_used_again(self, where: str) -> None:
        made: list[Any] = []
        shared = Shared(lambda: counting(made, lambda real: Failing(real, where) if not made else real))
        secret = b"a secret, a secret" * 3000
        with pytest.raises(MemoryError):
            shared.deflate((6, 12), secret)
        assert shared.deflate((6, 12), b"next") == afresh(STANDARD, (6, 12), b"next")
        assert len(made) == 2

    def test_what_is_no_message_does_not_harm_the_next_one(self, library: Library) -> None:
        shared = Shared(lambda: library)
        for wrong in ("text", None, 7):
            with pytest.raises(TypeError):
                shared.deflate((6, 12), wrong)  # type: ignore[arg-type]
            assert shared.deflate((6, 12), b"next") == afresh(library, (6, 12), b"next")

    @pytest.mark.parametrize("where", ["compress", "flush"])
    def test_a_context_begins_anew_after_a_failure(self, where: str, monkeypatch: pytest.MonkeyPatch) -> None:
        """The peer has not seen the message that failed, so the next ones must not refer to it."""
        made: list[Any] = []
        library = counting(made, lambda real: Failing(real, where) if not made else real)
        monkeypatch.setattr(deflate, "make_compressor", lambda *kind: make_compressor(*kind, library))
        sender = Deflater(level=6, window_bits=15, context_takeover=True, threshold=0)
        receiver = Inflater(context_takeover=True)
        text = random.Random(1).randbytes(500)
        with pytest.raises(MemoryError):
            sender.deflate(text, final=True)
        sizes = []
        for _ in range(3):
            payload = sender.deflate(text, final=True)
            sizes.append(len(payload))
            assert receiver.inflate(payload, final=True, limit=500) == text
        assert sizes[0] >= 500
        assert sizes[2] < 50


class TestAtOnce:
    def test_one_that_is_at_work_is_nobody_elses(self) -> None:
        """A signal handler or another thread may send while a message is being deflated."""
        inner: list[bytes] = []
        made: list[Any] = []

        class Interrupted:
            def __init__(self, real: Any) -> None:
                self.real = real

            def compress(self, data: bytes) -> bytes:
                inner.append(shared.deflate((6, 12), b"inner" * 9))
                return self.real.compress(data)

            def flush(self, mode: int) -> bytes:
                return self.real.flush(mode)

        shared = Shared(lambda: counting(made, lambda real: real if made else Interrupted(real)))
        assert shared.deflate((6, 12), b"outer" * 9) == afresh(STANDARD, (6, 12), b"outer" * 9)
        assert inner == [afresh(STANDARD, (6, 12), b"inner" * 9)]
        assert len(internal(shared, "_idle")) == 1

    def test_threads_do_not_meet_in_one(self, library: Library) -> None:
        shared = Shared(lambda: library)
        wrong: list[bytes] = []
        old = sys.getswitchinterval()

        def work(seed: int) -> None:
            message = random.Random(seed).randbytes(3000) * 3
            expected = afresh(library, (6, 12), message)
            for _ in range(50):
                if shared.deflate((6, 12), message) != expected:
                    wrong.append(message)

        threads = [threading.Thread(target=work, args=(seed,)) for seed in range(4)]
        sys.setswitchinterval(1e-5)
        try:
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
        finally:
            sys.setswitchinterval(old)
        assert wrong == []
        assert len(internal(shared, "_idle")) == 1


class TestParts:
    @pytest.mark.slow
    @given(
        streams=st.lists(st.lists(BYTES, min_size=2, max_size=4), min_size=2, max_size=3),
        between=BYTES,
        order=st.randoms(use_true_random=False),
    )
    def test_interleaved_messages_in_parts_do_not_mix(
        self, library: Library, streams: list[list[bytes]], between: bytes, order: random.Random
    ) -> None:
        """Several connections are in the middle of a message each, and others send whole ones."""
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(deflate, "_shared", Shared(lambda: library))
            senders = [Deflater(level=6, window_bits=12, context_takeover=False, threshold=0) for _ in streams]
            whole = Deflater(level=6, window_bits=12, context_takeover=False, threshold=0)
            payloads = [b""] * len(streams)
            sent = [0] * len(streams)
            turns = [number for number, parts in enumerate(streams) for _ in parts]
            order.shuffle(turns)
            for number in turns:
                part = streams[number][sent[number]]
                sent[number] += 1
                payloads[number] += senders[number].deflate(part, final=sent[number] == len(streams[number]))
                assert whole.deflate(between, final=True) == afresh(library, (6, 12), between)
        for parts, payload in zip(streams, payloads, strict=True):
            assert read_in_window(payload, 12) == b"".join(parts)


class TestChoice:
    """zlib-ng is an extra: it is used where it is there and not turned off."""

    @pytest.mark.skipif(zlib_ng is None, reason="zlib-ng is not installed")
    @pytest.mark.parametrize("value", [None, "", "0"])
    def test_zlib_ng_is_used_if_it_is_there(self, monkeypatch: pytest.MonkeyPatch, value: str | None) -> None:
        monkeypatch.delenv(STANDARD_ZLIB, raising=False)
        if value is not None:
            monkeypatch.setenv(STANDARD_ZLIB, value)
        assert choose() == (f"zlib-ng {zlib_ng.ZLIBNG_RUNTIME_VERSION}", zlib_ng.compressobj)

    def test_the_standard_one_is_used_if_the_environment_says_so(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv(STANDARD_ZLIB, "1")
        assert choose() == STANDARD == (f"zlib {zlib.ZLIB_RUNTIME_VERSION}", zlib.compressobj)

    def test_the_standard_one_is_used_if_there_is_no_other(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.delenv(STANDARD_ZLIB, raising=False)
        monkeypatch.setitem(sys.modules, "zlib_ng", None)
        assert choose() == STANDARD

    def test_chosen_library_deflates_whole_messages_only(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """A context of zlib-ng's takes four times the memory."""
        assert internal(deflate, "_shared._get_library") is get_library
        whole: list[Any] = []
        monkeypatch.setattr(deflate, "_shared", Shared(lambda: counting(whole)))
        for context, kept in ((False, type(None)), (True, type(zlib.compressobj()))):
            sender = Deflater(level=6, window_bits=12, context_takeover=context, threshold=0)
            sender.deflate(b"Hello", final=True)
            assert type(internal(sender, "_stream")) is kept
        assert len(whole) == 1


def test_what_a_context_costs_is_what_is_documented() -> None:
    """KiB that a connection keeps to send with a context, for the windows in the documentation."""

    def kept(bits: int, messages: Iterable[bytes]) -> float:
        with traced_memory():
            sender = Deflater(level=6, window_bits=bits, context_takeover=True, threshold=0)
            for message in messages:
                sender.deflate(message, final=True)
            return tracemalloc.get_traced_memory()[0] / 1024

    messages = [random.Random(seed).randbytes(5000) for seed in range(10)]
    assert kept(12, messages) < 40
    assert kept(15, messages) < 152
