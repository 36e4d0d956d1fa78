from __future__ import annotations

import pytest

from .ways import Way


@pytest.fixture(params=["poller", "stream", "memory"])
def way(request: pytest.FixtureRequest) -> Way:
    """Each way to reach an application: over sockets, on both of our transports, and through the test client."""
    return Way(request.param)
