"""The frame decoder, from bytes to messages and control frames.

It does no I/O and answers nothing: `endpoint` answers close and ping frames. `whole` reads messages in a single frame;
`incoming` is the frame, and the message, that came in parts; `deflate` inflates. It never raises on data of a peer.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from trio_ws.native.choice import DecoderState
from trio_ws.protocol.deflate import COMPRESSED_PART, InflateError, Inflater, InflateTooBig
from trio_ws.protocol.events import Event, violation_of
from trio_ws.protocol.frames import DATA_OPCODES, MASKED, RSV1, START_SIZE, Data
from trio_ws.protocol.incoming import IncomingFrame, IncomingMessage
from trio_ws.protocol.items import BytesMessage, CloseConnection, Ping, Pong, TextMessage
from trio_ws.protocol.masking import apply_mask
from trio_ws.protocol.validation import ProtocolViolation, check_start, read_control, read_length
from trio_ws.protocol.whole import whole_control, whole_messages

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
        "_frame",
        "_inflater",
        "_max_fragments",
        "_message",
        "_work",
        "_work_left",
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
        self._armed = False  # a message is streamed: the one that is gathered, or the next
        self._frame: IncomingFrame | None = None
        self._message: IncomingMessage | None = None

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
        self.budget = min(max_bytes, sys.maxsize)
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
        self.budget = min(max_bytes, sys.maxsize)
        if not self._between:
            return 0
        before = len(out)
        try:
            return self._whole_messages(data, 0, out, stop)
        except UnicodeDecodeError:
            del out[before:]
            self.budget = min(max_bytes, sys.maxsize)
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
        return not (self._frame or self._message or self._armed or self._discarding)

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
        return None if self._message is None else self._message.assembler.take_chunk()[0]

    def discard(self) -> None:
        """Drop all messages from now on: of them only the frames' headers are read, and held to the rules.

        Payloads are not unmasked, inflated or decoded, so errors in them are not found. Control frames are given.
        """
        if self._partial is not None:
            self._take_over(self._partial)
        self._discarding = True
        self._between = self._armed = False
        if self._message is not None:
            self._message.drop()

    def _take_over(self, partial: Partial) -> None:
        """Go on with a message whose beginning the compiled core has received."""
        self._partial = None
        first, left, key, beginning = partial.take()
        self._frame = frame = IncomingFrame()
        message = self._begin_frame(frame, first, left + len(beginning))
        frame.in_payload = True
        frame.left = left
        frame.key = key or b""
        if message is not None:
            message.assembler.add(beginning)

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
        frame = self._frame
        if frame is None:
            control = whole_control(data, position, self._masked)
            if control is not None:
                opcode, payload, position = control
                out.append(self._control_item(opcode, payload))
                return position
            frame = self._frame = IncomingFrame()
        if not frame.in_payload:
            position = self._read_header(frame, data, position)
            if not frame.in_payload:
                return position
        position += self._read_payload(frame, data, position, out)
        if frame.is_over:
            self._frame = None
        return position

    # --- the header of a frame -----------------------------------------------------------------------------------

    def _read_header(self, frame: IncomingFrame, data: Data, position: int) -> int:
        """Gather the header's parts (start, length, key), each judged when it is there; return the end."""
        while not frame.in_payload:
            position = frame.gather(data, position)
            if not frame.part_is_complete:
                break
            self._judge(frame)
        return position

    def _judge(self, frame: IncomingFrame) -> None:
        """Judge the part of the header that is complete now, and say how much is needed for the next."""
        head, length_end = frame.head, frame.length_end
        if frame.need == START_SIZE:
            in_message, compression = self._message is not None, self._inflater is not None
            check_start(head, in_message=in_message, compression=compression, masked=self._masked)
            if length_end > START_SIZE:
                frame.need = length_end
                return
        if frame.need == length_end:
            self._begin_frame(frame, head[0], read_length(head))
            if self._masked:
                frame.expect_key()
                return
        frame.begin_payload()

    def _begin_frame(self, frame: IncomingFrame, first: int, size: int) -> IncomingMessage | None:
        """Begin a frame, and a message if it is the first of one; return its message, None for a control frame."""
        frame.begin(first, size)
        if frame.is_control:
            return None
        message = self._message
        if message is None or frame.opcode in DATA_OPCODES:
            message = self._message = IncomingMessage(frame.opcode, self._inflater if first & RSV1 else None)
        message.add_frame(size, max_message_size=self._max_message_size, max_fragments=self._max_fragments)
        return message

    # --- its payload ---------------------------------------------------------------------------------------------

    def _read_payload(self, frame: IncomingFrame, data: Data, position: int, out: list[Event]) -> int:
        """Take the next part of the payload; return its size."""
        message = self._message
        if frame.is_control:
            part = frame.take(data, position, self._apply_mask)
            frame.control += part
            if frame.is_over:
                out.append(self._control_item(frame.opcode, frame.control))
            return len(part)
        if message is None or self._discarding:
            skipped = frame.skip(len(data) - position)
            if frame.ends_message:
                self._message = None
            return skipped
        if message.inflater is not None:
            return self._inflate(frame, message, message.inflater, data, position, out)
        part = frame.take(data, position, self._apply_mask)
        self._take_in(frame, message, part, out)
        return len(part)

    def _take_in(self, frame: IncomingFrame, message: IncomingMessage, part: bytes, out: list[Event]) -> None:
        """Add the part to its message, and give what can be given of that."""
        item: Event | None = None
        size = 0
        assembler = message.assembler
        if frame.ends_message:
            item, size = assembler.finish_chunk(part) if self._armed else assembler.finish(part)
            self._message = None
            self._armed = False
        else:
            assembler.add(part)
            if self._armed:
                item, size = assembler.take_chunk()
        if item is not None:
            out.append(item)
            self.budget -= size

    def _inflate(  # noqa: PLR0917 - what it inflates, with what, from where to where
        self,
        frame: IncomingFrame,
        message: IncomingMessage,
        inflater: Inflater,
        data: Data,
        position: int,
        out: list[Event],
    ) -> int:
        """Inflate the next part of a message, as far as this turn's work goes; return the size of that part."""
        part = frame.take(data, position, self._apply_mask, COMPRESSED_PART)
        limit = self._max_message_size - message.inflated
        inflated = inflater.inflate(part, final=frame.ends_message, limit=limit, most=self._work_left)
        message.inflated += len(inflated)
        self.inflated += len(inflated)
        self._work_left -= len(inflated)
        if inflater.left:
            frame.give_back(inflater.left)
        self._take_in(frame, message, inflated, out)
        return len(part) - inflater.left

    def _control_item(self, opcode: int, payload: bytes) -> Ping | Pong | CloseConnection:
        item = read_control(opcode, payload)
        if isinstance(item, CloseConnection):
            self.closed = True
            self._forget()
        return item

    # --- the end -------------------------------------------------------------------------------------------------

    def release(self) -> None:
        """Discard what comes from now on, and free the context of earlier messages."""
        self.closed = True
        self._between = False
        self._forget()
        self._inflater = None

    def _forget(self) -> None:
        """Drop the data of an incomplete message."""
        self._frame = self._message = self._partial = None
