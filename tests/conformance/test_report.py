"""Reports and baselines: what is written can be read back, and text of the peer's does no harm."""

from __future__ import annotations

import io
import json
from xml.etree import ElementTree

import pytest

from trio_ws.conformance import baseline
from trio_ws.conformance.baseline import Baseline, InvalidBaseline
from trio_ws.conformance.case import Level
from trio_ws.conformance.catalogue import all_chapters
from trio_ws.conformance.log import LogEntry
from trio_ws.conformance.report.folder import add_to_folder
from trio_ws.conformance.report.json_report import from_json, to_json
from trio_ws.conformance.report.terminal import Progress, summary
from trio_ws.conformance.results import AgentResults, Result, Verdict

from .rigs import SMALL

CHAPTERS = all_chapters(SMALL)
BY_ID = {case.id: case for chapter in CHAPTERS for case in chapter.cases}
LOG = (LogEntry(0.25, "received", "CLOSE 1000 '<script>\x1b'", b"\x88\x02\x03\xe8", 4),)
NAMES = {"OK": "1.1.1", "NON-STRICT": "3.2", "FAILED": "7.1.6", "UNIMPLEMENTED": "12.1.1", "ERROR": "29.1.26"}


def results_of(agent="a <b> & c", side="server"):
    found = [
        Result(BY_ID[number], Verdict(verdict), "RFC 6455 5.5", f"<i>{verdict}</i>\x1b[2J", LOG, 0.5)
        for verdict, number in NAMES.items()
    ]
    return AgentResults(agent, side, found, "1.0")


def test_results_are_the_same_after_json():
    value = json.loads(json.dumps(to_json(results_of())))
    assert from_json(value, BY_ID.values()) == results_of()


def test_a_report_has_a_page_per_case_and_all_agents(tmp_path):
    add_to_folder(tmp_path, results_of("first"), CHAPTERS)
    add_to_folder(tmp_path, results_of("second", "client"), CHAPTERS)
    (tmp_path / "foreign.json").write_text("[]")
    overview = add_to_folder(tmp_path, results_of("first"), CHAPTERS).read_text()
    assert (overview.count("first"), overview.count("second")) == (1, 1)
    assert sorted(path.stem for path in tmp_path.glob("*.html")) == sorted([*NAMES.values(), "index"])
    page = (tmp_path / "7.1.6.html").read_text()
    assert "<h2>Allowed</h2>" in page
    assert page.count("88 02 03 e8") == 2


def test_text_of_the_peer_is_escaped_in_every_report(tmp_path):
    add_to_folder(tmp_path, results_of(), CHAPTERS)
    for path in tmp_path.iterdir():
        text = path.read_text()
        assert "\x1b" not in text, path
        if path.suffix == ".html":
            assert "<i>" not in text, path
            assert "<script>" not in text, path


def test_junit_counts_failures_and_what_was_skipped(tmp_path):
    add_to_folder(tmp_path, results_of("x"), CHAPTERS)
    suite = ElementTree.parse(tmp_path / "server-x.xml").getroot()
    assert {name: suite.get(name) for name in ("tests", "failures", "skipped")} == {
        "tests": "5",
        "failures": "2",
        "skipped": "1",
    }
    assert len(suite.findall("testcase/failure")) == 2


def test_the_exit_status_is_that_of_the_gravest_failure():
    def status(*cases):
        return AgentResults("x", "server", [Result(BY_ID[each], Verdict.FAILED) for each in cases]).exit_status()

    assert BY_ID["6.4.1"].weight is Level.SHOULD
    assert BY_ID["28.1.1"].weight is Level.HARDENING
    assert [status(), status("28.1.1"), status("28.1.1", "6.4.1"), status("6.4.1", "1.1.1")] == [0, 4, 3, 1]


def test_known_deviations_do_not_count(tmp_path):
    path = tmp_path / "known.txt"
    baseline.write(path, results_of().results)
    known = Baseline.read(path)
    judged = AgentResults("x", "server", [known.apply(each) for each in results_of().results])
    assert judged.exit_status() == 0
    assert [each.case.id for each in judged.results if each.known] == [NAMES["FAILED"], NAMES["ERROR"]]
    assert known.apply(Result(BY_ID["1.1.1"], Verdict.FAILED)).bad


def test_a_mended_deviation_is_named():
    known = Baseline({"1.1.1": Verdict.FAILED})
    outdated = known.outdated([Result(BY_ID["1.1.1"], Verdict.OK)])
    assert outdated == ["1.1.1"]
    text = summary(results_of(), CHAPTERS, planned=9, outdated=outdated)
    assert "remove 1.1.1" in text
    assert "5 cases ran; 4 did not run. Failed: 1 MUST, 1 hardening." in text


@pytest.mark.parametrize("line", ["7.1.6", "7.1.6 failed", "7.1.6 FAILED because"])
def test_a_malformed_baseline_is_an_error_with_its_line(tmp_path, line):
    path = tmp_path / "known.txt"
    path.write_text(f"# known\n{line}\n")
    with pytest.raises(InvalidBaseline, match=":2: a line looks like"):
        Baseline.read(path)


def test_a_baseline_that_is_not_there_is_an_error(tmp_path):
    with pytest.raises(InvalidBaseline, match="cannot read"):
        Baseline.read(tmp_path / "none")


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self):
        return True


def test_a_terminal_has_one_line_that_is_overwritten():
    """A deviation is a line of its own above it; control characters are escaped."""
    case = BY_ID["1.1.1"]
    terminal = Terminal()
    progress = Progress(terminal, total=2)
    progress.show(Result(case, Verdict.OK))
    progress.show(Result(case, Verdict.FAILED, "RFC 6455 5.1", "a\x1b[2Jb"))
    progress.end()
    written = terminal.getvalue()
    assert progress.done == 2
    assert "\r\x1b[K1 of 2: 1 OK" in written
    assert "\r\x1b[K2 of 2: 1 OK, 1 FAILED" in written
    assert written.endswith("\r\x1b[K")
    assert f"{case.id:8} FAILED {case.title}" in written
    assert "\x1b[2J" not in written
