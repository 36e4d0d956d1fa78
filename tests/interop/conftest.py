from __future__ import annotations

import pytest


@pytest.fixture(params=[True, False], ids=["poller", "stream"])
def poller(request):
    """Both of our transports: the poller, and the one over Trio's streams."""
    return request.param
