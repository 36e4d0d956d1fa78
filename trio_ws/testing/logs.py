"""Log records of the library, collected while a test client serves."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

__all__ = ["captured"]

LOGGER: Final = logging.getLogger("trio_ws")


class _Collector(logging.Handler):
    def __init__(self, records: list[logging.LogRecord]) -> None:
        super().__init__()
        self._records = records

    def emit(self, record: logging.LogRecord) -> None:
        self._records.append(record)


@contextmanager
def captured(records: list[logging.LogRecord], level: int) -> Iterator[None]:
    """Append the log records of the library in the block to a list.

    Args:
        records: the list.
        level: the lowest level; loggers that are less talkative talk so much in the block.
    """
    collector, before = _Collector(records), LOGGER.level
    collector.setLevel(level)
    LOGGER.addHandler(collector)
    if LOGGER.getEffectiveLevel() > level:
        LOGGER.setLevel(level)
    try:
        yield
    finally:
        LOGGER.removeHandler(collector)
        LOGGER.setLevel(before)
