"""Topics that a backplane carries, of rooms and of the library.

A topic is the name under which a backplane carries messages and presence. Topics of the library begin with one NUL.
A room's topic is its name, with a second NUL before a name that begins with one: no name of a room is a topic of the
library, and no two rooms share a topic.
"""

from __future__ import annotations

from typing import Final

__all__ = [
    "BROADCAST",
    "MAX_NAME_SIZE",
    "REVOCATIONS",
    "budget_topic",
    "check_member",
    "check_name",
    "checked_key",
    "encoded",
    "topic_of",
]

_RESERVED: Final = "\N{NULL}"

BROADCAST: Final = f"{_RESERVED}everyone"
"""Carries `App.broadcast`."""

REVOCATIONS: Final = f"{_RESERVED}revocations"
"""Carries `App.revoke`."""

MAX_NAME_SIZE: Final = 8192
"""Bytes of UTF-8 that a room's name may have: as many as a request line, so that each path parameter fits."""

MAX_MEMBER_SIZE: Final = 256
"""Bytes of UTF-8 that the id of a member may have."""


def budget_topic(name: str, key: str) -> str:
    """Return the topic of one account of a shared budget."""
    return f"{_RESERVED}budget{_RESERVED}{name}{_RESERVED}{key}"


def topic_of(room: str) -> str:
    """Return the topic of the room with that name."""
    return _RESERVED + room if room.startswith(_RESERVED) else room


def encoded(text: str, subject: str) -> bytes:
    """Encode a text as UTF-8.

    Args:
        text: any text.
        subject: the name of the text, for the error.

    Raises:
        ValueError: it has lone surrogates.
    """
    try:
        return text.encode()
    except UnicodeEncodeError as error:
        problem = f"{subject} has a lone surrogate at character {error.start}, which UTF-8 cannot carry"
        raise ValueError(problem) from None


def check_name(name: object) -> None:
    """Check the name of a room.

    Raises:
        TypeError: it is not text.
        ValueError: UTF-8 cannot carry it, or it is longer than `MAX_NAME_SIZE`.
    """
    if not isinstance(name, str):
        raise TypeError(f"the name of a room is text, not {type(name).__name__}: {name!r:.80}")
    if (size := len(encoded(name, "the name of a room"))) > MAX_NAME_SIZE:
        raise ValueError(f"the name of a room has {size} bytes of UTF-8, at most {MAX_NAME_SIZE} are possible")


def checked_key(key: object) -> str:
    """Return the key of a message.

    Raises:
        TypeError: it is not text.
        ValueError: it is empty, or has lone surrogates.
    """
    if not isinstance(key, str):
        raise TypeError(f"the key of a message is text, not {type(key).__name__}: {key!r:.80}")
    if not encoded(key, "the key of a message"):
        raise ValueError("the key of a message is empty: leave it out for none")
    return key


def check_member(name: object) -> None:
    """Check the id of a member.

    Raises:
        TypeError: it is not text.
        ValueError: it is empty, has white space, which stands between ids, or lone surrogates, or is too long.
    """
    if not isinstance(name, str):
        raise TypeError(f"the id of a member is text, not {type(name).__name__}: {name!r:.80}")
    size = len(encoded(name, "the id of a member"))
    if name.split() != [name] or size > MAX_MEMBER_SIZE:
        raise ValueError(
            f"the id of a member has from 1 to {MAX_MEMBER_SIZE} bytes of UTF-8, and no white space: {name!r:.80}"
        )
