"""Both sides and all transports: every contract test's body runs on each of them."""

from __future__ import annotations

import pytest
from trio.testing import MockClock

from contracts.rig import Rig

NETWORKS = ("poller", "stream", "memory")
"""Loopback sockets with the poller and through Trio's streams, and in-memory streams."""


@pytest.fixture(params=NETWORKS)
def network(request):
    return request.param


@pytest.fixture
def server(network):
    """A rig with our side as the server."""
    return Rig("server", network)


@pytest.fixture
def client(network):
    """A rig with our side as the client."""
    return Rig("client", network)


@pytest.fixture(params=["server", "client"])
def rig(request, network):
    """A rig with our side as either."""
    return Rig(request.param, network)


@pytest.fixture
def clock(network):
    """Virtual time on in-memory streams, which makes them exact; real time where sockets are real."""
    return MockClock(autojump_threshold=0) if network == "memory" else None
