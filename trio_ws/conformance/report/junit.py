"""Results as JUnit XML, which CI systems show."""

from __future__ import annotations

from xml.etree import ElementTree

from trio_ws.conformance.results import AgentResults, Result, Verdict
from trio_ws.escaping import printable

__all__ = ["to_junit"]


def to_junit(results: AgentResults) -> bytes:
    """Return the document. Known deviations are skipped tests, like what is not implemented."""
    count = results.count()
    known = sum(each.known for each in results.results)
    suite = ElementTree.Element(
        "testsuite",
        name=f"conformance of {printable(results.agent)} ({results.side})",
        tests=str(len(results.results)),
        failures=str(count[Verdict.FAILED] + count[Verdict.ERROR] - known),
        skipped=str(count[Verdict.UNIMPLEMENTED] + known),
        time=f"{sum(each.seconds for each in results.results):.3f}",
    )
    for result in results.results:
        suite.append(_case(results, result))
    document: bytes = ElementTree.tostring(suite, encoding="utf-8", xml_declaration=True)
    return document


def _case(results: AgentResults, result: Result) -> ElementTree.Element:
    case = ElementTree.Element(
        "testcase",
        classname=f"{results.side}.chapter {result.case.chapter}",
        name=f"{result.case.id} {printable(result.case.title)}",
        time=f"{result.seconds:.3f}",
    )
    message = printable(f"{result.verdict}: {result.text} ({result.section or result.case.section})")
    if result.bad:
        failure = ElementTree.SubElement(case, "failure", message=message, type=str(result.case.weight))
        failure.text = "\n".join(printable(f"{each.seconds:8.3f} {each.direction}: {each.text}") for each in result.log)
    elif result.known or result.verdict is Verdict.UNIMPLEMENTED:
        ElementTree.SubElement(case, "skipped", message=f"known deviation: {message}" if result.known else message)
    return case
