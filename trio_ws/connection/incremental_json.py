"""JSON values of large messages, read in pieces, so that other tasks run between them.

The pieces are cut where one element of an array or object ends and the next begins, and parsed by Python's `json` in C;
small messages are `codec`'s. The work grows with the length of the text, however it is nested.
"""

from __future__ import annotations

import re
from json import JSONDecodeError, detect_encoding
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import trio

from trio_ws.connection.serialization import DECODER, MAX_DEPTH, exceeds_depth, from_json, too_deep
from trio_ws.errors import InvalidMessage

if TYPE_CHECKING:
    from collections.abc import Generator

    from trio_ws.connection.channel import Channel

__all__ = ["PIECE", "read_json"]

PIECE: Final = 32 * 1024
"""Characters that are parsed in one step: one to five milliseconds where each is a value of its own."""
_ROUND: Final = 64
"""What one round of the loop counts for, in characters, beside those that it parses."""
_LEVELS: Final = 3
"""Levels below an element that one regular expression looks through. What is nested deeper is tried as a whole."""

_STRING: Final = r'"(?:[^"\\]++|\\.)*+"'


def _inside(levels: int) -> str:
    """Return what matches the inside of brackets; which bracket ends which is for the parser to say."""
    below = rf"|[\[{{]{_inside(levels - 1)}[\]}}]" if levels else ""
    return rf'(?:[^"\[\]{{}}]++|{_STRING}{below})*+'


_ELEMENT_TEXT: Final = rf'(?:[^",\[\]{{}}]++|{_STRING}|[\[{{]{_inside(_LEVELS)}[\]}}])*+'
_ELEMENT: Final = re.compile(_ELEMENT_TEXT, re.DOTALL)
_ELEMENTS: Final = re.compile(rf"(?:{_ELEMENT_TEXT},)*+", re.DOTALL)
_WHOLE_STRING: Final = re.compile(_STRING, re.DOTALL)
_BLANK: Final = re.compile(r"[ \t\n\r]*+")
_KEY: Final = re.compile(rf"[ \t\n\r]*+({_STRING})[ \t\n\r]*+:[ \t\n\r]*+", re.DOTALL)

_Container: TypeAlias = list[Any] | dict[str, Any]


async def read_json(message: str | bytes, channel: Channel) -> Any:
    """Return the value of a JSON message; let other tasks run while a large one is read.

    Args:
        message: text or binary.
        channel: where it came from; the work counts against the share of the task that receives.

    Raises:
        InvalidMessage: it is not JSON (RFC 8259), NaN and infinity included, or is nested too deeply.
    """
    channel.reader.count_work(len(message))
    if len(message) <= PIECE:
        return from_json(message)
    try:
        steps = in_pieces(message if isinstance(message, str) else message.decode(detect_encoding(message)))
        while True:
            next(steps)
            # Shielded: the message was taken from the inbox, and a cancellation must not lose it.
            await trio.lowlevel.cancel_shielded_checkpoint()
    except StopIteration as end:
        return end.value
    except RecursionError:
        raise InvalidMessage(too_deep(MAX_DEPTH), message) from None
    except ValueError as error:
        raise InvalidMessage(f"not JSON: {error}", message) from None


def in_pieces(text: str) -> Generator[None, None, Any]:
    """Return the value of a text; pause after each piece.

    Raises:
        ValueError: it is not JSON.
        RecursionError: it is nested too deeply.
    """
    begin = _blank(text, 0)
    if text[begin : begin + 1] not in ("[", "{"):
        return DECODER.decode(text)
    reader = _Reader(text, begin)
    while not reader.done:
        if reader.work >= PIECE:
            reader.work = 0
            yield
        reader.advance()
    return reader.container


class _Reader:
    """Reads the elements of one array or object after the other.

    Args:
        text: all of it.
        begin: where the outermost bracket is.

    Attributes:
        container: what is being read; at the end the value.
        done: whether the outermost container is complete.
        work: characters that were looked at since the last pause.
    """

    def __init__(self, text: str, begin: int) -> None:
        self.text = text
        self.done = False
        self.work = 0
        self.container: _Container = [] if text[begin] == "[" else {}
        self._around: list[tuple[_Container, str | None]] = []  # with the key of what is being read
        self._position = begin + 1
        self._after_comma = False
        self._credit = PIECE  # characters that may be parsed in vain

    def advance(self) -> None:
        """Read what of the container is in reach, or go into what is nested in it, or leave it."""
        text, position = self.text, self._position
        self.work += _ROUND
        end = _ELEMENTS.match(text, position, position + PIECE).end()  # type: ignore[union-attr]  # it may be empty
        if end > position:
            self._read_elements(end - 1)
            return
        end = self._element_end(position)
        mark = text[end : end + 1]
        if mark == ",":
            self._read_elements(end)
        elif mark in ("[", "{"):
            self._enter(end)
        elif mark == ("]" if isinstance(self.container, list) else "}"):
            if self._after_comma or _blank(text, position) < end:
                self._read_elements(end)
            self._position = end + 1
            self._leave()
        else:
            raise JSONDecodeError("Expecting ',' delimiter or the end of the value", text, end)

    def _element_end(self, position: int) -> int:
        """Return where an element ends, or a bracket in it begins that is not closed within reach."""
        text = self.text
        while True:
            end = _ELEMENT.match(text, position, position + PIECE).end()  # type: ignore[union-attr]  # it may be empty
            if text.startswith('"', end):
                string = _WHOLE_STRING.match(text, end)
                if string is None:
                    raise JSONDecodeError("Unterminated string starting at", text, end)
                position = string.end()
            elif end < position + PIECE:
                return end
            else:
                position = end

    def _read_elements(self, end: int) -> None:
        """Parse whole elements, from the position to a comma or the container's end."""
        begin, container = self._position, self.container
        piece = self.text[begin:end]
        if isinstance(container, list):
            values = self._decode(f"[{piece}]", begin - 1)
            container.extend(values)
        else:
            values = self._decode(f"{{{piece}}}", begin - 1)
            container.update(values)
        if not values:
            raise JSONDecodeError("Expecting value", self.text, begin)
        self._consumed(end + 1)
        self._after_comma = True

    def _consumed(self, end: int) -> None:
        size = end - self._position
        self.work += size
        self._credit = min(PIECE, self._credit + size)
        self._position = end

    def _decode(self, piece: str, begin: int) -> Any:
        try:
            value = DECODER.decode(piece)
        except JSONDecodeError as error:
            raise JSONDecodeError(error.msg, self.text, begin + error.pos) from None
        self._check_depth(piece, value, MAX_DEPTH - len(self._around))
        return value

    @staticmethod
    def _check_depth(text: str, value: Any, bound: int) -> None:
        if exceeds_depth(text, value, bound):
            raise RecursionError

    def _enter(self, bracket: int) -> None:
        """Parse a nested value as a whole if it ends within reach; else read on within it."""
        key = self._key(bracket)
        self._consumed(bracket)
        try:
            value, size = DECODER.raw_decode(self.text[bracket : bracket + self._credit])
        except JSONDecodeError:  # it is cut, or wrong, which is seen where it is
            self.work += self._credit
            self._credit = 0
            self._around.append((self.container, key))
            if len(self._around) >= MAX_DEPTH:
                raise RecursionError from None
            self.container = [] if self.text[bracket] == "[" else {}
            self._after_comma = False
            self._position = bracket + 1
            return
        self._check_depth(self.text[bracket : bracket + size], value, MAX_DEPTH - len(self._around) - 1)
        self._consumed(bracket + size)
        self._add(self.container, key, value)
        self._go_behind_value()

    def _key(self, bracket: int) -> str | None:
        """Return the key of the nested value in an object; None in an array."""
        text, position = self.text, self._position
        if isinstance(self.container, list):
            if _blank(text, position) < bracket:
                raise JSONDecodeError("Expecting ',' delimiter", text, bracket)
            return None
        found = _KEY.fullmatch(text, position, bracket)
        if found is None:
            raise JSONDecodeError("Expecting property name enclosed in double quotes and ':'", text, position)
        key: str = self._decode(found[1], found.start(1))
        return key

    @staticmethod
    def _add(container: _Container, key: str | None, value: Any) -> None:
        if isinstance(container, list):
            container.append(value)
        elif key is not None:
            container[key] = value

    def _leave(self) -> None:
        """Put the container, which is complete, into the one around it."""
        if not self._around:
            end = _blank(self.text, self._position)
            if end < len(self.text):
                raise JSONDecodeError("Extra data", self.text, end)
            self.done = True
            return
        value = self.container
        self.container, key = self._around.pop()
        self._add(self.container, key, value)
        self._go_behind_value()

    def _go_behind_value(self) -> None:
        """After a nested value a comma stands, or the end of its container."""
        position = _blank(self.text, self._position)
        self._after_comma = self.text.startswith(",", position)
        if not self._after_comma and not self.text.startswith(("]", "}"), position):
            raise JSONDecodeError("Expecting ',' delimiter", self.text, position)
        self._consumed(position + self._after_comma)


def _blank(text: str, position: int) -> int:
    """Return where the white space at a position ends."""
    return _BLANK.match(text, position).end()  # type: ignore[union-attr]  # it may be empty
