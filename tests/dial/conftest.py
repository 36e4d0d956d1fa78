from __future__ import annotations

import ssl

import pytest
import trio
import trustme

from trio_ws.client.streams import default_context

from .servers import Resolver, Server, listen


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


@pytest.fixture(scope="session")
def authority():
    return trustme.CA()


@pytest.fixture
def server_tls(authority):
    """A server's TLS context, with a certificate for localhost and 127.0.0.1."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("localhost", "127.0.0.1").configure_cert(context)
    return context


@pytest.fixture
def client_tls(authority):
    """A client's TLS context that trusts the authority."""
    context = ssl.create_default_context()
    authority.configure_trust(context)
    return context


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
