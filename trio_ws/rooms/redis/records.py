"""Records in the log, of which a lasting fault has one."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Final

__all__ = ["Records"]

_SUBJECTS: Final = 4096
"""Subjects that are held; one that comes back after that has another record."""


class Records:
    """Faults that have a record."""

    def __init__(self) -> None:
        self._faults: dict[Hashable, set[str]] = {}  # the subject that was looked at last is last

    def begins(self, subject: Hashable, fault: str = "") -> bool:
        """Note a fault, and return whether its subject had none: then it is time for a record."""
        faults = self._faults.pop(subject, set())
        self._faults[subject] = faults
        if len(self._faults) > _SUBJECTS:
            del self._faults[next(iter(self._faults))]
        is_first = not faults
        faults.add(fault)
        return is_first

    def ends(self, subject: Hashable, fault: str = "") -> None:
        """Note that a subject has a fault no longer."""
        faults = self._faults.get(subject)
        if faults is not None:
            faults.discard(fault)
            if not faults:
                del self._faults[subject]
