"""The origin policy, its default and what can be allowed besides."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trio_ws.http.origin import origin_allowed


@pytest.mark.parametrize(
    ("origin", "host", "secure"),
    [
        ("http://example.org", "example.org", False),
        ("HTTP://Example.org", "example.ORG:80", False),
        ("http://example.org:8000", "example.org:8000", False),
        ("https://example.org", "example.org", True),
        ("https://example.org:443", "example.org", True),
        ("http://localhost:8000", "127.0.0.1:8000", False),
        ("http://127.0.0.1:8000", "[::1]:8000", False),
        ("http://127.1.2.3:8000", "localhost:8000", False),
        ("http://[0:0:0:0:0:0:0:1]", "localhost", False),
        ("http://[::ffff:127.0.0.1]:8000", "localhost:8000", False),
        ("http://[2001:db8::1]", "[2001:DB8:0:0:0:0:0:1]:80", False),
        # behind a proxy that ends TLS
        ("https://example.org", "example.org", False),
        ("https://example.org:8443", "example.org:8443", False),
    ],
)
def test_the_servers_own_origin_is_allowed(origin, host, secure):
    assert origin_allowed(origin, host, secure, None)
    assert origin_allowed(origin, host, secure, ["https://unrelated.example"])


@pytest.mark.parametrize(
    ("origin", "host", "secure"),
    [
        ("http://evil.example", "example.org", False),
        ("http://example.org.evil.example", "example.org", False),
        ("http://example.org:8001", "example.org:8000", False),
        ("http://example.org", "example.org:8000", False),
        ("http://example.org", "example.org", True),  # a plain page may be anybody's
        ("https://example.org", "example.org:8000", False),
        ("https://example.org", "example.org:80", False),
        ("http://localhost:3000", "localhost:8000", False),
        ("http://localhost", "example.org", False),
        ("http://10.0.0.1", "127.0.0.1", False),
        ("chrome-extension://example.org", "example.org", False),
        ("null", "null", False),
    ],
)
def test_another_origin_is_not(origin, host, secure):
    assert not origin_allowed(origin, host, secure, None)
    assert not origin_allowed(origin, host, secure, [])
    assert origin_allowed(origin, host, secure, "*")


def test_listed_origins_compare_without_case_or_default_port():
    """Listed origins are compared without case and with default ports."""
    listed = ["https://App.example:443", "http://dev.example:3000", "chrome-extension://abc"]
    assert origin_allowed("https://app.example", "h", True, listed)
    assert origin_allowed("http://DEV.example:3000", "h", True, listed)
    assert origin_allowed("chrome-extension://abc", "h", True, listed)
    assert not origin_allowed("http://app.example", "h", True, listed)
    assert not origin_allowed("http://dev.example", "h", True, listed)
    assert not origin_allowed("https://sub.app.example", "h", True, listed)


@pytest.mark.parametrize("origin", ["null", "file://", "app://"])
def test_an_origin_without_host_is_allowed_by_its_exact_text(origin):
    """Applications in a web view send such ones, of no host."""
    assert origin_allowed(origin, "h", True, ["https://x", origin])
    assert not origin_allowed(origin, "h", True, None)
    assert not origin_allowed(origin, "h", True, ["https://x", "other://"])
    assert not origin_allowed(origin.upper(), "h", True, [origin])
    assert not origin_allowed(f"{origin}/", "h", True, [origin, f"{origin}/"])


def test_null_is_allowed_by_its_name_only():
    assert origin_allowed("null", "h", True, ["null"])
    assert not origin_allowed("null", "h", True, ["https://h"])


@pytest.mark.parametrize(
    "origin",
    [
        "",
        "h",
        "http://",
        "http://h/",
        "http://h/x",
        "http://u@h",
        "http://a b",
        "http://h, http://h",
        "http://h:x",
        "é",
        "http://h\n",
        "//h",
        "http://[::g]",
    ],
)
def test_malformed_origin_is_refused_even_if_listed(origin):
    """A malformed origin is not allowed nor is one that is listed malformed."""
    assert not origin_allowed(origin, "h", False, None)
    assert not origin_allowed(origin, "h", False, [origin])


def test_a_malformed_host_is_nobodys_origin():
    assert not origin_allowed("http://h", "h, h", False, None)
    assert not origin_allowed("http://h", "", False, None)


@given(st.text(), st.text())
def test_no_values_make_the_policy_fail(origin, host):
    assert origin_allowed(origin, host, False, None) in (True, False)
