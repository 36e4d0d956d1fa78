"""Both sides and all transports: every contract test's body runs on each of them, and our server's under hypercorn."""

from __future__ import annotations

import pytest
from trio.testing import MockClock

from contracts.rig import Rig

NETWORKS = ("poller", "tls", "stream", "memory")
"""Loopback sockets with the poller, TLS on it, and through Trio's streams, and in-memory streams."""
UNDER_HYPERCORN = ("http1", "http2")
"""The server's side under hypercorn, with what the peer speaks; see support/differences.py."""
SAME_CODE = {("server", "memory"), ("client", "stream"), ("server", "http2")}
"""What a sweep over all checkpoints leaves out: it runs the code of ours that another network runs for this side."""


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run what needs a rig on each side and network that it can have."""
    names = metafunc.fixturenames
    own = any("network" in mark.args[0] for mark in metafunc.definition.iter_markers("parametrize"))
    if own and "side" in names:  # the test says over what
        metafunc.parametrize("side", ("server", "client"), indirect=True)
    elif own:
        pass
    elif "side" in names:
        pairs = [(side, network) for side in ("server", "client") for network in NETWORKS]
        pairs += [("server", network) for network in UNDER_HYPERCORN]
        metafunc.parametrize(("side", "network"), pairs, indirect=True, ids=["-".join(pair) for pair in pairs])
    elif "network" in names:
        further = UNDER_HYPERCORN if "server" in names else ()
        metafunc.parametrize("network", (*NETWORKS, *further), indirect=True)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Leave out what a test's mark says is the same on every network."""
    items[:] = [item for item in items if _says_something_new(item)]


def _says_something_new(item: pytest.Item) -> bool:
    """Whether it has no mark, or is in memory, or has this network's value: each has another one."""
    if item.get_closest_marker("sweep") is not None:
        assert isinstance(item, pytest.Function)
        ours = item.callspec.params.get("side", "client" if "client" in item.fixturenames else "server")
        return (ours, item.callspec.params["network"]) not in SAME_CODE
    mark = item.get_closest_marker("values")
    if mark is None:
        return True
    assert isinstance(item, pytest.Function)
    network = item.callspec.params["network"]
    if network in mark.kwargs.get("all_on", ("memory",)):
        return True
    [name] = mark.args
    number = (*NETWORKS, *UNDER_HYPERCORN).index(network) + (item.callspec.params.get("side") == "client")
    values = _values(item, name)
    return item.callspec.params[name] is values[number % len(values)]


def _values(item: pytest.Function, name: str) -> list[object]:
    """Return all values of a parameter that a test's mark gives."""
    [(names, values)] = [mark.args for mark in item.iter_markers("parametrize") if name in mark.args[0]]
    return list(values) if isinstance(names, str) else [each[names.index(name)] for each in values]


@pytest.fixture
def side(request):
    """Which side is ours."""
    return request.param


@pytest.fixture
def network(request):
    """Over what."""
    return request.param


@pytest.fixture
def server(network):
    """A rig with our side as the server."""
    return Rig("server", network)


@pytest.fixture
def client(network):
    """A rig with our side as the client."""
    return Rig("client", network)


@pytest.fixture
def rig(side, network):
    """A rig with our side as either."""
    return Rig(side, network)


@pytest.fixture
def clock(network):
    """Virtual time on in-memory streams, which makes them exact; real time where sockets are real."""
    return MockClock(autojump_threshold=0) if network == "memory" else None
