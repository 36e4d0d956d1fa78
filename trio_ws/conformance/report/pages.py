"""Results as pages of HTML, a matrix of all agents and a page for each case."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape
from typing import Final

from trio_ws.conformance.case import Case, Chapter
from trio_ws.conformance.describe import allowed, sent
from trio_ws.conformance.log import LogEntry
from trio_ws.conformance.results import AgentResults, Result, Verdict
from trio_ws.escaping import printable

__all__ = ["case_page", "overview_page"]

_CSS: Final = """
:root { color-scheme: light dark; --line: #8884; --dim: #777; }
body { font: 15px/1.45 system-ui, sans-serif; margin: 1.5rem auto; max-width: 76rem; padding: 0 1rem; }
table { border-collapse: collapse; }
th, td { border-bottom: 1px solid var(--line); padding: .2rem .6rem; text-align: left; vertical-align: top; }
thead th { position: sticky; top: 0; background: Canvas; }
td.dim { white-space: nowrap; }
tr.chapter th { padding-top: 1.2rem; font-size: 1.1em; }
td.v { text-align: center; white-space: nowrap; } td.v a { color: inherit; text-decoration: none; display: block; }
.OK { background: #2e9e4433; } .NON-STRICT { background: #c9a22744; } .FAILED, .ERROR { background: #d6333355; }
.UNIMPLEMENTED { color: var(--dim); } .known { text-decoration: line-through; }
.dim { color: var(--dim); } code, pre { font: 13px/1.4 ui-monospace, monospace; }
pre { white-space: pre-wrap; overflow-wrap: anywhere; margin: 0; }
.sent td:nth-child(2)::before { content: "\\2192 "; } .received td:nth-child(2)::before { content: "\\2190 "; }
.received { background: #4477cc18; }
"""
_SHORT: Final = {
    Verdict.OK: "OK",
    Verdict.NON_STRICT: "non-strict",
    Verdict.FAILED: "failed",
    Verdict.UNIMPLEMENTED: "&ndash;",
    Verdict.ERROR: "error",
}


def _page(title: str, body: Iterable[str]) -> str:
    lines = [
        "<!doctype html>",
        '<html lang="en"><head><meta charset="utf-8">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        f"<title>{_text(title)}</title><style>{_CSS}</style></head><body>",
        *body,
        "</body></html>",
    ]
    return "\n".join(lines) + "\n"


def _text(value: object) -> str:
    """Return text for HTML, with control characters of the implementation under test escaped."""
    return escape(printable(str(value), keep="\n"))


# --- the overview -------------------------------------------------------------------------------------------------


def overview_page(agents: Sequence[AgentResults], chapters: Iterable[Chapter]) -> str:
    """Return the matrix: a row for each case that ran, a column for each agent.

    Args:
        agents: servers and clients.
        chapters: all of them, in order.
    """
    return _page("WebSocket conformance", _overview(agents, chapters))


def _overview(agents: Sequence[AgentResults], chapters: Iterable[Chapter]) -> Iterable[str]:
    yield "<h1>WebSocket conformance</h1>"
    yield (
        '<p><span class="OK">&nbsp;OK&nbsp;</span> as the rule demands &middot; '
        '<span class="NON-STRICT">&nbsp;non-strict&nbsp;</span> allowed, with a remark &middot; '
        '<span class="FAILED">&nbsp;failed&nbsp;</span> not allowed &middot; &ndash; not implemented, not tested. '
        "Each cell leads to what was sent and received.</p>"
    )
    by_agent = [{result.case.id: result for result in agent.results} for agent in agents]
    yield "<table><thead><tr><th>Case</th><th></th><th>Rule</th><th>Level</th>"
    yield "".join(f"<th>{_text(agent.agent)}<br><span class=dim>{agent.side}</span></th>" for agent in agents)
    yield "</tr></thead><tbody>"
    yield from _totals(agents)
    for chapter in chapters:
        cases = [case for case in chapter.cases if any(case.id in results for results in by_agent)]
        if cases:
            columns = 4 + len(agents)
            yield f'<tr class="chapter"><th colspan="{columns}">{chapter.number} {_text(chapter.title)}</th></tr>'
            yield from (_row(case, [results.get(case.id) for results in by_agent]) for case in cases)
    yield "</tbody></table>"


def _totals(agents: Sequence[AgentResults]) -> Iterable[str]:
    for verdict in (Verdict.OK, Verdict.NON_STRICT, Verdict.FAILED, Verdict.UNIMPLEMENTED, Verdict.ERROR):
        counts = [agent.count()[verdict] for agent in agents]
        if any(counts):
            cells = "".join(f'<td class="v">{count or ""}</td>' for count in counts)
            yield f'<tr><td></td><td class="{verdict}" colspan="3">{verdict}</td>{cells}</tr>'


def _row(case: Case, results: Sequence[Result | None]) -> str:
    cells = "".join(map(_cell, results))
    return (
        f'<tr><td><a href="{case.id}.html">{case.id}</a></td><td>{_text(case.title)}</td>'
        f'<td class="dim">{_text(case.section)}</td><td class="dim">{case.weight}</td>{cells}</tr>'
    )


def _cell(result: Result | None) -> str:
    if result is None:
        return "<td></td>"
    known = " known" if result.known else ""
    title = f"{result.text} ({result.section})" if result.section else result.text
    return (
        f'<td class="v {result.verdict}{known}" title="{_text(title)}">'
        f'<a href="{result.case.id}.html">{_SHORT[result.verdict]}</a></td>'
    )


# --- a case -------------------------------------------------------------------------------------------------------


def case_page(case: Case, results: Sequence[tuple[AgentResults, Result]]) -> str:
    """Return the page of one case.

    Args:
        case: likewise.
        results: of each agent that it was played on.
    """
    return _page(f"{case.id} {case.title}", _case(case, results))


def _case(case: Case, results: Sequence[tuple[AgentResults, Result]]) -> Iterable[str]:
    yield f'<p><a href="index.html">All cases</a></p><h1>{case.id} {_text(case.title)}</h1>'
    yield f"<p>{_text(case.section)}, {case.weight}</p>"
    yield f"<h2>Sent</h2><ul>{''.join(f'<li><pre>{_text(line)}</pre></li>' for line in sent(case))}</ul>"
    yield f"<h2>Allowed</h2><ul>{''.join(f'<li>{_text(line)}</li>' for line in allowed(case))}</ul>"
    for agent, result in results:
        yield f'<h2><span class="{result.verdict}">{result.verdict}</span> {_text(agent.agent)}, a {agent.side}</h2>'
        if result.text:
            yield f"<p>{_text(result.text)}{f' ({_text(result.section)})' if result.section else ''}</p>"
        yield "<table>"
        yield from map(_entry, result.log)
        yield "</table>"


def _entry(entry: LogEntry) -> str:
    more = f" ... {entry.size} bytes" if entry.size > len(entry.data) else ""
    octets = f"<pre class=dim>{entry.data.hex(' ')}{more}</pre>" if entry.data else ""
    return (
        f'<tr class="{entry.direction}"><td class="dim">{entry.seconds:.3f}</td>'
        f"<td></td><td><pre>{_text(entry.text)}</pre>{octets}</td></tr>"
    )
