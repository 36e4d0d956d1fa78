"""The scenarios and their metrics, in the order of the table.

`load` are the options of the load generator; see `load.c`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final, Literal

import attrs

Figures = Mapping[str, Any]
"""The result of one measurement: the load generator's JSON with additions of the harness."""


@attrs.frozen
class Metric:
    """One figure of a measurement."""

    name: str
    unit: str
    of: Callable[[Figures], float | None]
    less_is_better: bool = False


def _per_message(seconds: str) -> Callable[[Figures], float | None]:
    def microseconds(figures: Figures) -> float | None:
        return figures[seconds] / figures["messages"] * 1e6 if figures["messages"] and figures.get(seconds) else None

    return microseconds


RATE: Final = Metric("rate", "messages/s", lambda figures: figures["messages"] / figures["seconds"])
LATENCY: Final = Metric("latency", "us, median", lambda figures: figures["latency"]["p50"], less_is_better=True)
CPU: Final = Metric("cpu", "us of server CPU/message", _per_message("server_cpu"), less_is_better=True)
USER: Final = Metric("user", "us of it outside the kernel", _per_message("server_user"), less_is_better=True)
DELIVERIES: Final = attrs.evolve(RATE, unit="deliveries/s")
DELIVERY_CPU: Final = attrs.evolve(CPU, unit="us of server CPU/delivery")
CYCLES: Final = attrs.evolve(RATE, unit="connections/s")
CYCLE_CPU: Final = attrs.evolve(CPU, unit="us of server CPU each")
MEMORY: Final = Metric("memory", "KiB/connection", lambda figures: figures["kib_per_connection"], less_is_better=True)
CLIENT_CPU: Final = Metric("cpu", "us of client CPU/message", _per_message("client_cpu"), less_is_better=True)


@attrs.frozen
class Scenario:
    """One scenario for all participants."""

    name: str
    title: str
    mode: Literal["echo", "broadcast", "churn", "idle", "client"]
    load: Mapping[str, str | int] = attrs.field(factory=dict)
    metrics: tuple[Metric, ...] = (RATE,)
    variants: bool = False
    """Whether our variants take part too."""
    deflate: bool = False
    tls: bool = False
    only: tuple[str, ...] = ()
    """Names of the participants, if not all."""
    rounds: int | None = None
    """Maximum number of rounds."""

    @property
    def plain(self) -> bool:
        """Whether the load generator's own server supports it."""
        return self.mode in ("echo", "churn") and not self.deflate and not self.tls and not self.only

    @property
    def descriptors(self) -> int:
        """Open files of the server, and of the load."""
        return int(self.load.get("connections", 1)) + 100

    def with_at_most(self, connections: int) -> Scenario:
        """Return the scenario with fewer connections, if it has more."""
        if int(self.load.get("connections", 1)) <= connections:
            return self
        return attrs.evolve(self, load={**self.load, "connections": connections})


def _echo(name: str, title: str, load: Mapping[str, str | int], *metrics: Metric, **more: Any) -> Scenario:
    return Scenario(name, title, "echo", load, metrics or (RATE,), **more)


SCENARIOS: Final = (
    _echo("echo-1", "1 connection, 1 in flight, 32 B", {}, RATE, LATENCY, variants=True),
    _echo("echo-100", "100 connections, 1 in flight, 32 B", {"connections": 100}, RATE, CPU, USER, variants=True),
    _echo("echo-1000", "1,000 connections, 1 in flight, 32 B", {"connections": 1000}, RATE, CPU, variants=True),
    _echo("pipelined-1", "1 connection, 64 in flight, 32 B", {"inflight": 64}, RATE, CPU, USER, variants=True),
    _echo(
        "pipelined-100",
        "100 connections, 16 in flight, 128 B",
        {"connections": 100, "inflight": 16, "size": 128},
        RATE,
        CPU,
        USER,
        variants=True,
    ),
    _echo(
        "large-64k",
        "8 connections, 1 in flight, 64 KiB",
        {"connections": 8, "size": 64 * 1024, "kind": "binary"},
        RATE,
        CPU,
    ),
    _echo("large-1m", "2 connections, 1 in flight, 1 MiB", {"connections": 2, "size": 1024 * 1024, "kind": "binary"}),
    _echo(
        "text-65k",
        "1 connection, 4 in flight, 65,000 B of text",
        {"inflight": 4, "size": 65_000},
        RATE,
        CPU,
        variants=True,
    ),
    _echo(
        "binary-1m",
        "1 connection, 2 in flight, 1 MB",
        {"inflight": 2, "size": 1_000_000, "kind": "binary"},
        RATE,
        CPU,
        variants=True,
    ),
    Scenario(
        "broadcast",
        "broadcast of 128 B to 1,000 members",
        "broadcast",
        {"connections": 1000, "size": 128},
        (DELIVERIES, LATENCY, DELIVERY_CPU),
        variants=True,
    ),
    _echo(
        "crowd",
        "10,000 connections of which 100 talk, 32 B",
        {"connections": 10_000, "talking": 100},
        only=("ours", "picows+uvloop"),
        rounds=1,
    ),
    Scenario("churn", "connect, echo, close; 32 at a time", "churn", {"connections": 32}, (CYCLES, CYCLE_CPU), True),
    _echo("deflate", "100 connections, 1 in flight, 1 KiB, compressed", {"connections": 100}, RATE, CPU, deflate=True),
    _echo("tls", "100 connections, 1 in flight, 32 B, TLS", {"connections": 100}, RATE, CPU, tls=True),
    Scenario("memory-2000", "memory, 2,000 idle connections", "idle", {"connections": 2000}, (MEMORY,), True, rounds=1),
    Scenario("memory-10000", "memory, 10,000 idle connections", "idle", {"connections": 10_000}, (MEMORY,), rounds=1),
    Scenario("client-1", "client: 1 connection, 1 in flight, 32 B", "client", {"inflight": 1}, (RATE, LATENCY)),
    Scenario("client-64", "client: 1 connection, 64 in flight, 32 B", "client", {"inflight": 64}, (RATE, CLIENT_CPU)),
)
