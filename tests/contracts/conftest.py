"""Both sides and all transports: every contract test's body runs on each of them, and our server's under hypercorn."""

from __future__ import annotations

import os

import pytest
from support.repetitions import has_its_turn, mark_repetitions
from trio.testing import MockClock

from contracts.rig import Rig

NETWORKS = ("poller", "tls", "stream", "memory")
"""Loopback sockets with the poller, TLS on it, and through Trio's streams, and in-memory streams."""
UNDER_HYPERCORN = ("http1", "http2")
"""The server's side under hypercorn, with what the peer speaks; see support/differences.py."""
SAME_CODE = {("client", "stream"), ("client", "tls"), ("server", "http2")}
"""What is left out but for `make repetitions`: memory runs the code of the first, servers that of the second beside
`poller`, and `http1` that of the third."""
SAME_CODE_OF_SWEEPS = {("client", "poller")}
"""What a sweep over all checkpoints leaves out, too: servers sweep over each transport."""
THOROUGH_SWEEPS = ("tls", "stream")
"""Networks on which a sweep takes long, and cancels what it cancels on the poller; `make coverage` runs it there."""
ONLY = os.environ.get("TRIO_WS_NETWORK")
"""The one network that a run is about, so that no test on another is collected."""
IN_VIRTUAL_TIME, IN_REAL_TIME = ("server", "memory"), ("server", "stream")
"""The same code of ours: a test runs the first if it has a clock, and the second if it has none."""


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run what needs a rig on each side and network that it can have."""
    names = metafunc.fixturenames
    unwanted = "not repetition" in metafunc.config.option.markexpr  # and so not even collected
    own = any("network" in mark.args[0] for mark in metafunc.definition.iter_markers("parametrize"))
    if own and "side" in names:  # the test says over what
        metafunc.parametrize("side", ("server", "client"), indirect=True)
    elif own:
        pass
    elif "side" in names:
        pairs = [(side, network) for side in ("server", "client") for network in NETWORKS]
        pairs += [("server", network) for network in UNDER_HYPERCORN]
        pairs = [pair for pair in pairs if ONLY in (None, pair[1]) and not (unwanted and pair in SAME_CODE)]
        metafunc.parametrize(("side", "network"), pairs, indirect=True, ids=["-".join(pair) for pair in pairs])
    elif "network" in names:
        further = UNDER_HYPERCORN if "server" in names else ()
        networks = [network for network in (*NETWORKS, *further) if ONLY in (None, network)]
        metafunc.parametrize("network", networks, indirect=True)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what runs the same code of ours again, and sweeps that another network has a shorter one of."""
    mark_repetitions(items, "contracts", is_repetition)
    for item in items:
        if isinstance(item, pytest.Function) and is_thorough(item):
            item.add_marker(pytest.mark.thorough(item.originalname))


def is_repetition(item: pytest.Function) -> bool:
    """Return whether another network runs the same code, or the test's mark says that this value is not needed here."""
    parameters = item.callspec.params if hasattr(item, "callspec") else {}
    network = parameters.get("network")
    if network is None or any("network" in mark.args[0] for mark in item.iter_markers("parametrize")):
        return False
    side = parameters.get("side", "client" if "client" in item.fixturenames else "server")
    if (side, network) in SAME_CODE:
        return True
    if item.get_closest_marker("sweep") is not None and (side, network) in SAME_CODE_OF_SWEEPS:
        return True
    mark = item.get_closest_marker("values")
    if mark is None:
        return (side, network) == (IN_REAL_TIME if "clock" in item.fixturenames else IN_VIRTUAL_TIME)
    if network in mark.kwargs.get("all_on", ("memory",)):
        return False
    [name] = mark.args
    number = (*NETWORKS, *UNDER_HYPERCORN).index(network) + (parameters.get("side") == "client")
    return not has_its_turn(item, name, number)


def is_thorough(item: pytest.Function) -> bool:
    """Return whether it is a sweep on a network whose checkpoints are the poller's."""
    on = item.callspec.params.get("network") if hasattr(item, "callspec") else None
    return on in THOROUGH_SWEEPS and item.get_closest_marker("sweep") is not None


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
