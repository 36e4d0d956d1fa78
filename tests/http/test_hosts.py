"""The hosts that requests may be for, and what `hosts=` refuses to be."""

from __future__ import annotations

import re

import pytest

from trio_ws.headers import Headers
from trio_ws.http.head import MalformedRequest
from trio_ws.http.hosts import check_host, parse_hosts


def status_of(host: str | None, *listed: str, secure: bool = False) -> int:
    try:
        check_host(Headers({} if host is None else {"Host": host}), parse_hosts(listed), secure=secure)
    except MalformedRequest as error:
        return error.status
    return 101


@pytest.mark.parametrize(
    ("host", "listed"),
    [
        ("example.org", "example.org"),
        ("EXAMPLE.org.:8000", "Example.ORG"),
        ("example.org", "example.org:80"),
        ("example.org:80", "example.org:80"),
        ("[0:0::1]:8000", "[::1]"),
        ("[::1]", "[0:0:0::1]:80"),
        ("127.0.0.1:5000", "127.0.0.1"),
        ("a.b.example.org", "*.example.org"),
        ("xn--bcher-kva.example", "bücher.example"),
    ],
)
def test_a_listed_host_is_served(host, listed):
    assert status_of(host, "other.example", listed) == 101


@pytest.mark.parametrize(
    ("host", "listed"),
    [
        ("evil.example", "example.org"),
        ("example.org.evil.example", "example.org"),
        ("evilexample.org", "*.example.org"),
        ("example.org", "*.example.org"),
        (".example.org", "*.example.org"),
        ("example.org:8000", "example.org:80"),
        ("example.org:8000", "example.org:8001"),
        ("127.0.0.1", "localhost"),
        ("", "example.org"),
        (None, "example.org"),
    ],
)
def test_another_host_is_421(host, listed):
    assert status_of(host, listed) == 421


def test_the_default_port_is_that_of_the_scheme():
    assert status_of("h", "h:443", secure=True) == 101
    assert status_of("h", "h:80", secure=True) == 421


def test_without_hosts_every_host_is_served():
    check_host(Headers(), None, secure=False)


@pytest.mark.parametrize(
    ("value", "error", "hint"),
    [
        ("example.org", TypeError, "write hosts=['example.org']"),
        ([re.compile("x")], TypeError, "such as"),
        ([b"example.org"], TypeError, "such as"),
        ([], ValueError, "would refuse every request"),
        (["*"], ValueError, "leave hosts out"),
        (["https://example.org"], ValueError, "such as"),
        (["example.org/"], ValueError, "such as"),
        (["exa*mple.org"], ValueError, "such as"),
        (["example.org:0"], ValueError, "port"),
        (["*.[::1]"], ValueError, "no names below it"),
        (["*.127.0.0.1:80"], ValueError, "no names below it"),
        ([""], ValueError, "such as"),
    ],
)
def test_hosts_that_can_never_match_are_refused(value, error, hint):
    with pytest.raises(error, match=re.escape(hint)):
        parse_hosts(value)
