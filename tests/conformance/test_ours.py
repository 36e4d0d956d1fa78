"""Our server and our client pass every case, and their applications see the same end as the wire."""

from __future__ import annotations

import pytest

from trio_ws.conformance.catalogue import all_chapters
from trio_ws.conformance.results import Verdict

from .rigs import SMALL, Witness, client_results, server_results

CHAPTERS = {chapter.number: chapter for chapter in all_chapters(SMALL)}
RUN = {"server": server_results, "client": client_results}
THOROUGH = {("12", "client"), ("13", "server")}
"""The same messages go through the same compression: one of these chapters on each side is enough at first."""
PLAYED = [
    pytest.param(
        chapter,
        side,
        id=f"{number} {side}",
        marks=[pytest.mark.thorough("test_a_chapter_in_memory")] * ((number, side) in THOROUGH),
    )
    for number, chapter in CHAPTERS.items()
    for side in RUN
    if any(case.tests(side) for case in chapter.cases)
]
NON_STRICT = ["3.2", "4.1.3", "4.1.4", "4.2.3", "4.2.4", "5.15", "7.1.6", "22.3.7", "22.3.9"]
"""A message and what ends the connection come in one write, so the message need not be answered any more."""


@pytest.mark.parametrize(("chapter", "side"), PLAYED)
async def test_a_chapter_in_memory(chapter, side, autojump_clock):
    """In virtual time, since some cases wait for our timeouts."""
    cases = [case for case in chapter.cases if case.tests(side)]
    witness = Witness()
    results = await RUN[side](cases, witness)
    assert [result.case for result in results] == cases
    wanting = [f"{each.case.id}: {each.text} ({each.section})" for each in results if each.verdict is not Verdict.OK]
    assert [text for text in wanting if text.split(":")[0] not in NON_STRICT] == []


@pytest.mark.parametrize("side", RUN)
async def test_the_application_sees_the_end_of_the_wire(side, autojump_clock):
    """A case per kind of ending: closed by the peer, failed by us, the stream's end without a close frame."""
    ids = ["1.1.1", "7.7.5", "7.3.1", "3.1", "6.3.1", "28.2.1"]
    by_id = {case.id: case for chapter in CHAPTERS.values() for case in chapter.cases}
    witness = Witness()
    await RUN[side]([by_id[number] for number in ids], witness)
    assert [(end.code, end.by) for end in witness.ends] == [
        (1000, "peer"),
        (1007, "peer"),
        (1005, "peer"),
        (1002, "local"),
        (1007, "local"),
        (1006, "network"),
    ]
