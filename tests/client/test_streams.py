"""Happy eyeballs: which of a name's addresses is tried when, and what becomes of the others (RFC 8305)."""

from __future__ import annotations

import socket

import pytest
import trio

from trio_ws.client.streams import ConnectProgress, open_tcp
from trio_ws.errors import ConnectError

REFUSED = ConnectionRefusedError(111, "Connection refused")
UNREACHABLE = OSError(101, "Network is unreachable")


class Network:
    """Stands for `trio.open_tcp_stream`: how long each address takes, and what then."""

    def __init__(self, outcomes: dict[str, tuple[float, OSError | None]] | None = None) -> None:
        self.outcomes = outcomes or {}
        self.attempts: list[tuple[str, float]] = []
        self.opened: list[socket.socket] = []
        self.start = trio.current_time()

    async def open_tcp_stream(self, host: str, port: int) -> trio.SocketStream:
        self.attempts.append((host, trio.current_time() - self.start))
        seconds, error = self.outcomes.get(host, (0, None))
        await trio.sleep(seconds)
        if error is not None:
            # As trio does it: the reason is in a group behind an error of its own.
            raise OSError("all attempts failed") from ExceptionGroup("all attempts failed", [error])
        return self.open()

    def open(self) -> trio.SocketStream:
        ours, theirs = socket.socketpair()
        theirs.close()
        self.opened.append(ours)
        return trio.SocketStream(trio.socket.from_stdlib_socket(ours))


@pytest.fixture
async def connect(resolver, monkeypatch):
    """`await connect(network, *addresses)` connects to a name with these addresses."""

    async def run(network, *addresses):
        resolver.names["name"] = list(addresses)
        monkeypatch.setattr(trio, "open_tcp_stream", network.open_tcp_stream)
        return await open_tcp("name", 80, ConnectProgress())

    return run


def hosts(network: Network) -> list[str]:
    return [host for host, _ in network.attempts]


async def test_the_first_address_is_enough_if_it_answers(connect, autojump_clock):
    net = Network()
    stream = await connect(net, "10.0.0.1", "10.0.0.2")
    assert hosts(net) == ["10.0.0.1"]
    await stream.aclose()


async def test_a_refused_address_hands_over_at_once(connect, autojump_clock):
    net = Network({"10.0.0.1": (0.01, REFUSED)})
    stream = await connect(net, "10.0.0.1", "10.0.0.2")
    assert net.attempts == [("10.0.0.1", 0), ("10.0.0.2", pytest.approx(0.01))]
    await stream.aclose()


async def test_a_silent_address_gets_company_after_a_quarter_second(connect, autojump_clock):
    net = Network({"10.0.0.1": (99, None)})
    stream = await connect(net, "10.0.0.1", "10.0.0.2")
    assert net.attempts == [("10.0.0.1", 0), ("10.0.0.2", pytest.approx(0.25))]
    assert trio.current_time() - net.start == pytest.approx(0.25)
    await stream.aclose()


async def test_a_slow_address_may_still_win(connect, autojump_clock):
    net = Network({"10.0.0.1": (0.3, None), "10.0.0.2": (99, None)})
    stream = await connect(net, "10.0.0.1", "10.0.0.2")
    assert trio.current_time() - net.start == pytest.approx(0.3)
    await stream.aclose()


async def test_the_other_family_comes_second(connect, autojump_clock):
    slow = dict.fromkeys(("::1", "::2"), (99.0, None))
    net = Network(slow)
    stream = await connect(net, "::1", "::2", "10.0.0.1")
    assert hosts(net) == ["::1", "10.0.0.1"]
    await stream.aclose()


async def test_an_address_that_is_named_twice_is_tried_once(connect, autojump_clock):
    net = Network({"10.0.0.1": (0, REFUSED)})
    with pytest.raises(ConnectError):
        await connect(net, "10.0.0.1", "10.0.0.1")
    assert hosts(net) == ["10.0.0.1"]


async def test_a_link_local_address_keeps_its_scope(connect, autojump_clock):
    net = Network()
    stream = await connect(net, "fe80::1%2")
    assert hosts(net) == ["fe80::1%2"]
    await stream.aclose()


async def test_each_reason_is_named_once_when_all_fail(connect, autojump_clock):
    net = Network({"10.0.0.1": (0, REFUSED), "10.0.0.2": (0, REFUSED), "::1": (0, UNREACHABLE)})
    with pytest.raises(ConnectError, match="refused, Network is unreachable") as caught:
        await connect(net, "10.0.0.1", "10.0.0.2", "::1")
    assert caught.value.phase == "tcp"


async def test_an_error_without_a_reason_speaks_for_itself(resolver, monkeypatch):
    async def fail(host: str, port: int) -> None:
        raise OSError("odd")

    monkeypatch.setattr(trio, "open_tcp_stream", fail)
    with pytest.raises(ConnectError, match="odd"):
        await open_tcp("localhost", 80, ConnectProgress())


async def test_one_that_connects_too_late_to_be_cancelled_is_closed(resolver, monkeypatch, autojump_clock):
    net = Network()

    async def connect(host: str, port: int) -> trio.SocketStream:
        with trio.CancelScope(shield=True):
            await trio.sleep(0.5)
        return net.open()

    monkeypatch.setattr(trio, "open_tcp_stream", connect)
    resolver.names["localhost"] = ["10.0.0.1", "10.0.0.2"]
    stream = await open_tcp("localhost", 80, ConnectProgress())
    winner, loser = net.opened
    assert winner.fileno() == stream.socket.fileno()
    assert loser.fileno() == -1
    await stream.aclose()


async def test_cancellation_at_moment_of_success_closes_the_stream(resolver, monkeypatch):
    """Cancelled at the moment of success closes what was opened."""
    net = Network()

    async def connect(host: str, port: int) -> trio.SocketStream:
        scope.cancel()
        return net.open()

    monkeypatch.setattr(trio, "open_tcp_stream", connect)
    with trio.CancelScope() as scope:
        await open_tcp("localhost", 80, ConnectProgress())
    assert scope.cancelled_caught
    assert [sock.fileno() for sock in net.opened] == [-1]


async def test_a_name_that_cannot_be_one_is_a_dns_error(resolver):
    with pytest.raises(ConnectError, match=r"^dns: "):
        await open_tcp("a" * 64 + ".invalid", 80, ConnectProgress())
