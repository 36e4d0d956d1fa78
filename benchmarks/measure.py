"""Measurement of one scenario with all participants, round by round."""

from __future__ import annotations

import contextlib
import json
import time
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

import attrs
from load import Load
from machine import file_limit
from peers import Peer
from process import Cores, Process, Running, finish, holding, options, running, script, started, wait_until_quiet
from scenarios import Scenario

OFFER: Final = "permessage-deflate; server_no_context_takeover; client_no_context_takeover; server_max_window_bits=12"
"""No contexts and the window that most peers choose, so that all do the same work."""
SETTLE: Final = 0.3
"""Seconds before the memory of new connections is measured."""

OWN_SERVER_LIMIT: Final = 900
"""Seconds after which the load generator's server ends by itself."""

Figures = dict[str, Any]
Round = dict[str, Figures]
"""The figures of each participant by name; {"error": ...} if it failed."""
Report = Callable[[str], None]


@attrs.frozen
class Bench:
    """The common settings of all measurements."""

    load: Load
    cores: Cores
    seconds: float
    directory: Path
    """For the certificate and the compressed message."""
    report: Report

    @property
    def warmup(self) -> float:
        """Seconds before the measured ones."""
        return min(0.2, self.seconds)

    def measure(self, scenario: Scenario, peers: Sequence[Peer], rounds: int) -> list[Round]:
        """Return the figures of each round.

        Raises:
            RuntimeError: it cannot be measured here; the message has the reason.
        """
        self._check(scenario)
        rounds = min(rounds, scenario.rounds or rounds)
        able = [peer for peer in peers if self.takes_part(peer, scenario)]
        if scenario.mode == "client":
            with running(self._own_server(), self.cores.server) as server:
                return self._rounds(able, rounds, lambda peer: self._client(scenario, peer, server))
        with contextlib.ExitStack() as stack:
            # All start at once, while both cores are free.
            starting = [(peer, stack.enter_context(self._started(scenario, peer))) for peer in able]
            servers = {
                peer.name: self._try(lambda process=process: process.listening(self.cores.server))
                for peer, process in starting
            }
            work = self._memory if scenario.mode == "idle" else self._loaded
            return self._rounds(able, rounds, lambda peer: work(scenario, servers[peer.name]))

    def _check(self, scenario: Scenario) -> None:
        if scenario.tls and not self.load.tls:
            raise RuntimeError("the load generator was built without TLS: OpenSSL's headers are not installed")
        limit = file_limit()
        if limit < scenario.descriptors:
            raise RuntimeError(f"it needs {scenario.descriptors} open files and the limit is {limit}: ulimit -Hn")

    def takes_part(self, peer: Peer, scenario: Scenario) -> bool:
        """Return True if a peer takes part in a scenario."""
        if peer.ceiling:
            return scenario.plain
        if scenario.only and peer.name not in scenario.only:
            return False
        if scenario.mode == "client":
            return peer.client is not None
        if scenario.mode == "broadcast" and not peer.broadcasts:
            return False
        return (peer.deflate or not scenario.deflate) and (scenario.variants or not peer.variant)

    def _rounds(self, peers: Sequence[Peer], rounds: int, figures: Callable[[Peer], Figures]) -> list[Round]:
        result: list[Round] = []
        for number in range(rounds):
            # Each round begins with another participant, so that the order differs.
            shift = number * len(peers) // rounds
            result.append({})
            for peer in [*peers[shift:], *peers[:shift]]:
                result[-1][peer.name] = self._try(lambda peer=peer: figures(peer))
                self.report(f"{peer.name}: {result[-1][peer.name].get('error', 'ok')}")
        return result

    def _started(self, scenario: Scenario, peer: Peer) -> contextlib.AbstractContextManager[Process]:
        return started(self._command(scenario, peer), environment=peer.environment)

    def _command(self, scenario: Scenario, peer: Peer) -> list[str]:
        """Return the server of a scenario."""
        if peer.server is None:
            return self._own_server()
        arguments = []
        if scenario.mode == "broadcast":
            arguments.append("--broadcast")
        if scenario.deflate:
            arguments.append("--deflate")
        if scenario.tls:
            arguments += ["--certificate", str(self.directory / "certificate.pem")]
        return script("servers", peer.server, *arguments)

    def _own_server(self) -> list[str]:
        return [str(self.load.path), "serve", *options({"limit": OWN_SERVER_LIMIT})]

    def _loaded(self, scenario: Scenario, server: Running | Figures) -> Figures:
        """Return the load generator's figures of a running server."""
        if not isinstance(server, Running):
            return server
        extra: dict[str, str | int | float] = {"port": server.port, "pid": server.pid}
        extra |= {"seconds": self.seconds, "warmup": self.warmup, "limit": int(self._limit)}
        if scenario.tls:
            extra["tls"] = "yes"
        if self.cores.load != self.cores.server:
            extra["spin"] = "yes"
        if scenario.deflate:
            extra |= {"extensions": OFFER, "payload": str(self._compressed())}
        command = [str(self.load.path), scenario.mode, *options({**scenario.load, **extra})]
        figures = finish(command, self.cores.load, self._limit + 5)
        wait_until_quiet(server.pid)
        if scenario.deflate:
            check_sample(figures.pop("sample", ""))
        if not figures["messages"]:
            raise RuntimeError("not one message came back in time")
        return figures

    def _memory(self, scenario: Scenario, server: Running | Figures) -> Figures:
        """Return the memory of idle connections in a new server, in one round."""
        if not isinstance(server, Running):
            return server
        idle = [str(self.load.path), "idle", *options({"port": server.port, "limit": int(self._limit)})]
        with holding(idle, self.cores.load, self._limit):
            pass  # what the first connection imports is no cost of the others
        time.sleep(SETTLE)
        before = resident(server.pid)
        with holding([*idle, *options(scenario.load)], self.cores.load, self._limit):
            time.sleep(SETTLE)
            after = resident(server.pid)
        count = int(scenario.load["connections"])
        return {"kib_before": before, "kib_after": after, "kib_per_connection": (after - before) / count}

    def _client(self, scenario: Scenario, peer: Peer, server: Running) -> Figures:
        assert peer.client is not None
        arguments = options({"port": server.port, "seconds": self.seconds, "warmup": self.warmup, **scenario.load})
        command = script("clients", peer.client, *arguments)
        return finish(command, self.cores.load, self._limit, peer.environment)

    @property
    def _limit(self) -> float:
        """Seconds after which a measurement has failed, with time for ten thousand slow handshakes."""
        return 30 + 2 * (self.seconds + self.warmup)

    def _compressed(self) -> Path:
        path = self.directory / "message.deflate"
        if not path.exists():
            path.write_bytes(deflated(MESSAGE))
        return path

    @staticmethod
    def _try(work: Callable[[], Any]) -> Any:
        try:
            return work()
        except (RuntimeError, OSError) as error:
            return {"error": str(error)}


def resident(pid: int) -> float:
    """Return the resident memory of a process, in KiB."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return float(line.split()[1])
    raise RuntimeError("this platform does not say how much memory a process has")


MESSAGE: Final = json.dumps(
    [
        {"id": 1000 + number * 37, "user": f"user-{number * 7919 % 1000}", "text": "what was said"}
        for number in range(18)
    ]
).encode()
"""About a kilobyte of typical JSON."""


def deflated(data: bytes) -> bytes:
    """Return the payload of a compressed message (RFC 7692, section 7.2.1)."""
    squeeze = zlib.compressobj(wbits=-12)
    return (squeeze.compress(data) + squeeze.flush(zlib.Z_SYNC_FLUSH)).removesuffix(b"\x00\x00\xff\xff")


def check_sample(sample: str) -> None:
    """Check the first answer of a compressed echo, which the load generator cannot read.

    Raises:
        RuntimeError: it is not what was sent.
    """
    payload = bytes.fromhex(sample)
    try:
        text = zlib.decompressobj(wbits=-15).decompress(payload + b"\x00\x00\xff\xff")
    except zlib.error:
        text = payload  # it came back as it is
    if text != MESSAGE:
        raise RuntimeError("what came back is not what was sent")


def make_certificate(path: Path) -> None:
    """Write a key and a certificate for the loopback interface."""
    import trustme  # noqa: PLC0415 - only who measures TLS needs it

    certificate = trustme.CA().issue_cert("localhost", "127.0.0.1")
    path.write_bytes(certificate.private_key_and_cert_chain_pem.bytes())
