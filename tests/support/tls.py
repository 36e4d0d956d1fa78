"""Fixtures for TLS on this machine: import them into a conftest."""

from __future__ import annotations

import ssl

import pytest
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
