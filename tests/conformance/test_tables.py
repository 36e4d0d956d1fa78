"""The tables hold every case of the published list, once; those that it lacks are described, and cite a rule."""

from __future__ import annotations

import re
from collections import Counter

import pytest

from trio_ws.conformance.case import Level
from trio_ws.conformance.catalogue import UnknownCases, all_cases, all_chapters, select
from trio_ws.conformance.describe import allowed, sent
from trio_ws.conformance.opening import response
from trio_ws.conformance.scale import PUBLISHED

from .rigs import SMALL

COUNTS = {
    **{"1.1": 8, "1.2": 8, "2": 11, "3": 7, "4.1": 5, "4.2": 5, "5": 20},
    **{"6.1": 3, "6.2": 4, "6.3": 2, "6.4": 4, "6.5": 5, "6.6": 11, "6.7": 4, "6.8": 2, "6.9": 4, "6.10": 3, "6.11": 5},
    **{"6.12": 8, "6.13": 5, "6.14": 10, "6.15": 1, "6.16": 3, "6.17": 5, "6.18": 5, "6.19": 5, "6.20": 7, "6.21": 8},
    **{"6.22": 34, "6.23": 7, "7.1": 6, "7.3": 6, "7.5": 1, "7.7": 13, "7.9": 9, "7.13": 2},
    **{"9.1": 6, "9.2": 6, "9.3": 9, "9.4": 9, "9.5": 6, "9.6": 6, "9.7": 6, "9.8": 6, "10.1": 1},
    **{f"12.{section}": 18 for section in range(1, 6)},
    **{f"13.{section}": 18 for section in range(1, 8)},
}
"""Cases in each section of the published list."""
CASES = all_cases(SMALL)
PUBLISHED_CASES = [case for case in CASES if int(case.chapter) < 20]


def section(case):
    return case.id.rpartition(".")[0]


def test_each_section_has_as_many_cases_as_the_list():
    assert Counter(map(section, PUBLISHED_CASES)) == COUNTS
    assert len(PUBLISHED_CASES) == 517


def test_cases_of_a_section_are_numbered_without_gaps():
    numbers = {}
    for case in CASES:
        numbers.setdefault(section(case), []).append(int(case.id.rpartition(".")[2]))
    assert {name: sorted(found) for name, found in numbers.items()} == {
        name: list(range(1, len(found) + 1)) for name, found in numbers.items()
    }


@pytest.mark.parametrize("chapter", all_chapters(SMALL), ids=lambda chapter: chapter.number)
def test_each_case_cites_a_rule_and_says_what_it_does(chapter):
    for case in chapter.cases:
        assert case.chapter == chapter.number
        assert re.fullmatch(r"RFC \d{4} \d+(\.\d+)*", case.section), case
        assert case.title
        assert list(allowed(case))
        assert list(sent(case)) or case.side == "client" or case.answers or case.opening == "refused", case.id


def test_a_token_in_the_other_case_differs_in_that_alone():
    (case,) = [case for case in CASES if "accept token in capitals" in case.title]
    sent_head, right = case.response.encode("key", ()), response().encode("key", ())
    assert case.opening == "refused"
    assert sent_head != right
    assert sent_head.lower() == right.lower()


def test_the_published_scale_has_the_same_cases():
    assert [case.id for case in all_cases(PUBLISHED)] == [case.id for case in CASES]


@pytest.mark.parametrize(
    ("only", "skip", "level", "ids"),
    [
        (["7.1.1"], [], None, ["7.1.1"]),
        (["7.13"], [], None, ["7.13.1", "7.13.2"]),
        (["2"], ["2.?", "2.10"], None, ["2.11"]),
        (["6.4.*"], [], None, ["6.4.1", "6.4.2", "6.4.3", "6.4.4"]),
        (["6.4", "7.5"], [], Level.MUST, ["7.5.1"]),
        (["6.4", "28.2.1"], ["6.4.1"], Level.SHOULD, ["6.4.2", "6.4.3", "6.4.4"]),
    ],
)
def test_patterns_and_level_select_cases(only, skip, level, ids):
    assert [case.id for case in select(CASES, "server", only=only, skip=skip, level=level)] == ids


def test_cases_of_the_other_side_are_not_selected():
    assert not any(case.id.startswith("21.") for case in select(CASES, "server"))
    assert not any(case.id.startswith("20.") for case in select(CASES, "client"))


@pytest.mark.parametrize(("only", "skip"), [(["8"], []), ([], ["20.1.999"]), (["21"], [])])
def test_a_pattern_that_selects_nothing_is_an_error(only, skip):
    with pytest.raises(UnknownCases, match="no case of a server"):
        select(CASES, "server", only=only, skip=skip)
