"""The payload of a message that arrives in parts, decoded and checked as it comes.

`decoder` cuts the parts and bounds the message. Each byte is copied and decoded a
bounded number of times, whatever the parts: both buffers grow by a factor, not by a step.
"""

from __future__ import annotations

from codecs import utf_8_decode
from io import StringIO
from typing import TypeAlias

from trio_ws.protocol.items import BytesMessage, TextMessage

__all__ = ["Assembler", "BinaryAssembler", "TextAssembler"]


class BinaryAssembler:
    """A binary message in the making."""

    __slots__ = ("_buffer",)

    def __init__(self) -> None:
        self._buffer = bytearray()

    def add(self, part: bytes) -> None:
        """Take in the next part."""
        self._buffer += part

    def finish(self, part: bytes) -> tuple[bytes, int]:
        """Take in the last part; return what was not taken yet, and its size in bytes."""
        if not self._buffer:
            return part, len(part)
        self._buffer += part
        return self._take()

    def take_chunk(self) -> tuple[BytesMessage | None, int]:
        """Remove the gathered data; return it, None for none, and its size in bytes."""
        data, size = self._take()
        return BytesMessage(data, message_finished=False) if data else None, size

    def finish_chunk(self, part: bytes) -> tuple[BytesMessage, int]:
        """Do as `finish`, for a message that was handed out in chunks."""
        data, size = self.finish(part)
        return BytesMessage(data), size

    def _take(self) -> tuple[bytes, int]:
        data = bytes(self._buffer)
        self._buffer = bytearray()
        return data, len(data)


class TextAssembler:
    """A text message in the making: decoded part by part, so that a wrong byte is seen when it comes (RFC
    6455 8.1).

    The text is kept decoded, so that nothing is decoded twice; a character that is cut waits as bytes for its
    rest.
    """

    __slots__ = ("_rest", "_size", "_text")

    def __init__(self) -> None:
        self._rest = b""
        self._size = 0
        self._text: StringIO | None = None

    def add(self, part: bytes) -> None:
        """Take in the next part.

        Raises:
            UnicodeDecodeError: no text begins with what came so far.
        """
        data = self._rest + part
        text, used = utf_8_decode(data, "strict", False)
        self._rest = rest = data[used:]
        if rest[:1] == b"\xed" and rest[1:] > b"\x9f":
            # The codec waits for the third byte of a surrogate, which is wrong from its second byte on (RFC
            # 3629 4).
            rest.decode()
        self._append(text, used)

    def finish(self, part: bytes) -> tuple[str, int]:
        """Take in the last part; return what was not taken yet, and its size in bytes of UTF-8.

        Raises:
            UnicodeDecodeError: the message is not UTF-8, or ends within a character.
        """
        if self._rest:
            part = self._rest + part
        text = str(part, "utf-8")
        if self._text is None:
            return text, len(part)
        self._append(text, len(part))
        return self._take()

    def take_chunk(self) -> tuple[TextMessage | None, int]:
        """Hand out, and forget, the whole characters that are gathered, if any; with their size in bytes."""
        text, size = self._take()
        return TextMessage(text, message_finished=False) if text else None, size

    def finish_chunk(self, part: bytes) -> tuple[TextMessage, int]:
        """Do as `finish`, for a message that was handed out in chunks."""
        text, size = self.finish(part)
        return TextMessage(text), size

    def _append(self, text: str, size: int) -> None:
        if self._text is None:
            self._text = StringIO()
        self._text.write(text)
        self._size += size

    def _take(self) -> tuple[str, int]:
        if self._text is None:
            return "", 0
        taken = self._text.getvalue(), self._size
        self._text = None
        self._size = 0
        return taken


Assembler: TypeAlias = TextAssembler | BinaryAssembler
"""A message in the making."""
