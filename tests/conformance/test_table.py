"""The table holds every case of the published list, once, and leaves room for interpretation only where it says why."""

from __future__ import annotations

from collections import Counter

from .table import CASES, COUNTS, GROUPS


def section(case):
    return case.id.rpartition(".")[0]


def test_each_section_has_as_many_cases_as_the_list():
    assert Counter(map(section, CASES)) == COUNTS
    assert len(CASES) == 517


def test_cases_of_a_section_are_numbered_from_1_without_repeats():
    """The cases of a section are numbered from 1 and none occurs twice."""
    numbers = {name: [] for name in COUNTS}
    for case in CASES:
        numbers[section(case)].append(int(case.id.rpartition(".")[2]))
    assert numbers == {name: list(range(1, count + 1)) for name, count in COUNTS.items()}


def test_groups_of_the_report_are_exactly_those_with_cases():
    """Each group of the report has cases and no other group has."""
    assert {case.group for case in CASES} == set(GROUPS)


def test_a_part_of_the_answers_is_enough_in_seven_cases_only():
    assert [case.id for case in CASES if case.nonstrict] == ["3.2", "4.1.3", "4.1.4", "4.2.3", "4.2.4", "5.15", "7.1.6"]


def test_every_case_sends_something():
    assert all(case.steps and case.what for case in CASES)
