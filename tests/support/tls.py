"""Fixtures for TLS on this machine: import them into a conftest."""

from __future__ import annotations

import functools
import ssl

import pytest
import trio
import trustme


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


@functools.cache
def contexts() -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """TLS contexts of a server for localhost, and of clients that trust it, for whoever has no fixtures."""
    authority = trustme.CA()
    server = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("localhost").configure_cert(server)
    client = ssl.create_default_context()
    authority.configure_trust(client)
    return server, client


def tls_over(stream: trio.abc.Stream, *, server: bool) -> trio.SSLStream[trio.abc.Stream]:
    """One side of TLS over a stream, with these contexts, the handshake still to be done."""
    context = contexts()[0 if server else 1]
    name = None if server else "localhost"
    return trio.SSLStream(stream, context, server_side=server, server_hostname=name, https_compatible=True)
