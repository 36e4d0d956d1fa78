"""The conformance suite, which tests any WebSocket server or client; the commands `conform` and `fuzz` run it.

Here: the cases as data, a raw peer of its own, the judge, reports. Nothing of the library's own codec is used, since
that is among what the suite tests.
Not here: the command line (`cli`). Only its commands import this package.
Start with `case`, then `chapters`.
"""

from trio_ws.conformance.case import Case, Chapter, Level
from trio_ws.conformance.catalogue import all_cases, all_chapters, select
from trio_ws.conformance.results import Result, Verdict

__all__ = ["Case", "Chapter", "Level", "Result", "Verdict", "all_cases", "all_chapters", "select"]
