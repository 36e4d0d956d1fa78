"""Strategies for single frames, valid or breaking one rule."""

from __future__ import annotations

from collections.abc import Collection
from functools import partial
from typing import Any, Final

import attrs
from hypothesis import strategies as st

from trio_ws.testing.oracle import Sender
from trio_ws.testing.raw_frame import MASK_KEY, Opcode, RawFrame
from trio_ws.testing.strategies.messages import MAX_SIZE, binaries, sizes, texts
from trio_ws.testing.strategies.remembering import remembered

__all__ = ["broken_frames", "close_codes", "close_frames", "control_frames", "frames", "masked", "text_frame"]

_MAX_CONTROL: Final = 125
_MAX_REASON: Final = 123
_LONGEST_16: Final = 0xFFFF
_RESERVED: Final = (3, 4, 5, 6, 7, 11, 12, 13, 14, 15)
_SENDABLE: Final = (1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014)
_RANGES: Final = (3000, 3999, 4000, 4999)
_FORBIDDEN: Final = (0, 1, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65_535)
_BAD_UTF8: Final = (
    b"\xff",
    b"\x80",
    b"\xc3",
    b"\xc0\xaf",
    b"\xe2\x82",
    b"\xed\xa0\x80",
    b"\xed\xbf\xbf",
    b"\xf0\x9f\x98",
    b"\xf4\x90\x80\x80",
    b"\xf8\x88\x80\x80\x80",
)
"""Alone, cut off, too long, surrogates, beyond the last character."""
_FIN: Final = st.sampled_from([True, False])
"""A whole message is the simpler example."""


def text_frame(text: str | bytes, *, opcode: Opcode = Opcode.TEXT, fin: bool = True) -> RawFrame:
    """Return a frame with a text, or with bytes that need not be UTF-8."""
    return RawFrame(opcode, text.encode() if isinstance(text, str) else text, fin)


def _close_frame(code: int, reason: str | bytes) -> RawFrame:
    return RawFrame(Opcode.CLOSE, code.to_bytes(2) + (reason.encode() if isinstance(reason, str) else reason))


@remembered
def masked(made: st.SearchStrategy[RawFrame], sender: Sender) -> st.SearchStrategy[RawFrame]:
    """Draw frames as `sender` sends them: a client's with a masking key, zeros among them."""
    if sender == "server":
        return made
    masks = st.one_of(st.just(MASK_KEY), st.just(bytes(4)), st.binary(min_size=4, max_size=4))
    return st.builds(lambda frame, mask: _changed(frame, masked=True, mask=mask), made, masks)


@remembered
def close_codes(*, valid: bool = True) -> st.SearchStrategy[int]:
    """Draw close codes that may be sent (RFC 6455 7.4), or may not.

    Example:
        @given(close_codes(valid=False))
        def test_the_codes_that_are_refused(code):
            assert not is_wire_code(code)
    """
    if valid:
        return st.one_of(st.sampled_from((*_SENDABLE, *_RANGES)), st.integers(3000, 4999))
    below, above = st.integers(0, 999), st.integers(5000, 65_535)
    return st.one_of(st.sampled_from(_FORBIDDEN), below, st.integers(1016, 2999), above)


@remembered
def close_frames(*, valid: bool = True, sender: Sender = "client") -> st.SearchStrategy[RawFrame]:
    """Draw close frames: empty, with a code, and with a reason of up to 123 bytes.

    Those that are not valid have half a code, a code that may not be sent, a reason that is not UTF-8, or more than
    125 bytes.

    Example:
        @given(close_frames(sender="server"))
        def test_the_reason_fits(frame):
            assert len(frame.payload) <= 125

    Args:
        valid: False for those that a receiver has to refuse.
        sender: the side that sends them.
    """
    reason = texts(max_size=_MAX_REASON, around=[_MAX_REASON])
    if valid:
        made = st.one_of(st.just(RawFrame(Opcode.CLOSE)), st.builds(_close_frame, close_codes(), reason))
    else:
        bad_reason = st.builds(lambda text, bad: text.encode() + bad, texts(max_size=100), st.sampled_from(_BAD_UTF8))
        made = st.one_of(
            st.binary(min_size=1, max_size=1).map(partial(RawFrame, Opcode.CLOSE)),
            st.builds(_close_frame, close_codes(valid=False), reason),
            st.builds(_close_frame, close_codes(), bad_reason),
            st.builds(_close_frame, close_codes(), st.integers(_MAX_REASON + 1, 300).map("x".__mul__)),
        )
    return masked(made, sender)


@remembered
def control_frames(*, sender: Sender = "client", close: bool = False) -> st.SearchStrategy[RawFrame]:
    """Draw valid pings and pongs.

    Example:
        @given(control_frames())
        def test_they_are_short(frame):
            assert len(frame.payload) <= 125

    Args:
        sender: the side that sends them.
        close: True for close frames too.
    """
    payload = st.one_of(st.binary(max_size=_MAX_CONTROL), sizes(max_size=_MAX_CONTROL).map(bytes))
    made = masked(st.builds(RawFrame, st.sampled_from([Opcode.PING, Opcode.PONG]), payload), sender)
    return st.one_of(made, close_frames(sender=sender)) if close else made


@remembered
def frames(
    *, valid: bool = True, sender: Sender = "client", max_size: int = MAX_SIZE, around: Collection[int] = ()
) -> st.SearchStrategy[RawFrame]:
    """Draw frames as the first of a connection without extensions: valid ones, or with one rule broken.

    `violation_of([frame], sender=sender)` returns the broken rule and the close code that answers it.

    Example:
        @given(frames(valid=False, sender="server"))
        def test_one_rule_is_broken(frame):
            assert violation_of([frame], sender="server").code in (1002, 1007)

    Args:
        valid: False for frames that a receiver has to refuse.
        sender: the side that sends them: a client masks.
        max_size: the largest payload of data frames, in bytes.
        around: further sizes, such as limits, which are drawn often with their neighbours.
    """
    text = st.builds(text_frame, texts(max_size=max_size, around=around), fin=_FIN)
    binary = st.builds(RawFrame, st.just(Opcode.BINARY), binaries(max_size=max_size, around=around), _FIN)
    control = control_frames(sender=sender, close=True)
    good = st.one_of(masked(text, sender), masked(binary, sender), control)
    return good if valid else broken_frames(good, sender=sender, in_message=False)


@remembered
def broken_frames(
    good: st.SearchStrategy[RawFrame], *, sender: Sender, in_message: bool
) -> st.SearchStrategy[RawFrame]:
    """Draw frames with one rule broken.

    Args:
        good: frames that are valid where the drawn one stands.
        sender: the side that sends them.
        in_message: whether they stand between the fragments of a message.
    """
    control = control_frames(sender=sender, close=True)
    out_of_order = Opcode.TEXT if in_message else Opcode.CONTINUATION
    made = st.one_of(
        st.builds(text_frame, texts(max_size=20), opcode=st.just(out_of_order), fin=_FIN),
        st.integers(_MAX_CONTROL + 1, 300).map(lambda size: RawFrame(Opcode.PING, bytes(size))),
        st.just(RawFrame(Opcode.PING, fin=False)) if in_message else _bad_texts(),
    )
    return st.one_of(
        masked(made, sender),
        st.builds(partial(_changed, rsv1=True), good),
        st.builds(partial(_changed, rsv2=True), good),
        st.builds(partial(_changed, rsv3=True), good),
        st.builds(lambda frame, opcode: _changed(frame, opcode=opcode), control, st.sampled_from(_RESERVED)),
        st.builds(partial(_changed, masked=sender != "client"), good),
        st.builds(partial(_changed, fin=False), control),
        st.builds(_longer_length, good, st.booleans()).filter(lambda frame: frame.length_bytes is not None),
        close_frames(valid=False, sender=sender),
    )


def _changed(frame: RawFrame, **changes: Any) -> RawFrame:
    return attrs.evolve(frame, **changes)


@remembered
def _bad_texts() -> st.SearchStrategy[RawFrame]:
    bad = st.builds(lambda text, bad: text.encode() + bad, texts(max_size=200), st.sampled_from(_BAD_UTF8))
    return bad.map(text_frame)


def _longer_length(frame: RawFrame, longest: bool) -> RawFrame:
    """Return the frame with a longer form of its length, the same frame if it has the longest."""
    size = len(frame.payload)
    if size > _LONGEST_16:
        return frame
    return _changed(frame, length_bytes=8 if longest or size > _MAX_CONTROL else 2)
