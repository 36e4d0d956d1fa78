"""A breach of the rules by the implementation under test."""

from __future__ import annotations

from trio_ws.testing.raw_reader import InvalidFrame

__all__ = ["Finding"]


class Finding(Exception):  # noqa: N818 - a result of the suite, not an error of it
    """A breach of the rules by the implementation under test.

    Args:
        section: where the rule stands, such as "RFC 6455 5.1".
        text: the event, in a clause.
    """

    def __init__(self, section: str, text: str) -> None:
        super().__init__(f"{text} ({section})")
        self.section = section
        self.text = text

    @classmethod
    def of(cls, invalid: InvalidFrame) -> Finding:
        """Return the finding that a received frame breaks a rule."""
        return cls(invalid.section, invalid.rule if invalid.frame is None else f"{invalid.frame}, but {invalid.rule}")
