"""Strategies for fragmented messages, and for all that one side sends."""

from __future__ import annotations

from collections.abc import Collection
from functools import partial
from typing import Any, Final

import attrs
from hypothesis import strategies as st

from trio_ws.testing.oracle import Sender, Violation, accepted_of, encode_frames, messages_of, violation_of
from trio_ws.testing.raw_frame import Opcode, RawFrame
from trio_ws.testing.strategies.frames import broken_frames, close_frames, control_frames, masked, text_frame
from trio_ws.testing.strategies.messages import messages
from trio_ws.testing.strategies.remembering import remembered

__all__ = ["Conversation", "conversations", "fragmented"]

_MANY: Final = 5
_STARTS: Final = (Opcode.TEXT, Opcode.BINARY)


@attrs.frozen
class Conversation:
    """All that one side sends behind the handshake.

    Example:
        said = Conversation((RawFrame(Opcode.TEXT, b"a"), RawFrame(Opcode.CLOSE)), "server")
        assert (said.messages, said.close_code) == (["a"], 1005)

    Args:
        frames: in the order in which they are sent.
        sender: the side that sends them.
    """

    frames: tuple[RawFrame, ...]
    sender: Sender = "client"

    @property
    def messages(self) -> list[str | bytes]:
        """The messages that the other side receives, up to the first violation or close frame."""
        return messages_of(self.frames, sender=self.sender)

    @property
    def violation(self) -> Violation | None:
        """The first rule that the frames break, and the close code that answers it; None if they are valid."""
        return violation_of(self.frames, sender=self.sender)

    @property
    def pings(self) -> list[bytes]:
        """The payloads of the pings, up to the first violation or close frame."""
        return [frame.payload for frame in self._accepted() if frame.opcode == Opcode.PING]

    @property
    def close_code(self) -> int | None:
        """The code of the close frame, 1005 if it has none; None without a close frame that is valid."""
        return next((frame.close_code for frame in self._accepted() if frame.opcode == Opcode.CLOSE), None)

    def encode(self) -> bytes:
        """Return the bytes of all frames."""
        return encode_frames(self.frames)

    def _accepted(self) -> list[RawFrame]:
        return accepted_of(self.frames, sender=self.sender)


@st.composite
def fragmented(
    draw: st.DrawFn,
    message: str | bytes,
    *,
    sender: Sender = "client",
    max_fragments: int = _MANY,
    controls: bool = True,
    inside_characters: bool = True,
) -> tuple[RawFrame, ...]:
    """Draw frames that carry one message: one, or several with pings and pongs between them.

    The fragments of a text may be cut inside a character, and may be empty (RFC 6455 5.4).

    Example:
        @given(fragmented("grüße", sender="server"))
        def test_it_is_one_message(frames): assert messages_of(frames, sender="server") == ["grüße"]

    Args:
        draw: given by Hypothesis.
        message: a `str` for text, bytes for binary.
        sender: the side that sends it.
        max_fragments: the most fragments.
        controls: False for no control frames between them.
        inside_characters: False to cut texts between characters only.
    """
    places = draw(st.lists(st.integers(0, len(message)), max_size=max_fragments - 1).map(sorted))
    parts: list[Any] = [message[at:end] for at, end in zip([0, *places], [*places, len(message)], strict=True)]
    if isinstance(message, str) and inside_characters and not message.isascii():
        parts = _moved(draw, [part.encode() for part in parts])
    begin = Opcode.TEXT if isinstance(message, str) else Opcode.BINARY
    made: list[RawFrame] = []
    for index, part in enumerate(parts):
        if index and controls:
            made += draw(st.lists(control_frames(sender=sender), max_size=1))
        opcode = Opcode.CONTINUATION if index else begin
        frame = text_frame(part, opcode=opcode, fin=index == len(parts) - 1)
        made.append(draw(masked(st.just(frame), sender)))
    return tuple(made)


def _moved(draw: st.DrawFn, parts: list[bytes]) -> list[bytes]:
    """Move up to three bytes of each part to the one before it, which may cut a character."""
    for index in range(1, len(parts)):
        count = draw(st.integers(0, min(3, len(parts[index]))))
        parts[index - 1] += parts[index][:count]
        parts[index] = parts[index][count:]
    return parts


@st.composite
def conversations(
    draw: st.DrawFn,
    *,
    valid: bool = True,
    sender: Sender = "client",
    max_messages: int = _MANY,
    max_size: int = 70_000,
    around: Collection[int] = (),
    close: bool | None = None,
    inside_characters: bool = True,
) -> Conversation:
    """Draw all that one side sends: whole and fragmented messages, pings and pongs, perhaps a close frame.

    One that is not valid ends with a frame that breaks a rule where it stands.

    Example:
        @given(conversations(valid=False))
        def test_the_last_frame_is_wrong(said): assert said.violation.index == len(said.frames) - 1

    Args:
        draw: given by Hypothesis.
        valid: False for one that a receiver has to refuse.
        sender: the side that sends it.
        max_messages: the most messages.
        max_size: the largest message, in bytes.
        around: further sizes, such as limits, which are drawn often with their neighbours.
        close: whether it ends with a close frame; None for either. One that is not valid has none before the end.
        inside_characters: False to cut texts between characters only.
    """
    controls = control_frames(sender=sender)
    content = messages(max_size=max_size, around=around)
    sent: list[RawFrame] = []
    for _ in range(draw(st.integers(0, max_messages))):
        sent += draw(st.lists(controls, max_size=1))
        sent += draw(fragmented(draw(content), sender=sender, inside_characters=inside_characters))
    sent += draw(st.lists(controls, max_size=1))
    if not valid:
        return draw(_ending_broken(sent, sender))
    if close or (close is None and draw(st.booleans())):
        sent.append(draw(close_frames(sender=sender)))
    return Conversation(tuple(sent), sender)


@st.composite
def _ending_broken(draw: st.DrawFn, sent: list[RawFrame], sender: Sender) -> Conversation:
    """Draw a frame that is wrong behind `sent`, perhaps within a message that begins there."""
    good = control_frames(sender=sender, close=True)
    in_message = draw(st.booleans())
    if in_message:
        sent.append(draw(masked(_beginnings(), sender)))
        sent += draw(st.lists(control_frames(sender=sender), max_size=1))
    else:
        good = st.one_of(masked(st.binary(max_size=20).map(partial(RawFrame, Opcode.BINARY)), sender), good)
    last = draw(broken_frames(good, sender=sender, in_message=in_message))
    return Conversation((*sent, last), sender)


@remembered
def _beginnings() -> st.SearchStrategy[RawFrame]:
    """Draw first fragments of messages."""
    return st.builds(text_frame, st.text("ab", max_size=9), opcode=st.sampled_from(_STARTS), fin=st.just(False))
