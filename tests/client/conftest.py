from __future__ import annotations

import pytest
import trio
from support.tls import authority, client_tls, server_tls

from trio_ws.client.tls import default_context

from .servers import Resolver, Server, listen

__all__ = ["authority", "client_tls", "poller", "server_tls"]


@pytest.fixture(params=[True, False], ids=["poller", "stream"])
def poller(request):
    """Both transports of the client: the poller, and the one over Trio's streams."""
    return request.param


@pytest.fixture
async def resolver():
    """Names resolve as the test says, `localhost` and `other.test` to this machine; nothing goes out."""
    resolver = Resolver({"localhost": ["127.0.0.1"], "other.test": ["127.0.0.1"]})
    trio.socket.set_custom_hostname_resolver(resolver)
    return resolver


@pytest.fixture
async def serve(nursery, resolver):
    """`await serve(respond, context)` starts a server that answers every request with `respond(request)`."""

    async def start(respond=None, context=None):
        server = Server() if respond is None else Server(respond)
        server.port = await listen(nursery, server, context)
        return server

    return start


@pytest.fixture
def system_trusts(authority, monkeypatch):
    """The system's authorities are the one authority of the tests."""
    with authority.cert_pem.tempfile() as path:
        monkeypatch.setenv("SSL_CERT_FILE", path)
        default_context.cache_clear()
        yield
        default_context.cache_clear()


@pytest.fixture(params=[False, True], ids=["kept", "detachable"])
def detachable(request):
    """Both of the streams that TLS is spoken on: Trio's, and the one that lets a transport take it over."""
    return request.param
