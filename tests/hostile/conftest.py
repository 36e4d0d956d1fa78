"""Fixtures: arenas on each transport, and certificates."""

from __future__ import annotations

import ssl

import pytest
import trustme
from support.repetitions import has_its_turn, mark_repetitions
from support.tls import trusting

from hostile.arena import Arenas
from trio_ws.transport.poller import Poller

HEADS = ("test_head", "test_injection")
"""Attacks on the parser of heads, which is above the transport."""
FRAMES = ("test_violations",)
"""Attacks on the protocol, which is above it too; how the connection then ends is not."""


@pytest.fixture(params=["poller", "stream"])
def arenas(request: pytest.FixtureRequest, caplog: pytest.LogCaptureFixture) -> Arenas:
    """Arenas on the poller, and again on the stream transport."""
    if request.param == "poller" and not Poller.available():
        pytest.skip("no poller on this platform")
    return Arenas(caplog, poller=request.param == "poller")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark attacks on what is above the transport, made once more over the other transport."""
    mark_repetitions(items, "hostile", is_repetition)


def is_repetition(item: pytest.Function) -> bool:
    """Return whether the poller runs the same: over streams there is no head, and one value of each violation."""
    parameters = item.callspec.params if hasattr(item, "callspec") else {}
    values = [name for name in parameters if name != "arenas"]
    if parameters.get("arenas") != "stream":
        return False
    module = item.path.stem
    return module in HEADS or (module in FRAMES and not all(has_its_turn(item, name, 1) for name in values))


@pytest.fixture(scope="session")
def certificates() -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """TLS contexts of a server for localhost, and of clients that trust it."""
    authority = trustme.CA()
    server = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("localhost").configure_cert(server)
    return server, trusting(authority)
