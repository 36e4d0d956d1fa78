"""The frame encoder, from messages and control frames to bytes.

It does no I/O. `closing` and `endpoint` decide what may be sent when; `deflate` compresses.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal, TypeAlias

from trio_ws.codes import CloseCode, check_close
from trio_ws.errors import LocalProtocolError
from trio_ws.native.choice import EncoderState
from trio_ws.protocol.deflate import DEFLATED_AT_ONCE, Deflater, Deflating, deflate_alone
from trio_ws.protocol.frames import (
    BINARY,
    CLOSE,
    CONTINUATION,
    FIN,
    MAX_CONTROL_SIZE,
    PING,
    PONG,
    TEXT,
    encode_frame,
    encode_header,
)
from trio_ws.protocol.masking import MaskSource

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence

__all__ = ["PLAIN", "Encoder", "Kind", "deflated_message", "deflated_steps", "plain_message"]

Kind: TypeAlias = tuple[int, ...]
"""What decides how a whole message is encoded: a deflater's settings, or nothing."""

PLAIN: Final[Kind] = ()

_SMALL_TEXT: Final = tuple(encode_header(FIN | TEXT, size) for size in range(MAX_CONTROL_SIZE + 1))
"""The headers of a server's whole text messages, by size."""
_SMALL_BINARY: Final = tuple(encode_header(FIN | BINARY, size) for size in range(MAX_CONTROL_SIZE + 1))


class Encoder(EncoderState):
    """Encodes the frames of one side of a connection (RFC 6455 5 to 7, RFC 7692 with a deflater).

    A call that raises leaves everything as it was: no masking key is used up, no compressor has moved.

    Args:
        client: True on the client's side, where frames are masked.
        deflater: compresses messages from its threshold on; None if no compression was negotiated.
    """

    __slots__ = ("_compressing", "_deflater", "_masks", "_opcode", "compresses")

    def __init__(self, *, client: bool, deflater: Deflater | None = None) -> None:
        self._masks = MaskSource() if client else None
        self._deflater = deflater
        self.plain: bool = not client and deflater is None
        """Whether every whole message has the kind `PLAIN`, and the frame that `plain_message` returns."""
        self.compresses: bool = deflater is not None
        """Whether there is a deflater: then `begin` splits the work of a large message."""
        # The fragmented message that is being sent: its opcode, 0 if there is none.
        self._opcode = CONTINUATION
        self._compressing = False

    def message(self, data: str | bytes | bytearray | memoryview) -> bytes:
        """Return the one frame of a whole message: text for `str`, else binary (RFC 6455 5.6).

        Raises:
            TypeError: `data` is something else.
            UnicodeEncodeError: text with lone surrogates.
            LocalProtocolError: a fragmented message is unfinished.
        """
        if self._opcode:
            raise LocalProtocolError("message() before the last fragment of a fragmented message")
        opcode, payload = _payload(data)
        size = len(payload)
        if self._deflater is not None and size >= self._deflater.threshold:
            return self._frame(opcode, self._deflater.deflate(payload, final=True), rsv1=True)
        return _whole(opcode, payload) if self._masks is None else self._frame(opcode, payload)

    def begin(self, data: str | bytes | bytearray | memoryview) -> Deflating | None:
        """Begin to deflate a large message in steps, for `end`; None for one that `message` takes in one step.

        Raises:
            TypeError: `data` is something else.
            UnicodeEncodeError: text with lone surrogates.
        """
        deflater = self._deflater
        if deflater is None or (isinstance(data, str | bytes) and len(data) <= DEFLATED_AT_ONCE // 4):
            return None
        _, payload = _payload(data)
        return deflater.begin(payload) if len(payload) > max(DEFLATED_AT_ONCE, deflater.threshold - 1) else None

    def end(self, deflating: Deflating, *, text: bool) -> bytes:
        """Return the one frame of a message whose steps are done. It raises what `message` does."""
        if self._opcode or self._deflater is None:
            raise LocalProtocolError("end() before the last fragment of a fragmented message")
        return self._frame(TEXT if text else BINARY, self._deflater.end(deflating), rsv1=True)

    def kind(self, size: int) -> Kind | None:
        """Return the parameters of the frame of a whole message of `size` bytes; None if it is like no other's.

        Two encoders with the same kind return the same frame for the same message. A masked frame, and one that is
        compressed in the context of earlier messages, are like no other.
        """
        if self._masks is not None:
            return None
        deflater = self._deflater
        return PLAIN if deflater is None or size < deflater.threshold else deflater.kind_of(size)

    def passed(self, data: str | bytes) -> None:
        """Go on behind a message whose frame is `deflated_message`'s; it is sent now."""
        if self._deflater is not None:
            self._deflater.passed(data)

    def uncompressed(self, data: str | bytes) -> bytes:
        """Return the one frame of a whole message as it is (RFC 7692 6: whether to compress one is the sender's)."""
        return self._frame(*_payload(data))

    def fragment(self, data: str | bytes | bytearray | memoryview, *, first: bool, final: bool) -> bytes:
        """Return one frame of a fragmented message (RFC 6455 5.4).

        A message is compressed if its first fragment reaches the threshold. Control frames may be sent
        between fragments, another message may not.

        Args:
            data: the next part of the message, of one kind all along.
            first: whether the message begins with it.
            final: whether the message ends with it.

        Raises:
            TypeError: `data` is something else, or text in a binary message, or the reverse.
            UnicodeEncodeError: text with lone surrogates.
            LocalProtocolError: a first fragment in an unfinished message, or another one without a message.
        """
        if first == bool(self._opcode):
            raise LocalProtocolError(
                "a new message before the last fragment of the one before"
                if first
                else "a fragment that continues no message"
            )
        kind, payload = _payload(data)
        if first:
            self._compressing = self._deflater is not None and len(payload) >= self._deflater.threshold
        elif kind != self._opcode:
            raise TypeError("the fragments of a message are all str, or all bytes")
        self._opcode = CONTINUATION if final else kind
        if self._compressing and self._deflater is not None:
            payload = self._deflater.deflate(payload, final=final)
        return self._frame(kind if first else CONTINUATION, payload, fin=final, rsv1=first and self._compressing)

    def cut(self, chunk: str | bytes | bytearray | memoryview) -> Sequence[str | bytes | bytearray | memoryview]:
        """Return a chunk of a fragmented message in parts, each to be deflated in one step; others as they are."""
        if self._deflater is None or not isinstance(chunk, str | bytes | bytearray | memoryview):
            return (chunk,)
        at_once = max(DEFLATED_AT_ONCE, self._deflater.threshold)
        data = chunk if isinstance(chunk, str) else bytes(chunk)
        return [data[at : at + at_once] for at in range(0, len(data), at_once)] or (chunk,)

    def release(self) -> None:
        """Free the context of earlier messages; nothing is sent any more."""
        self._deflater = None

    def ping(self, payload: bytes = b"") -> bytes:
        """Return a ping with at most 125 bytes of payload (RFC 6455 5.5.2).

        Raises:
            ValueError: the payload is longer.
            TypeError: the payload is not bytes.
        """
        return self._control(PING, "ping", payload)

    def pong(self, payload: bytes = b"") -> bytes:
        """Return a pong with at most 125 bytes of payload (RFC 6455 5.5.3).

        Raises:
            ValueError: the payload is longer.
            TypeError: the payload is not bytes.
        """
        return self._control(PONG, "pong", payload)

    def close(self, code: int, reason: str) -> bytes:
        """Return a close frame (RFC 6455 5.5.1).

        Args:
            code: a code that may be sent, or 1005 for a frame without one, which echoes such a frame.
            reason: at most 123 bytes of UTF-8; `""` with code 1005.

        Raises:
            ValueError: code or reason cannot be sent.
        """
        if code == CloseCode.NO_STATUS_RECEIVED and not reason:
            return self._frame(CLOSE, b"")
        check_close(code, reason)
        return self._frame(CLOSE, code.to_bytes(2) + reason.encode())

    def _control(self, opcode: int, name: Literal["ping", "pong"], payload: bytes) -> bytes:
        if not isinstance(payload, bytes | bytearray | memoryview):
            raise TypeError(f"the payload of a {name} is bytes, not {type(payload).__name__}")
        payload = bytes(payload)
        if len(payload) > MAX_CONTROL_SIZE:
            raise ValueError(f"the payload of a {name} is at most {MAX_CONTROL_SIZE} bytes, not {len(payload)}")
        return self._frame(opcode, payload)

    def _frame(self, opcode: int, payload: bytes, *, fin: bool = True, rsv1: bool = False) -> bytes:
        mask = None if self._masks is None else self._masks.take()
        return encode_frame(opcode, payload, fin=fin, rsv1=rsv1, mask=mask)


def plain_message(data: str | bytes | bytearray | memoryview) -> bytes:
    """Return the frame of a whole message as a server sends it without compression. It raises what `message` does."""
    return _whole(*_payload(data))


def deflated_message(kind: Kind, data: str | bytes) -> bytes:
    """Return the compressed frame of a whole message as servers send it whose encoder has this kind."""
    opcode, payload = _payload(data)
    level, window_bits = kind
    return encode_frame(opcode, deflate_alone((level, window_bits), payload), rsv1=True, mask=None)


def deflated_steps(kind: Kind, data: str | bytes) -> Generator[None, None, bytes]:
    """Do as `deflated_message`, pausing after each `DEFLATED_AT_ONCE` bytes."""
    opcode, payload = _payload(data)
    level, window_bits = kind
    deflating = Deflating.alone((level, window_bits), payload)
    while deflating.step():
        yield
    return encode_frame(opcode, deflating.payload, rsv1=True, mask=None)


def _whole(opcode: int, payload: bytes) -> bytes:
    size = len(payload)
    if size <= MAX_CONTROL_SIZE:
        return (_SMALL_TEXT if opcode == TEXT else _SMALL_BINARY)[size] + payload
    return encode_frame(opcode, payload, mask=None)


def _payload(data: str | bytes | bytearray | memoryview) -> tuple[int, bytes]:
    """Return the opcode and the bytes of what a user sends."""
    if isinstance(data, str):
        return TEXT, data.encode()
    if isinstance(data, bytes | bytearray | memoryview):
        return BINARY, bytes(data)
    raise TypeError(
        f"a message is str, bytes, bytearray or memoryview, not {type(data).__name__}: send_json() sends values"
    )
