"""Awake: what a task is rescheduled with that waits for nothing but to be woken."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from outcome import Outcome

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Generator

__all__ = ["AWAKE"]


class _Awake(Outcome[None]):
    """Nothing, as the outcome of a wait, and one for all waits.

    Trio's default is made for each wait, and takes note that it was used: that was a tenth of all the instructions for
    a message that its handler waits for.
    """

    __slots__ = ()

    def unwrap(self) -> None:
        """Return nothing."""

    def send(self, gen: Generator[Any, None, object]) -> Any:
        """Go on in a generator."""
        return gen.send(None)

    async def asend(self, agen: AsyncGenerator[Any, None]) -> Any:
        """Go on in an asynchronous generator."""
        return await agen.asend(None)


AWAKE: Final = _Awake()
