"""The info of members as other processes see it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from trio_ws.connection.serialization import from_json

if TYPE_CHECKING:
    from trio_ws.connection.encoders import ToJSON

__all__ = ["presence_info"]

_UNCHANGED: Final = (str, int, bool, type(None))


def presence_info(info: Mapping[str, Any], encode: ToJSON) -> Mapping[str, Any]:
    """Return a member's info as values of JSON; unchanged if JSON cannot express it.

    Args:
        info: as it was given to `join`.
        encode: the application's encoder.
    """
    if all(type(value) in _UNCHANGED for value in info.values()):
        return info
    try:
        plain = from_json(encode(dict(info), wrapped=1), wrapped=1)
    except (TypeError, ValueError):
        return info
    return plain if isinstance(plain, dict) else info
