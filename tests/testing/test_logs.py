"""Collecting the library's log records: the level in the block, and the level afterwards."""

from __future__ import annotations

import logging

import pytest

from trio_ws.testing.logs import LOGGER, captured

LEVELS = [logging.DEBUG, logging.INFO, logging.WARNING, logging.ERROR]


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("set_before", [logging.NOTSET, *LEVELS])
def test_records_from_the_level_on_are_collected(level: int, set_before: int) -> None:
    """Whether the logger is more talkative than that, or less."""
    records: list[logging.LogRecord] = []
    before = LOGGER.level
    LOGGER.setLevel(set_before)
    try:
        with captured(records, level):
            for each in LEVELS:
                logging.getLogger("trio_ws.server").log(each, "said")
        logging.getLogger("trio_ws.server").error("afterwards")
        assert LOGGER.level == set_before
    finally:
        LOGGER.setLevel(before)
    assert [record.levelno for record in records] == [each for each in LEVELS if each >= level]
