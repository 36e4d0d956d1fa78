"""Fixtures: arenas on each transport, and certificates."""

from __future__ import annotations

import ssl

import pytest
import trustme
from support.tls import trusting

from hostile.arena import Arenas
from trio_ws.transport.poller import Poller


@pytest.fixture(params=["poller", "stream"])
def arenas(request: pytest.FixtureRequest, caplog: pytest.LogCaptureFixture) -> Arenas:
    """Arenas on the poller, and again on the stream transport."""
    if request.param == "poller" and not Poller.available():
        pytest.skip("no poller on this platform")
    return Arenas(caplog, poller=request.param == "poller")


@pytest.fixture(scope="session")
def certificates() -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """TLS contexts of a server for localhost, and of clients that trust it."""
    authority = trustme.CA()
    server = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("localhost").configure_cert(server)
    return server, trusting(authority)
