from __future__ import annotations

import pytest

from .ways import Way


@pytest.fixture(params=["poller", "stream", "memory", "http1", "http2"])
def way(request: pytest.FixtureRequest) -> Way:
    """Each way to reach an application: on both of our transports, through the test client, and under hypercorn."""
    return Way(request.param)
