"""Results as JSON, to keep them beside those of other agents, and to read them back."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

from trio_ws.conformance.case import Case, Level
from trio_ws.conformance.log import LogEntry
from trio_ws.conformance.results import AgentResults, Result, Verdict

__all__ = ["from_json", "to_json"]

FORMAT: Final = 1
"""The version of this format."""


def to_json(results: AgentResults) -> dict[str, Any]:
    """Return the results as a value of JSON."""
    return {
        "format": FORMAT,
        "agent": results.agent,
        "side": results.side,
        "suite": results.version,
        "cases": [_case(result) for result in results.results],
    }


def _case(result: Result) -> dict[str, Any]:
    return {
        "id": result.case.id,
        "title": result.case.title,
        "level": str(result.case.weight),
        "rule": result.case.section,
        "verdict": str(result.verdict),
        "known": result.known,
        "section": result.section,
        "text": result.text,
        "seconds": round(result.seconds, 4),
        "log": [
            {
                "seconds": round(entry.seconds, 4),
                "direction": entry.direction,
                "text": entry.text,
                "bytes": entry.data.hex(" "),
                "size": entry.size,
            }
            for entry in result.log
        ],
    }


def from_json(value: Mapping[str, Any], cases: Iterable[Case]) -> AgentResults:
    """Return the results in a value of `to_json`; of a case that is not among `cases` only its title and level.

    Raises:
        ValueError: this is no report, or one of another format.
        KeyError: likewise.
    """
    if value["format"] != FORMAT:
        raise ValueError(f"format {value['format']} is not {FORMAT}")
    by_id = {case.id: case for case in cases}
    results = [_result(each, by_id) for each in value["cases"]]
    return AgentResults(value["agent"], value["side"], results, value["suite"])


def _result(value: Mapping[str, Any], by_id: Mapping[str, Case]) -> Result:
    case = by_id.get(value["id"]) or Case(
        value["id"], value["title"], level=Level(value["level"]), section=value["rule"]
    )
    log = tuple(
        LogEntry(each["seconds"], each["direction"], each["text"], bytes.fromhex(each["bytes"]), each["size"])
        for each in value["log"]
    )
    return Result(
        case,
        Verdict(value["verdict"]),
        value["section"],
        value["text"],
        log,
        value["seconds"],
        value["known"],
    )
