"""Faults that last, each of which is logged once."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Final

__all__ = ["OngoingFaults"]

_SUBJECTS: Final = 4096
"""Subjects that are held; one that comes back after that is logged again."""


class OngoingFaults:
    """The faults that were logged and have not ended."""

    def __init__(self) -> None:
        self._faults: dict[Hashable, set[str]] = {}  # the subject that was looked at last is last

    def __bool__(self) -> bool:
        return bool(self._faults)

    def begins(self, subject: Hashable, fault: str = "") -> bool:
        """Note a fault; return whether it is its subject's first."""
        faults = self._faults.pop(subject, set())
        self._faults[subject] = faults
        if len(self._faults) > _SUBJECTS:
            del self._faults[next(iter(self._faults))]
        is_first = not faults
        faults.add(fault)
        return is_first

    def ends(self, subject: Hashable, fault: str = "") -> None:
        """Note that a fault of a subject has ended."""
        faults = self._faults.get(subject)
        if faults is not None:
            faults.discard(fault)
            if not faults:
                del self._faults[subject]
