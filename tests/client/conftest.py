from __future__ import annotations

import pytest
from support.tls import authority, client_tls, server_tls

__all__ = ["authority", "client_tls", "poller", "server_tls"]


@pytest.fixture(params=[True, False], ids=["poller", "stream"])
def poller(request):
    """Both transports of the client: the poller, and the one over Trio's streams."""
    return request.param
