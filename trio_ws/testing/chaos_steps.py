"""The steps of a bad network as values, drawn from a seed or written by hand."""

from __future__ import annotations

import math
import random
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final, TypeAlias, TypeVar

import attrs

from trio_ws.options import list_of

_Script = TypeVar("_Script")

__all__ = [
    "CHAOS_KINDS",
    "GENTLE_KINDS",
    "ChaosScript",
    "ChaosStep",
    "Deliver",
    "HalfClose",
    "Reset",
    "Throttle",
    "check_kinds",
    "check_script",
    "check_scripts",
    "check_source",
    "drawn_steps",
]

GENTLE_KINDS: Final = ("delay", "split", "join", "stall", "throttle")
"""Kinds of steps after which every byte still arrives."""
CHAOS_KINDS: Final = (*GENTLE_KINDS, "half_close", "reset")
"""All kinds of steps."""
WEIGHTS: Final = {"delay": 40, "split": 30, "join": 15, "stall": 3, "throttle": 6, "half_close": 3, "reset": 3}
"""How often each kind is drawn, relative to the others: most connections live for some 16 steps."""
LATENCY: Final = 0.001
"""The least seconds before bytes are delivered: what is sent in the same instant of virtual time arrives together."""


def _check_number(attribute: attrs.Attribute[Any], value: object) -> None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError(f"{attribute.name} takes a number, not {value!r}")


def _seconds(instance: object, attribute: attrs.Attribute[float], value: float) -> None:
    _check_number(attribute, value)
    if not 0 <= value < math.inf:
        raise ValueError(f"{attribute.name} is a number of seconds, not {value!r}")


def _positive(instance: object, attribute: attrs.Attribute[Any], value: float | None) -> None:
    if value is None and attribute.default is None:
        return
    _check_number(attribute, value)
    if value is None or not 0 < value < math.inf:
        raise ValueError(f"{attribute.name} must be more than 0, not {value!r}")


@attrs.frozen
class Deliver:
    """Deliver bytes.

    Args:
        size: the next bytes, at most so many at once: a small size splits. None for all that has arrived.
        after: seconds of waiting before: a delay or a stall, in which bytes are joined.

    Example:
        Deliver(1)  # splits a header
        Deliver(after=2.0)  # stalls, then delivers all that has arrived meanwhile
    """

    size: int | None = attrs.field(default=None, validator=_positive)
    after: float = attrs.field(default=0.0, validator=_seconds)
    """Seconds."""


@attrs.frozen
class Throttle:
    """Deliver the next `size` bytes in pieces, `rate` bytes in each second.

    Example:
        Throttle(10_000, rate=1000.0)
    """

    size: int = attrs.field(validator=_positive)
    """Bytes."""
    rate: float = attrs.field(validator=_positive)
    """Bytes in each second."""


@attrs.frozen
class HalfClose:
    """End this direction after so many seconds; bytes that were not delivered are lost.

    Example:
        network = ChaosNetwork(script=[ChaosScript(up=[Deliver(200), HalfClose(after=1.0)])])
    """

    after: float = attrs.field(default=0.0, validator=_seconds)
    """Seconds."""


@attrs.frozen
class Reset:
    """Reset the connection, in both directions, after so many seconds."""

    after: float = attrs.field(default=0.0, validator=_seconds)
    """Seconds."""


ChaosStep: TypeAlias = Deliver | Throttle | HalfClose | Reset
"""One step of a direction of a connection."""


def _checked_steps(name: str, value: Any) -> tuple[ChaosStep, ...]:
    steps = list_of(name, value, "steps, such as Deliver(20) and Reset()")
    for step in steps:
        if not isinstance(step, ChaosStep):
            raise TypeError(f"{name} takes Deliver(...), Throttle(...), HalfClose(...) and Reset(...), not {step!r}")
    return tuple(steps)


def _steps_up(steps: Iterable[ChaosStep]) -> tuple[ChaosStep, ...]:
    return _checked_steps("up", steps)


def _steps_down(steps: Iterable[ChaosStep]) -> tuple[ChaosStep, ...]:
    return _checked_steps("down", steps)


@attrs.frozen
class ChaosScript:
    """The steps of one connection; after them the network is good.

    Its `repr` is valid Python, so that a printed schedule can be pasted into a test.

    Args:
        up: the steps from the client to the server; of a `ChaosStream`, those for what it sends.
        down: the steps from the server to the client; of a `ChaosStream`, those for what it receives.

    Example:
        ChaosScript(down=[Deliver(1), Deliver(after=2.0), Reset()])
    """

    up: tuple[ChaosStep, ...] = attrs.field(default=(), converter=_steps_up)
    down: tuple[ChaosStep, ...] = attrs.field(default=(), converter=_steps_down)


def check_kinds(kinds: Iterable[str]) -> tuple[str, ...]:
    """Return the kinds of steps in their order.

    Raises:
        ValueError: one is unknown, or there is none.
    """
    chosen = {kinds} if isinstance(kinds, str) else set(kinds)
    if not chosen or not chosen <= set(CHAOS_KINDS):
        raise ValueError(f"kinds are some of {', '.join(CHAOS_KINDS)}, not {sorted(chosen)}")
    return tuple(kind for kind in CHAOS_KINDS if kind in chosen)


def check_source(seed: object, script: _Script | None) -> _Script | None:
    """Return the script.

    Raises:
        ValueError: there is neither a seed nor a script, or there are both.
    """
    if (seed is None) is (script is None):
        raise ValueError("a bad network has either a seed or a script: write seed=7, or script=...")
    return script


def check_scripts(scripts: Any) -> Sequence[ChaosScript] | None:
    """Return the scripts of a network's connections, if there are any.

    Raises:
        TypeError: they are something else than a list of scripts.
    """
    if scripts is None:
        return None
    if isinstance(scripts, ChaosScript):
        raise TypeError(
            "script takes a list with a ChaosScript(...) for each connection: write script=[ChaosScript(...)]"
        )
    found = list_of("script", scripts, "scripts, a ChaosScript(...) for each connection")
    for each in found:
        check_script(each)
    return found


def check_script(script: Any) -> ChaosScript | None:
    """Return the script of one connection, if there is one.

    Raises:
        TypeError: it is something else.
    """
    if script is not None and not isinstance(script, ChaosScript):
        example = f": write ChaosScript(down=[{script!r}])" if isinstance(script, ChaosStep) else ""
        raise TypeError(f"the script of a connection is a ChaosScript(...), not {script!r}{example}")
    return script


def drawn_steps(seed: object, kinds: tuple[str, ...]) -> Iterator[ChaosStep]:
    """Draw steps for ever; the same seed gives the same ones, in every process and version of Python.

    Args:
        seed: whatever has a `repr` of its own.
        kinds: the kinds of steps.
    """
    chance = random.Random(repr(seed))
    weights = [WEIGHTS[kind] for kind in kinds]
    while True:
        yield _draw(chance, chance.choices(kinds, weights)[0])


def _draw(chance: random.Random, kind: str) -> ChaosStep:
    def seconds(least: float, most: float) -> float:
        return round(chance.uniform(least, most), 3)

    latency = seconds(LATENCY, 0.01)
    match kind:
        case "split":
            step: ChaosStep = Deliver(chance.randint(1, 20), latency)
        case "join":
            step = Deliver(after=seconds(0.01, 0.1))
        case "stall":
            step = Deliver(after=seconds(0.5, 2.0))
        case "throttle":
            step = Throttle(chance.randint(20, 2000), float(chance.randint(1000, 20_000)))
        case "half_close":
            step = HalfClose(latency)
        case "reset":
            step = Reset(latency)
        case _:
            step = Deliver(chance.randint(1000, 100_000), seconds(LATENCY, 0.2))
    return step
