"""Clients of coredis, made from URLs, and the meaning of their errors.

coredis is imported when a backplane is made. A client is used for one connection only, and dropped with it, so that
nothing broken stays in a pool.
"""

from __future__ import annotations

import re
import ssl
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial
from inspect import iscoroutinefunction
from typing import Any, Final, TypeAlias
from urllib.parse import SplitResult, parse_qsl, urlencode, urlsplit

import attrs
import trio

from trio_ws.errors import BackplaneError, BackplaneFull, BackplaneRefused, BackplaneUnavailable
from trio_ws.rooms.redis.url import parse_url

__all__ = [
    "Client",
    "ClientFactory",
    "Opener",
    "connection_error_from",
    "is_cluster",
    "is_connection_error",
    "is_expected",
    "is_transient",
    "is_unknown_script",
    "only_error",
    "refusal_from",
]

Client: TypeAlias = Any
"""A client of coredis; `Any`, as it is an extra."""

Opener: TypeAlias = Callable[[], AbstractAsyncContextManager[Client]]

_PLAIN_PORT: Final = 6379
_SENTINEL_PORT: Final = 26379  # https://redis.io/docs/latest/operate/oss_and_stack/management/sentinel/


def _coredis() -> Any:
    try:
        import coredis.connection  # noqa: PLC0415 - an extra
        import coredis.exceptions  # noqa: PLC0415
        import coredis.retry  # noqa: PLC0415
    except ImportError as error:
        raise ImportError("the backplane on Redis needs coredis: pip install 'trio-ws[redis]'") from error
    return coredis


@attrs.frozen
class ClientFactory:
    """A way to make clients."""

    open: Opener
    """Makes a client."""
    address: str
    """Names the server in messages, without a password."""

    @classmethod
    def create(cls, redis: str | Opener, timeout: float, context: ssl.SSLContext | None) -> ClientFactory:
        """Return the factory for a URL or a function that makes clients.

        Args:
            redis: see `RedisBackplane`.
            timeout: seconds to connect, and to wait for an answer.
            context: for TLS; None for the default one.

        Raises:
            ImportError: coredis is not installed.
            TypeError: it is neither a URL nor such a function, or the context is none.
            ValueError: the URL makes no sense, or goes without TLS and a context is given.
        """
        coredis = _coredis()
        if not (context is None or isinstance(context, ssl.SSLContext)):
            raise TypeError(f"ssl_context is an ssl.SSLContext, not {context!r:.80}")
        if not isinstance(redis, str):
            return cls(_checked_opener(redis, context), "the given client")
        url, base, kind = parse_url(redis)
        if context is not None and base != "rediss":
            raise ValueError(f"ssl_context is for TLS, and a URL that begins with {url.scheme}:// has none: rediss://")
        address = f"{url.scheme}://{url.netloc.rpartition('@')[2]}{url.path}"
        pool = _parse_options(coredis, base, url, timeout, context)
        match kind:
            case "sentinel":
                return cls(_sentinel(coredis, url, pool), address)
            case "cluster":
                return cls(_cluster(coredis, url, pool), address)
            case _:
                return cls(_single(coredis, pool), address)


def _checked_opener(opener: object, context: ssl.SSLContext | None) -> Opener:
    if not callable(opener) or iscoroutinefunction(opener):
        raise TypeError(f"Redis is a URL, or a function that returns a new client of coredis, not {opener!r:.80}")
    if context is not None:
        raise ValueError("ssl_context is for a URL: a function that makes clients gives it to them")
    return opener


def _parse_options(coredis: Any, base: str, url: SplitResult, timeout: float, context: ssl.SSLContext | None) -> Any:
    """Return an unopened pool, for the options that coredis parses."""
    userinfo, at, hosts = url.netloc.rpartition("@")
    path = url.path.rpartition("/")[2] if url.scheme.endswith("+sentinel") else url.path
    query = dict(parse_qsl(url.query))
    options: dict[str, Any] = {"connect_timeout": timeout, "stream_timeout": timeout}
    if context is not None:
        options["ssl_context"] = context
    elif base == "rediss" and not any(name.startswith("ssl_") for name in query):
        options["ssl_context"] = ssl.create_default_context()
    query.setdefault("ssl_check_hostname", "true")  # coredis does not check names by default
    plain = f"{base}://{userinfo}{at}{hosts.split(',')[0]}/{path.lstrip('/')}?{urlencode(query)}"
    return coredis.ConnectionPool.from_url(plain, decode_components=True, **options)


def _arguments(pool: Any, *without: str) -> dict[str, Any]:
    left_out = {"processing_budget", "decode_responses", *without}
    return {name: value for name, value in pool.connection_kwargs.items() if name not in left_out}


def _locations(coredis: Any, url: SplitResult, default_port: int) -> list[Any]:
    hosts = [urlsplit(f"//{host}") for host in url.netloc.rpartition("@")[2].split(",")]
    return [coredis.connection.TCPLocation(host.hostname or "localhost", host.port or default_port) for host in hosts]


def _single(coredis: Any, parsed: Any) -> Opener:
    arguments = _arguments(parsed)

    def open_client() -> Any:
        pool = coredis.ConnectionPool(connection_class=parsed.connection_class, location=parsed.location, **arguments)
        return coredis.Redis(connection_pool=pool, retry_policy=coredis.retry.NoRetryPolicy())

    return open_client


def _cluster(coredis: Any, url: SplitResult, parsed: Any) -> Opener:
    nodes = _locations(coredis, url, _PLAIN_PORT)
    return partial(coredis.RedisCluster, startup_nodes=nodes, **_arguments(parsed, "db"))


def _sentinel(coredis: Any, url: SplitResult, parsed: Any) -> Opener:
    sentinels = _locations(coredis, url, _SENTINEL_PORT)
    service = url.path.strip("/").partition("/")[0]
    query = dict(parse_qsl(url.query))
    own = {name: query[f"sentinel_{name}"] for name in ("username", "password") if f"sentinel_{name}" in query}
    shared = {"connect_timeout", "stream_timeout", "ssl_context"}
    arguments = _arguments(parsed)
    own |= {name: value for name, value in arguments.items() if name in shared}

    @asynccontextmanager
    async def open_client() -> AsyncGenerator[Client, None]:
        sentinel = coredis.Sentinel(sentinels, sentinel_kwargs=dict(own), **arguments)
        async with sentinel, sentinel.primary_for(service) as client:
            yield client

    return open_client


def is_cluster(client: Client) -> bool:
    """Return whether keys of different rooms may be on different servers."""
    return isinstance(client, _coredis().RedisCluster)


# --- errors ------------------------------------------------------------------------------------------------------


def _leaves(error: BaseException) -> Iterator[BaseException]:
    """Yield an error, or those of a group."""
    if isinstance(error, BaseExceptionGroup):
        for each in error.exceptions:
            yield from _leaves(each)
    else:
        yield error


def only_error(error: BaseException) -> BaseException:
    """Return the only error of a group, or else the group."""
    found = list(_leaves(error))
    return found[0] if len(found) == 1 else error


def is_connection_error(outcome: object) -> bool:
    """Return whether a command failed for its connection.

    That includes a Redis that is not ready. The command may be sent again over another connection.
    """
    if not isinstance(outcome, Exception):
        return False
    exceptions = _coredis().exceptions
    kinds = (
        TimeoutError,
        OSError,
        trio.TooSlowError,
        exceptions.ConnectionError,
        exceptions.ReadOnlyError,
        exceptions.ClusterDownError,
        exceptions.TryAgainError,
        exceptions.MovedError,
    )
    return isinstance(outcome, kinds)


_TRANSIENT: Final = frozenset({"BUSY", "MASTERDOWN", "MISCONF", "NOREPLICAS"})
"""Codes of errors that concern the state of Redis, not the command."""
_CODE: Final = re.compile(r"(?:Error running script .*?: -)?([A-Z]{3,}) ", re.DOTALL)


def _code(error: Exception) -> str:
    """Return the code of Redis's error, also of one within a script."""  # where version 6 has it within the text
    found = _CODE.match(str(error))
    return found[1] if found else ""


def is_transient(outcome: object) -> bool:
    """Return whether Redis may take the same command a moment later."""
    if not isinstance(outcome, Exception):
        return False
    return isinstance(outcome, _coredis().exceptions.ResponseError) and _code(outcome) in _TRANSIENT


def is_unknown_script(outcome: object) -> bool:
    """Return whether a script was not run, as Redis does not have it."""
    return isinstance(outcome, Exception) and isinstance(outcome, _coredis().exceptions.NoScriptError)


def is_expected(error: BaseException) -> bool:
    """Return whether an error or group is no fault of the program."""
    import anyio  # noqa: PLC0415 - coredis uses it

    kinds = (
        OSError,
        TimeoutError,
        trio.TooSlowError,
        _coredis().exceptions.RedisError,
        anyio.ClosedResourceError,  # coredis lets it out when a pub/sub ends on a broken connection
        anyio.BrokenResourceError,
    )
    return all(isinstance(leaf, kinds) for leaf in _leaves(error))


def refusal_from(error: Exception) -> BackplaneError:
    """Return the error to raise for one command that Redis has refused."""
    if not isinstance(error, _coredis().exceptions.RedisError):
        return BackplaneRefused(f"the command cannot be sent to Redis, or its answer is not ours: {error!r}")
    if _code(error) == "OOM":
        return BackplaneFull(
            "Redis has reached its maxmemory and takes no message: raise maxmemory, or keep less in it "
            "(stream_length and retention of RedisBackplane)"
        )
    if "invalid bulk length" in str(error):
        return BackplaneRefused(
            "Redis takes no message of that size: raise its proto-max-bulk-len, or lower max_message_size of "
            "RedisBackplane, and publishers get MessageTooLarge"
        )
    return BackplaneRefused(f"Redis refused the command: {error}")


def connection_error_from(error: BaseException, address: str, prefix: str) -> BackplaneError:
    """Return the error for a connection that failed, with the remedy.

    Args:
        error: an error of coredis, or a group of them.
        address: names the server.
        prefix: the prefix of keys and channels.
    """
    exceptions = _coredis().exceptions
    causes = [each for each in _leaves(error) if isinstance(each, Exception)]
    for cause in causes:
        if isinstance(cause, exceptions.AuthenticationError):
            return BackplaneRefused(
                f"Redis at {address} does not accept us: {cause} Correct the name and the password in the URL, "
                "redis://name:password@host (no name for the default user; special characters as %40 for @), or the "
                "user in Redis (ACL LIST)"
            )
        if isinstance(cause, exceptions.ResponseError) and not (is_connection_error(cause) or is_transient(cause)):
            return BackplaneRefused(
                f"Redis at {address} does not let us do what a backplane does: {cause} Allow the user of the URL: "
                f"ACL SETUSER name ~{prefix}:* &{prefix}:* +@all -@admin -@dangerous"
            )
    text = "; ".join(dict.fromkeys(str(cause) or type(cause).__name__ for cause in causes)) or repr(error)
    return BackplaneUnavailable(f"no Redis answers at {address}: {text}")
