"""Strict parsing of a Redis URL, as coredis ignores unknown parts."""

from __future__ import annotations

import re
from typing import Final
from urllib.parse import SplitResult, parse_qsl, urlsplit

from trio_ws.rooms.topics import encoded

__all__ = ["parse_url"]

_SCHEMES: Final = ("redis", "rediss", "unix")
_DATABASE: Final = re.compile(r"[0-9]{1,9}")
_CONNECTION: Final = frozenset(
    {
        "client_name",
        "connect_timeout",
        "db",
        "max_connections",
        "max_idle_time",
        "noevict",
        "notouch",
        "password",
        "stream_timeout",
        "timeout",
        "username",
    }
)
_TLS: Final = frozenset({"ssl_ca_certs", "ssl_cert_reqs", "ssl_certfile", "ssl_check_hostname", "ssl_keyfile"})
_SENTINEL: Final = frozenset({"sentinel_password", "sentinel_username"})


def parse_url(text: str) -> tuple[SplitResult, str, str]:
    """Return a URL's parts, the base of its scheme, and its kind.

    The base is "redis", "rediss" or "unix", the kind "", "sentinel" or "cluster".

    Raises:
        ValueError: it makes no sense, as a whole or in one of its parts.
    """
    encoded(text, "the URL of Redis")
    url = _split(text)
    base, _, kind = url.scheme.partition("+")
    if base not in _SCHEMES or kind not in ("", "sentinel", "cluster") or (base == "unix" and kind):
        raise ValueError(
            f"a URL of Redis begins with redis://, rediss:// (TLS) or unix://, or with redis+sentinel:// or "
            f"redis+cluster:// (rediss+... with TLS), not with {url.scheme!r}:"
        )
    _check_password(url, base)
    _check_query(url, base, kind)
    _check_path(url, base, kind)
    _check_hosts(url, base)
    return url, base, kind


def _split(text: str) -> SplitResult:
    """Split a URL at whose beginning several hosts may stand: newer Pythons refuse brackets behind one."""
    scheme, mark, rest = text.partition("://")
    netloc = re.split("[/?#]", rest, maxsplit=1)[0]
    url = urlsplit(f"{scheme}{mark}{rest[len(netloc) :]}")
    return SplitResult(url.scheme, netloc, url.path, url.query, url.fragment)


def _check_password(url: SplitResult, base: str) -> None:
    """Refuse a password that ends the host too early, before its rest is named in an error."""
    if base != "unix" and "@" in f"{url.path}{url.query.partition('=')[0]}{url.fragment}":
        raise ValueError("the URL of Redis has an @ behind its host: in a password / is written %2F, ? %3F and # %23")


def _check_query(url: SplitResult, base: str, kind: str) -> None:
    known = _CONNECTION | (_TLS if base == "rediss" else set()) | (_SENTINEL if kind == "sentinel" else set())
    for name, value in parse_qsl(url.query, keep_blank_values=True):
        if name not in known:
            raise ValueError(f"a URL of Redis that begins with {url.scheme}:// has no option {name!r}: {sorted(known)}")
        if name == "db":
            _check_database(value, kind)


def _check_path(url: SplitResult, base: str, kind: str) -> None:
    path = url.path.strip("/")
    if base == "unix":
        if not path:
            raise ValueError("the URL of Redis names no socket: unix:///path/to/socket")
        return
    service, _, database = path.partition("/") if kind == "sentinel" else ("", "", path)
    if kind == "sentinel" and not service:
        raise ValueError("the URL of a Sentinel names the service in its path: redis+sentinel://host:26379/mymaster")
    if database:
        _check_database(database, kind)


def _check_database(value: str, kind: str) -> None:
    if not _DATABASE.fullmatch(value):
        raise ValueError(f"the URL of Redis names a database by its number, not by {value!r:.80}")
    if kind == "cluster" and int(value):
        raise ValueError(f"a cluster has the database 0 only, the URL of Redis names {value}")


def _check_hosts(url: SplitResult, base: str) -> None:
    hosts = url.netloc.rpartition("@")[2]
    if base == "unix":
        if hosts:
            raise ValueError(f"the URL of a Unix socket has three slashes, and names no host like {hosts!r:.80}")
        return
    for host in hosts.split(","):
        parts = urlsplit(f"//{host}")
        port = host[host.rfind("]") + 1 :].partition(":")[2]
        if not parts.hostname:
            raise ValueError(f"the URL of Redis names no host: {url.scheme}://host:port")
        if port and (len(port) > len("65535") or not parts.port):  # reading it raises ValueError for what is none
            raise ValueError(f"the URL of Redis has no port from 1 to 65535: {port!r:.80}")
