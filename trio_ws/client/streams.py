"""Network connections of clients, from name resolution to TLS.

Each failure becomes a `ConnectError` here, with the phase it happened in. Proxies are in `proxy`, HTTP in `connector`.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import trio

from trio_ws.errors import ConnectError, ConnectPhase
from trio_ws.transport.socket_options import abandon, shut_down

if TYPE_CHECKING:
    from trio_ws.protocol.client_handshake import ClientHandshake

__all__ = [
    "ConnectProgress",
    "closed_on_error",
    "open_tcp",
    "open_unix",
]

ATTEMPT_DELAY = 0.25
"""Seconds that one address may take before the next is tried beside it (RFC 8305 8)."""


class ConnectProgress:
    """The phase of an attempt to connect, for a timeout's error.

    Attributes:
        handshake: the current one, None before it.
        step_time: the begin of the current phase, on Trio's clock.
    """

    __slots__ = ("_phase", "handshake", "step_time")

    def __init__(self) -> None:
        self.phase = "url"
        self.handshake: ClientHandshake | None = None

    @property
    def phase(self) -> ConnectPhase:
        """The current phase."""
        return self._phase

    @phase.setter
    def phase(self, phase: ConnectPhase) -> None:
        self._phase: ConnectPhase = phase
        self.step_time: float = trio.current_time()


@asynccontextmanager
async def closed_on_error(stream: trio.abc.AsyncResource) -> AsyncIterator[None]:
    """Close `stream` at once if the block ends with an exception.

    That includes `Cancelled`. No close_notify is sent.
    """
    try:
        yield
    except BaseException:
        await abandon(stream)
        raise


async def open_tcp(host: str, port: int, progress: ConnectProgress) -> trio.SocketStream:
    """Connect to the fastest address of `host` ("happy eyeballs", RFC 8305).

    The name is resolved here and not by `trio.open_tcp_stream`, so that the two phases can be distinguished.

    Args:
        host: a name or a numeric address, IPv6 without brackets.
        port: the TCP port.
        progress: its phase is set to "dns" and "tcp".

    Raises:
        ConnectError: "dns", there is no such name; "tcp", no address of it can be reached.
    """
    progress.phase = "dns"
    try:
        found = await trio.socket.getaddrinfo(host, port, type=trio.socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise ConnectError("dns", f"{host!r} cannot be resolved: {error}") from error
    progress.phase = "tcp"
    return await _race(_alternate(_numeric(entry[4]) for entry in found), host, port)


def _numeric(address: tuple[object, ...]) -> str:
    """Return a socket address's host, with its scope.

    Link-local IPv6 has one per interface.
    """
    host, scope = str(address[0]), address[3:]
    return f"{host}%{scope[0]}" if scope and scope[0] else host


def _alternate(hosts: Iterable[str]) -> list[str]:
    """Put the first address of the other family second (RFC 8305 4).

    Often a whole family fails.
    """
    order = list(dict.fromkeys(hosts))
    for position, host in enumerate(order):
        if (":" in host) != (":" in order[0]):
            order.insert(1, order.pop(position))
            break
    return order


async def _race(hosts: list[str], name: str, port: int) -> trio.SocketStream:
    connected: list[trio.SocketStream] = []
    failures: list[OSError] = []

    async def attempt(host: str, failed: trio.Event) -> None:
        try:
            connected.append(await trio.open_tcp_stream(host, port))
            nursery.cancel_scope.cancel()
        except OSError as error:
            failures.append(error)
            failed.set()

    try:
        async with trio.open_nursery() as nursery:
            for host in hosts:
                failed = trio.Event()
                nursery.start_soon(attempt, host, failed)
                with trio.move_on_after(ATTEMPT_DELAY):
                    await failed.wait()
    except BaseException:
        _close(connected)
        raise
    _close(connected[1:])
    if connected:
        return connected[0]
    raise ConnectError("tcp", f"{name!r} port {port}: {_why(failures)}") from ExceptionGroup(
        f"no address of {name!r} could be reached", failures
    )


def _close(streams: list[trio.SocketStream]) -> None:
    for stream in streams:
        shut_down(stream.socket)
        stream.socket.close()


def _why(failures: list[OSError]) -> str:
    """Join the system's reasons, each once."""
    reasons = [_root(failure) for failure in failures]
    return ", ".join(dict.fromkeys(getattr(reason, "strerror", None) or str(reason) for reason in reasons))


def _root(failure: OSError) -> BaseException:
    """Return the system's error.

    `open_tcp_stream` keeps it in the group that caused its own.
    """
    group = failure.__cause__
    return group.exceptions[0] if isinstance(group, BaseExceptionGroup) else failure


async def open_unix(path: str | os.PathLike[str], progress: ConnectProgress) -> trio.SocketStream:
    """Connect to a Unix socket.

    Raises:
        ConnectError: "tcp", the phase of transport connections: no process listens at `path`.
    """
    progress.phase = "tcp"
    try:
        return await trio.open_unix_socket(os.fspath(path))
    except OSError as error:
        raise ConnectError("tcp", f"Unix socket {os.fspath(path)!r}: {error.strerror or error}") from error
