"""Each planted fault is found by a case that names the section of the rule that it breaks."""

from __future__ import annotations

import logging

import pytest

from trio_ws.conformance.catalogue import all_cases, select
from trio_ws.conformance.results import Verdict

from .faults import FAULTS, use_pure_codec
from .rigs import SMALL, client_results, server_results

CASES = all_cases(SMALL)
RUN = {"server": server_results, "client": client_results}


def test_more_than_sixty_faults_have_names_of_their_own():
    assert len({fault.name for fault in FAULTS}) == len(FAULTS) > 60
    assert {fault.side for fault in FAULTS} == set(RUN)


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
async def test_a_fault_is_found(fault, monkeypatch, caplog, autojump_clock):
    caplog.set_level(logging.CRITICAL + 1, logger="trio_ws")  # until the end of the test
    use_pure_codec(monkeypatch)
    fault.plant(monkeypatch)
    cases = select(CASES, fault.side, only=[fault.only])[:40]
    results = await RUN[fault.side](cases, strict=False)
    found = [each for each in results if each.verdict is Verdict.FAILED]
    named = {each.section for each in found} | {each.case.section for each in found}
    assert fault.section in named, [f"{each.case.id} {each.verdict} {each.text}" for each in results]
