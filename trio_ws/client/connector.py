"""Connecting, from a URL to the server's 101, under one deadline.

It opens streams and closes them if anything fails; frames, keepalive and reconnecting are the client's.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import attrs
import trio

from trio_ws.client.deadline import within
from trio_ws.client.plan import ConnectOptions, ConnectTarget, Plan, handshake_for, make_plan
from trio_ws.client.proxy import Proxy, connect_through, environment_proxy
from trio_ws.client.redirects import REDIRECTS, redirect_target
from trio_ws.client.streams import ConnectProgress, closed_on_error, open_tcp, open_unix
from trio_ws.client.tls import default_context, start_tls
from trio_ws.errors import ConnectError, ConnectionRejected, ConnectTimeout, RemoteProtocolError
from trio_ws.http.url import URL
from trio_ws.transport.socket_options import abandon

if TYPE_CHECKING:
    from trio_ws.protocol.client_handshake import AcceptedHandshake, ClientHandshake, RejectedHandshake

__all__ = ["Dialled", "dial", "follow"]

_READ_SIZE = 16 * 1024
_MAYBE_TLS: Final = " (if its port has TLS, the URL is wss://)"


@attrs.frozen
class Dialled:
    """A connection whose opening handshake the server accepted."""

    stream: trio.abc.Stream
    """A `trio.SocketStream` for TCP and Unix sockets, through a proxy too; a `trio.SSLStream` for wss, or a
    `TLSStream` if TLS was to be `detachable`, and is spoken over a socket."""
    accepted: AcceptedHandshake
    """The server's answer."""
    leftover: bytes
    """The bytes after the answer, with which the first frames begin."""
    url: URL
    """The URL of the connection, after redirects."""
    request: bytes
    """The accepted request, as it was sent."""


async def dial(url: str, **options: Any) -> Dialled:
    """Connect to a WebSocket server and do the opening handshake (RFC 6455 4.1).

    Args:
        url: a ws or wss URL; http and https mean the same.
        options: those of `make_plan`.

    Raises:
        ValueError: likewise TypeError, as `make_plan` raises them; and what `follow` raises.
    """
    return await follow(make_plan(url, **options))


async def follow(plan: Plan) -> Dialled:
    """Connect by a plan, and do the opening handshake.

    Returns:
        The stream with what the server answered. It is the caller's to close.

    Raises:
        ConnectError: with the phase that failed; nothing stays open.
        ConnectTimeout: it took longer than `open_timeout`.
        ConnectionRejected: the server answered with a status that is neither 101 nor a redirect that can be followed,
            or with one whose body took longer than `open_timeout`.
        ImportError: a SOCKS proxy without python-socks.

    Cancellation closes what was opened.
    """
    progress = ConnectProgress()
    dialled = await within(plan.open_timeout, progress, partial(_follow, plan.target, plan.options, progress))
    if dialled is not None:
        return dialled
    refusal = None if progress.handshake is None else progress.handshake.refusal
    if refusal is not None:  # its body took too long
        raise _rejection(refusal)
    raise ConnectTimeout(progress.phase, f"no connection to {plan.target.url} within {plan.open_timeout:g} seconds")


async def _follow(target: ConnectTarget, options: ConnectOptions, progress: ConnectProgress) -> Dialled:
    for _ in range(options.max_redirects + 1):
        answer = await _attempt(target, options, progress)
        if isinstance(answer, Dialled):
            return answer
        refusal = _rejection(answer)
        if answer.status not in REDIRECTS or options.max_redirects == 0 or options.stream is not None:
            raise refusal
        target = _redirected(target, options, answer)
    raise ConnectError(
        "handshake", f"more than {options.max_redirects} redirects, the last one to {target.url}"
    ) from refusal


def _redirected(target: ConnectTarget, options: ConnectOptions, answer: RejectedHandshake) -> ConnectTarget:
    """Return the target of a redirect.

    Raises:
        ConnectionRejected: it cannot be followed.
    """
    try:
        url = redirect_target(target.url, answer.status, answer.headers)
        if options.uds is not None and url.origin != target.url.origin:
            raise RemoteProtocolError("a redirect from a Unix socket to another origin", answer.status)
    except RemoteProtocolError as error:
        raise _rejection(answer, why=str(error)) from error
    return target.redirected(url, options.trusted)


def _rejection(answer: RejectedHandshake, *, why: str = "") -> ConnectionRejected:
    return ConnectionRejected(answer.status, answer.headers, answer.body, why=why)


async def _attempt(
    target: ConnectTarget, options: ConnectOptions, progress: ConnectProgress
) -> Dialled | RejectedHandshake:
    from trio_ws.protocol.client_handshake import RejectedHandshake  # noqa: PLC0415 - wsproto's import takes long

    handshake = handshake_for(target, options)
    progress.handshake = None  # that of the redirect is over
    stream = await _connect(target.url, options, progress)
    async with closed_on_error(stream):
        # TLS to a proxy does not count: it ends there.
        if target.url.secure and not isinstance(options.stream, trio.SSLStream):
            context = target.ssl_context or default_context()
            hostname = target.server_hostname or target.url.hostname
            stream = await start_tls(stream, context, hostname, progress, detachable=options.detachable)
        progress.phase = "handshake"
        progress.handshake = handshake
        request = handshake.request()
        answer = await _answer(stream, request, handshake, hint="" if target.url.secure else _MAYBE_TLS)
    if isinstance(answer, RejectedHandshake):
        await abandon(stream)
        return answer
    return Dialled(stream, answer, handshake.leftover, target.url, request)


async def _connect(url: URL, options: ConnectOptions, progress: ConnectProgress) -> trio.abc.Stream:
    if options.stream is not None:
        return options.stream
    if options.uds is not None:
        return await open_unix(options.uds, progress)
    proxy = options.proxy
    if proxy is True:
        progress.phase = "proxy"
        # In a thread, because on Windows looking for exceptions from the proxy may resolve names.
        proxy = await trio.to_thread.run_sync(environment_proxy, url, abandon_on_cancel=True)
    if isinstance(proxy, Proxy):
        return await connect_through(proxy, url, progress, options.limits)
    return await open_tcp(url.hostname, url.port, progress)


async def _answer(
    stream: trio.abc.Stream, request: bytes, handshake: ClientHandshake, *, hint: str
) -> AcceptedHandshake | RejectedHandshake:
    try:
        await stream.send_all(request)
        answer = None
        while answer is None:
            data = await stream.receive_some(_READ_SIZE)
            with _breaches_translated(hint=hint, ended=not data):
                answer = handshake.feed(data)
    except (trio.BrokenResourceError, trio.ClosedResourceError) as error:
        if handshake.refusal is not None:
            return handshake.refusal
        reason = error.__cause__ or error
        raise ConnectError("handshake", f"the connection was lost: {reason}{hint}") from reason
    return answer


@contextmanager
def _breaches_translated(*, hint: str, ended: bool) -> Iterator[None]:
    """Turn the server's breaches of the protocol into `ConnectError`s.

    The end of the connection is not a breach.
    """
    try:
        yield
    except RemoteProtocolError as error:
        raise ConnectError("handshake", f"{error}{hint if ended else ''}") from (None if ended else error)
