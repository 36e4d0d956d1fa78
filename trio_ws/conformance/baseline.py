"""The file of known deviations, which do not make the command fail.

Each line has the id of a case, a verdict, and a comment behind `#`:

    7.1.6  FAILED   # echoes behind the close frame, see #123
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import attrs

from trio_ws.conformance.results import Result, Verdict

__all__ = ["Baseline", "InvalidBaseline"]


class InvalidBaseline(ValueError):  # noqa: N818 - what it is
    """The file cannot be read, or a line of it is malformed."""


@attrs.frozen
class Baseline:
    """Known deviations.

    Args:
        verdicts: by the id of the case.
    """

    verdicts: dict[str, Verdict]

    @classmethod
    def read(cls, path: Path) -> Baseline:
        """Read a file.

        Raises:
            InvalidBaseline: it cannot be read, or has a malformed line.
        """
        try:
            lines = path.read_text(encoding="utf-8").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise InvalidBaseline(f"cannot read the baseline {path}: {error}") from None
        verdicts: dict[str, Verdict] = {}
        for number, line in enumerate(lines, start=1):
            words = line.partition("#")[0].split()
            if not words:
                continue
            try:
                case, verdict = words
                verdicts[case] = Verdict(verdict)
            except ValueError:
                raise InvalidBaseline(f"{path}:{number}: a line looks like '7.1.6 FAILED', not {line!r}") from None
        return cls(verdicts)

    def apply(self, result: Result) -> Result:
        """Return the result, marked as known if the file lists it."""
        known = not result.verdict.passed and self.verdicts.get(result.case.id) is result.verdict
        return attrs.evolve(result, known=known)

    def outdated(self, results: Iterable[Result]) -> list[str]:
        """Return the ids of the cases whose deviation is listed but gone."""
        return [each.case.id for each in results if each.verdict.passed and each.case.id in self.verdicts]


def write(path: Path, results: Iterable[Result]) -> None:
    """Write the deviations of a run as a baseline file.

    Raises:
        OSError: the file cannot be written.
    """
    bad = [result for result in results if not result.verdict.passed]
    lines = [f"{each.case.id:10}{each.verdict:8}  # {each.case.title}: {each.text}"[:200] for each in bad]
    path.write_text("\n".join(["# Known deviations: id, verdict, comment.", *lines, ""]), encoding="utf-8")
