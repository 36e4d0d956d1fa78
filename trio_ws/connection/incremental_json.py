"""JSON values of large messages, read in pieces, so that other tasks run between them.

The pieces are cut where one element of an array or object ends and the next begins, or within a long string, and parsed
by Python's `json` in C; small messages are `codec`'s. The work grows with the length of the text, however it is nested.
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
_PARTS: Final = 64
"""The least part of a piece that is tried as a whole: for less, what was read since the last try must suffice."""
_LEVELS: Final = 5
"""Levels below an element that one regular expression looks through. What is nested deeper is tried as a whole."""

_STRING: Final = r'"(?:[^"\\]++|\\.)*+"'


def _inside(levels: int) -> str:
    """Return a pattern for the inside of brackets; the parser decides which bracket ends which."""
    below = rf"|[\[{{]{_inside(levels - 1)}[\]}}]" if levels else ""
    return rf'(?:[^"\[\]{{}}]++|{_STRING}{below})*+'


_ELEMENT_TEXT: Final = rf'(?:[^",\[\]{{}}]++|{_STRING}|[\[{{]{_inside(_LEVELS)}[\]}}])*+'
_FLAT: Final = re.compile(rf'(?:[^",\[\]{{}}]++|{_STRING})*+', re.DOTALL)
_ELEMENTS: Final = re.compile(rf"(?:{_ELEMENT_TEXT},)*+", re.DOTALL)
_IN_STRING: Final = re.compile(r'(?:[^"\\]++|\\u[0-9a-fA-F]{4}|\\[^u])*+', re.DOTALL)
_LONGEST_ESCAPE: Final = 6
_LOW_SURROGATE: Final = re.compile(r"\\u[dD][c-fC-F]")
_SCALAR: Final = re.compile(r'[^ \t\n\r,:\[\]{}"]*+')
_BLANK: Final = re.compile(r"[ \t\n\r]*+")

_Container: TypeAlias = list[Any] | dict[str, Any]
_Steps: TypeAlias = "Generator[None, None, Any]"
"""Pauses when there was enough work for one step; returns its result at the end."""


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


def in_pieces(text: str) -> _Steps:
    """Return the value of a text; pause after each piece.

    Raises:
        ValueError: it is not JSON.
        RecursionError: it is nested too deeply.
    """
    return _Reader(text).read()


class _Reader:
    """Reads the elements of one array or object after the other.

    Args:
        text: all of it.

    Attributes:
        work: characters that were looked at since the last pause.
    """

    def __init__(self, text: str) -> None:
        self.text = text
        self.work = 0
        # The outermost value is the one element of a list that no text stands for.
        self._outermost: list[Any] = []
        self._container: _Container = self._outermost
        self._around: list[tuple[_Container, str | None]] = []  # with the key of what is being read
        self._position = 0
        self._after_comma = False
        self._credit = PIECE  # characters that may be parsed in vain

    def read(self) -> _Steps:
        """Read the text to its end, and return its value."""
        yield from self._read_slowly()
        while self._around:
            if self.work >= PIECE:
                self.work = 0
                yield
            yield from self._advance()
        if self._position < len(self.text):
            raise JSONDecodeError("Extra data", self.text, self._position)
        return self._outermost[0]

    def _advance(self) -> _Steps:
        """Read what of the container is in reach, or go into what is nested in it, or leave it."""
        text, position = self.text, self._position
        self.work += _ROUND
        reach = position + PIECE
        end = _ELEMENTS.match(text, position, reach).end()  # type: ignore[union-attr]  # it may be empty
        if end > position:
            self._read_elements(end - 1)
            return
        end = _FLAT.match(text, position, reach).end()  # type: ignore[union-attr]  # it may be empty
        self.work += end - position
        if end < reach and text[end : end + 1] == ("]" if isinstance(self._container, list) else "}"):
            if self._after_comma or _BLANK.fullmatch(text, position, end) is None:
                self._read_elements(end)
            self._position = end + 1
            yield from self._leave()
        else:
            yield from self._skip_blank()
            if self._position == position or not text.startswith(("]", "}"), self._position):
                yield from self._read_slowly()

    def _read_elements(self, end: int) -> None:
        """Parse whole elements, from the position to a comma or the container's end."""
        begin, container = self._position, self._container
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

    def _read_slowly(self) -> _Steps:
        """Read one element that is not within reach, or is wrong, token by token; or go into it."""
        yield from self._skip_blank()
        key = None
        if isinstance(self._container, dict):
            if not self.text.startswith('"', self._position):
                raise JSONDecodeError("Expecting property name enclosed in double quotes", self.text, self._position)
            key = yield from self._read_string()
            yield from self._skip_blank()
            if not self.text.startswith(":", self._position):
                raise JSONDecodeError("Expecting ':' delimiter", self.text, self._position)
            self._consumed(self._position + 1)
            yield from self._skip_blank()
        mark = self.text[self._position : self._position + 1]
        if mark in ("[", "{"):
            yield from self._enter(key)
        else:
            value = yield from self._read_string() if mark == '"' else self._read_scalar()
            yield from self._add(key, value)

    def _read_string(self) -> _Steps:
        """Read a string, however long, in pieces that hold whole escapes, and both halves of a surrogate pair."""
        text, begin = self.text, self._position
        pieces = []
        self._consumed(begin + 1)
        while True:
            position = self._position
            reach = position + PIECE + _LONGEST_ESCAPE - 1
            end = _IN_STRING.match(text, position, reach).end()  # type: ignore[union-attr]  # it may be empty
            if end < position + PIECE and not text.startswith('"', end):
                raise JSONDecodeError("Invalid escape in, or no end of, the string starting at", text, begin)
            if _LOW_SURROGATE.match(text, end):  # it may be half of a pair
                end += _LONGEST_ESCAPE
            pieces.append(self._decode(f'"{text[position:end]}"', position - 1))
            self._consumed(end)
            if text.startswith('"', end):
                self._consumed(end + 1)
                return "".join(pieces)
            if self.work >= PIECE:
                self.work = 0
                yield

    def _read_scalar(self) -> _Steps:
        """Read a number, true, false or null; anything else is an error."""
        begin = self._position
        end = yield from self._reach(_SCALAR)
        return self._decode(self.text[begin:end], begin)

    def _skip_blank(self) -> _Steps:
        yield from self._reach(_BLANK)

    def _reach(self, pattern: re.Pattern[str]) -> _Steps:
        """Move the position to where what the pattern matches ends, and return it."""
        while True:
            reach = self._position + PIECE
            end = pattern.match(self.text, self._position, reach).end()  # type: ignore[union-attr]  # it may be empty
            self._consumed(end)
            if end < reach:
                return end
            if self.work >= PIECE:
                self.work = 0
                yield

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
        # A piece of a container has that container's brackets, so its own level counts.
        self._check_depth(piece, value, MAX_DEPTH - len(self._around) + 1)
        return value

    @staticmethod
    def _check_depth(text: str, value: Any, bound: int) -> None:
        if exceeds_depth(text, value, bound):
            raise RecursionError

    def _enter(self, key: str | None) -> _Steps:
        """Parse a nested value as a whole if it ends within reach; else read on within it."""
        bracket = self._position
        tried = self._credit if self._around and self._credit >= PIECE // _PARTS else 0
        try:
            value, size = DECODER.raw_decode(self.text[bracket : bracket + tried])
        except ValueError:  # it is cut, a number in it perhaps, or wrong, which is seen where it is
            self.work += tried
            self._credit -= tried
            self._around.append((self._container, key))
            if len(self._around) > MAX_DEPTH:
                raise RecursionError from None
            self._container = [] if self.text[bracket] == "[" else {}
            self._after_comma = False
            self._position = bracket + 1
            return
        self._check_depth(self.text[bracket : bracket + size], value, MAX_DEPTH - len(self._around))
        self._consumed(bracket + size)
        yield from self._add(key, value)

    def _leave(self) -> _Steps:
        """Put the container, which is complete, into the one around it."""
        value = self._container
        self._container, key = self._around.pop()
        yield from self._add(key, value)

    def _add(self, key: str | None, value: Any) -> _Steps:
        """Put a value into its container; a comma stands behind it, or the container's end."""
        container = self._container
        if isinstance(container, list):
            container.append(value)
        elif key is not None:
            container[key] = value
        yield from self._skip_blank()
        if not self._around:  # the end of the text
            return
        position = self._position
        self._after_comma = self.text.startswith(",", position)
        if not self._after_comma and not self.text.startswith(("]", "}"), position):
            raise JSONDecodeError("Expecting ',' delimiter", self.text, position)
        self._consumed(position + self._after_comma)
