"""The frame decoder, from bytes to messages and control frames.

It does no I/O and answers nothing: `endpoint` answers close and ping frames. `assembler` keeps a message in parts,
`whole` reads one in a single frame, `deflate` inflates. It never raises on data of a peer.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from trio_ws.native.choice import DecoderState
from trio_ws.protocol.assembler import Assembler, BinaryAssembler, TextAssembler
from trio_ws.protocol.deflate import COMPRESSED_PART, InflateError, Inflater, InflateTooBig
from trio_ws.protocol.events import Event, violation_of
from trio_ws.protocol.frames import (
    CLOSE,
    CONTINUATION,
    DATA_OPCODES,
    EXTENDED_LENGTH,
    FIN,
    LENGTH_BITS,
    MASKED,
    OPCODE_BITS,
    RSV1,
    START_SIZE,
    TEXT,
    Data,
)
from trio_ws.protocol.items import BytesMessage, CloseConnection, Ping, Pong, TextMessage
from trio_ws.protocol.limits import check_message_size
from trio_ws.protocol.masking import KEY_SIZE, apply_mask, rotate
from trio_ws.protocol.validation import ProtocolViolation, check_start, read_control, read_length
from trio_ws.protocol.whole import whole_messages

if TYPE_CHECKING:
    from trio_ws.native._core import Partial

__all__ = ["Decoder"]


class Decoder(DecoderState):
    """The decoder of one peer's frames (RFC 6455 5 to 8, RFC 7692 with an inflater).

    Args:
        client: True on the client's side, where frames come unmasked; False on the server's.
        max_message_size: bytes of one message, inflated. On the wire a compressed one may have somewhat more.
        max_fragments: frames that one message may come in.
        inflater: inflates compressed messages; None if no compression was negotiated.
        patience: pause when so many frames were decoded that are not whole messages, or parts of such frames, so that
            other connections get their turn; 0 for never.
        work: pause when so many bytes were inflated in one `decode`, also within a message; 0 for never.

    Attributes:
        budget: the rest of the `max_bytes` of the last `decode`; less than 0 if the last message had more.
        inflated: bytes that were inflated so far, of all messages.
        failed: a `ViolationEvent` was returned; later data is discarded.
        closed: the peer's close frame was returned; later data is discarded (RFC 6455 5.5.1).
    """

    __slots__ = (
        "_armed",
        "_control",
        "_discarding",
        "_fin",
        "_fragments",
        "_head",
        "_in_payload",
        "_inflated",
        "_inflater",
        "_key",
        "_left",
        "_max_fragments",
        "_message",
        "_message_inflater",
        "_need",
        "_opcode",
        "_patience",
        "_target",
        "_wire_size",
        "_work",
        "_work_left",
        "budget",
        "closed",
        "failed",
        "inflated",
    )

    _apply_mask = staticmethod(apply_mask)

    def __init__(
        self,
        *,
        client: bool,
        max_message_size: int,
        max_fragments: int,
        inflater: Inflater | None = None,
        patience: int = 0,
        work: int = 0,
    ) -> None:
        self.failed: bool = False
        self.closed: bool = False
        self._masked = 0 if client else MASKED
        self._max_message_size = min(max_message_size, sys.maxsize)  # the core's numbers have 63 bits
        self._max_fragments = max_fragments
        self._inflater = inflater
        self._patience = patience
        self.budget: int = 0
        self.inflated: int = 0
        self._work = work or sys.maxsize
        self._work_left = 0  # bytes that may yet be inflated in this `decode`
        self._discarding = False
        self._between = True  # between two messages, none of them to be streamed, and not over
        self._partial: Partial | None = None  # a message whose beginning the compiled core has received
        # The frame that is being read: its header as far as it came, then what is known of its payload.
        self._head = b""  # not a bytearray: it is short, and an idle connection keeps it
        self._need = START_SIZE
        self._in_payload = False
        self._opcode = CONTINUATION
        self._fin = False
        self._key = b""
        self._left = 0
        self._control = b""
        self._target: Assembler | None = None  # None for a control frame
        # The data message that is being gathered, if any, over all of its frames.
        self._message: Assembler | None = None
        self._message_inflater: Inflater | None = None
        self._fragments = self._wire_size = self._inflated = 0
        self._armed = False

    def decode(self, data: Data, out: list[Event], max_items: int, max_bytes: int) -> int:
        """Decode `data` from its start and append what is complete to `out`.

        A frame that is cut is kept (copied, so `data` may be a buffer that is used again), and a message that
        came before a violation in the same bytes is given before it.

        Args:
            data: the peer's bytes, from where the last call stopped.
            out: receives the items.
            max_items: pause when this many items were appended.
            max_bytes: pause when messages of this many bytes (text as UTF-8, after inflating) were appended.

        Returns:
            How many bytes were consumed: less than all only after a pause, and then the caller passes the rest. It
            pauses within a message, too, when `work` is done. After a violation or a close frame there is no pause: the
            rest is discarded.
        """
        self.budget = max_bytes
        return self._decode_from(data, 0, out, len(out) + max_items)

    def decode_whole(self, data: Data, out: list[Any], stop: int, max_bytes: int) -> int:
        """Decode the whole, uncompressed messages in one frame each that `data` begins with.

        Args:
            data: the peer's bytes, from where the last call stopped.
            out: receives the messages.
            stop: pause when `out` has this many items.
            max_bytes: as in `decode`, for `budget` too.

        Returns:
            How many bytes were consumed: nearly always all; pass the rest to `decode`.
        """
        self.budget = max_bytes
        if not self._between:
            return 0
        before = len(out)
        try:
            return self._whole_messages(data, 0, out, stop)
        except UnicodeDecodeError:
            del out[before:]
            self.budget = max_bytes
            return 0

    def _decode_from(self, data: Data, position: int, out: list[Event], stop: int) -> int:
        end = len(data)
        if self.failed or self.closed:
            return end
        if self._partial is not None:
            self._take_over(self._partial)
        try:
            position = self._decode(data, position, out, stop)
        except (ProtocolViolation, UnicodeDecodeError, InflateTooBig, InflateError) as error:
            self._fail(error, out)
        self._between = self._in_between and not (self.failed or self.closed)
        return end if self.failed or self.closed else position

    @property
    def _in_between(self) -> bool:
        """Whether the next message is to come whole: no frame or message has begun, and none is streamed or dropped."""
        return not (self._head or self._in_payload or self._message or self._armed or self._discarding)

    def _fail(self, error: Exception, out: list[Event]) -> None:
        self.failed = True
        self._between = False
        self._forget()
        out.append(violation_of(error, self._max_message_size))

    def stream_next(self) -> TextMessage | BytesMessage | None:
        """Return one data message in chunks as its bytes come: the one that is being gathered, or the next.

        Until that message's last chunk (`message_finished`), `decode` appends `TextMessage` or `BytesMessage` events
        instead of a `str` or `bytes`. Text is cut between characters. Only the last chunk may be empty.

        Returns:
            The gathered part of a message, as its first chunk; None if there is none.
        """
        if self.failed or self.closed:
            return None
        if self._partial is not None:
            self._take_over(self._partial)
        self._armed = True
        self._between = False
        return None if self._message is None else self._message.take_chunk()[0]

    def discard(self) -> None:
        """Drop all messages from now on: of them only the frames' headers are read, and held to the rules.

        Payloads are not unmasked, inflated or decoded, so errors in them are not found. Control frames are given.
        """
        if self._partial is not None:
            self._take_over(self._partial)
        self._discarding = True
        self._between = self._armed = False
        if self._message is not None:  # what is gathered of it is let go of
            self._message = BinaryAssembler()
            self._target = self._target and self._message

    def _take_over(self, partial: Partial) -> None:
        """Go on with a message whose beginning the compiled core has received."""
        self._partial = None
        first, left, key, beginning = partial.take()
        self._begin_frame(first, left + len(beginning))
        self._in_payload = True
        self._left = left
        self._key = key or b""
        if self._message is not None:
            self._message.add(beginning)

    def _decode(self, data: Data, position: int, out: list[Event], stop: int) -> int:
        end = len(data)
        slow = 0
        self._work_left = self._work
        while position < end and not self.closed:
            before, count = position, len(out)
            if self._in_between:
                position = self._whole_messages(data, position, out, stop)
            if position == before:
                position = self._step(data, position, out)
                slow += 1
                if slow == self._patience or self._work_left <= 0:
                    break
            if len(out) > count and (len(out) >= stop or self.budget <= 0):
                break
        return position

    def _whole_messages(self, data: Data, position: int, out: list[Event], stop: int) -> int:
        """Decode messages in one frame, from `position` on; return where they end. All else is left to `_step`."""
        position, self.budget = whole_messages(
            data,
            position,
            out,
            stop,
            self.budget,
            masked=self._masked,
            largest=self._max_message_size,
            apply_mask=self._apply_mask,
        )
        return position

    def _step(self, data: Data, position: int, out: list[Event]) -> int:
        """Go on to the end of the frame, or of `data`; return where that is."""
        if not self._in_payload:
            position = self._read_header(data, position)
            if not self._in_payload:
                return position
        target = self._target
        if target is None:
            part = self._unmask(data[position : position + self._left])
            self._take(len(part))
            self._control += part
            if not self._in_payload:
                out.append(self._control_item())
            return position + len(part)
        if self._discarding:
            position += self._take(min(self._left, len(data) - position))
            self._message = None if self._ends_message else target
            return position
        if self._message_inflater is not None:
            return position + self._inflate(self._message_inflater, target, data, position, out)
        part = self._unmask(data[position : position + self._left])
        self._take(len(part))
        self._take_in(target, part, out)
        return position + len(part)

    def _take(self, size: int) -> int:
        """Take `size` bytes of the payload; return that."""
        self._left -= size
        self._in_payload = self._left > 0
        return size

    @property
    def _ends_message(self) -> bool:
        """Whether the payload that was taken last is the end of its message."""
        return self._fin and not self._in_payload

    def _unmask(self, part: Data) -> bytes:
        if not self._masked:
            return bytes(part)
        key = self._key
        self._key = rotate(key, len(part))
        return self._apply_mask(part, key)

    def _read_header(self, data: Data, position: int) -> int:
        """Gather the header's parts (start, length, key), each judged when it is there; return the end."""
        while not self._in_payload:
            part = data[position : position + self._need - len(self._head)]
            self._head += part
            position += len(part)
            if len(self._head) < self._need:
                break
            self._judge(self._head)
        return position

    def _judge(self, head: bytes) -> None:
        """Judge the part of the header that is complete now, and say how much is needed for the next."""
        length_end = START_SIZE + EXTENDED_LENGTH.get(head[1] & LENGTH_BITS, 0)
        if self._need == START_SIZE:
            in_message, compression = self._message is not None, self._inflater is not None
            check_start(head, in_message=in_message, compression=compression, masked=self._masked)
            if length_end > START_SIZE:
                self._need = length_end
                return
        if self._need == length_end:
            self._begin_frame(head[0], read_length(head))
            if self._masked:
                self._need = length_end + KEY_SIZE
                return
        self._key = head[length_end:]
        self._in_payload = True
        self._need = START_SIZE
        self._head = b""

    def _begin_frame(self, first: int, size: int) -> None:
        self._opcode = opcode = first & OPCODE_BITS
        self._fin = bool(first & FIN)
        self._left = size
        if opcode in DATA_OPCODES:
            self._message = TextAssembler() if opcode == TEXT else BinaryAssembler()
            self._message_inflater = self._inflater if first & RSV1 else None
            self._fragments = self._wire_size = self._inflated = 0
        if opcode >= CLOSE:
            self._target = None
            return
        self._target = self._message
        self._fragments += 1
        self._wire_size += size
        check_message_size(
            self._wire_size,
            self._fragments,
            max_message_size=self._max_message_size,
            max_fragments=self._max_fragments,
            compressed=self._message_inflater is not None,
        )

    def _take_in(self, message: Assembler, part: bytes, out: list[Event]) -> None:
        """Add the part to its message, and give what can be given of that."""
        item: Event | None = None
        size = 0
        if self._ends_message:
            item, size = message.finish_chunk(part) if self._armed else message.finish(part)
            self._message = None
            self._armed = False
        else:
            message.add(part)
            if self._armed:
                item, size = message.take_chunk()
        if item is not None:
            out.append(item)
            self.budget -= size

    def _inflate(self, inflater: Inflater, target: Assembler, data: Data, position: int, out: list[Event]) -> int:
        """Inflate the next part of a message, as far as this turn's work goes; return how much of `data` it was."""
        key = self._key
        part = self._unmask(data[position : position + min(self._left, COMPRESSED_PART)])
        final = self._fin and self._left == len(part)
        limit = self._max_message_size - self._inflated
        inflated = inflater.inflate(part, final=final, limit=limit, most=self._work_left)
        self._inflated += len(inflated)
        self.inflated += len(inflated)
        self._work_left -= len(inflated)
        size = len(part) - inflater.left
        if inflater.left:
            self._key = rotate(key, size)
        self._take(size)
        self._take_in(target, inflated, out)
        return size

    def _control_item(self) -> Ping | Pong | CloseConnection:
        payload, self._control = self._control, b""
        item = read_control(self._opcode, payload)
        if isinstance(item, CloseConnection):
            self.closed = True
            self._forget()
        return item

    def release(self) -> None:
        """Discard what comes from now on, and free the context of earlier messages."""
        self.closed = True
        self._between = False
        self._forget()
        self._inflater = self._message_inflater = None

    def _forget(self) -> None:
        """Drop the data of an incomplete message."""
        self._message = self._target = self._partial = None
        self._head = self._control = b""
