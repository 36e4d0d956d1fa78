"""Contexts and handshakes of TLS for clients."""

from __future__ import annotations

import functools
import ssl
from typing import Final

import trio

from trio_ws.client.streams import ConnectProgress
from trio_ws.errors import ConnectError
from trio_ws.transport.tls_session import TLSStream

__all__ = ["default_context", "start_tls", "without_certificate"]

_NO_TLS: Final = ("WRONG_VERSION_NUMBER", "RECORD_LAYER_FAILURE", "PACKET_LENGTH_TOO_LONG", "UNKNOWN_PROTOCOL")
"""OpenSSL's reasons for an answer in plain text; they differ between its versions."""


@functools.cache
def default_context() -> ssl.SSLContext:
    """Return the default TLS context: system authorities, HTTP/1.1 by ALPN (RFC 7301).

    It is made once, because reading the authorities takes tens of milliseconds in which nothing else runs.
    """
    context = ssl.create_default_context()
    context.set_alpn_protocols(["http/1.1"])
    return context


def without_certificate(context: ssl.SSLContext) -> ssl.SSLContext:
    """Return a context with the same authorities and no client certificate.

    It is for another origin. A context exposes no certificate, and cannot be copied. Names and certificates are always
    checked.
    """
    try:
        authorities = b"".join(context.get_ca_certs(binary_form=True))
    except NotImplementedError:  # a context over the system's own verifier
        return default_context()
    if not authorities:  # none, or in a folder
        return default_context()
    made = ssl.create_default_context(cadata=authorities)
    made.minimum_version, made.maximum_version = context.minimum_version, context.maximum_version
    made.verify_flags = context.verify_flags
    made.set_alpn_protocols(["http/1.1"])
    return made


async def start_tls(
    stream: trio.abc.Stream,
    context: ssl.SSLContext,
    hostname: str,
    progress: ConnectProgress,
    *,
    detachable: bool = False,
) -> trio.SSLStream[trio.abc.Stream] | TLSStream:
    """Do a TLS handshake over `stream`.

    If it fails, the caller closes the stream. TLS is `https_compatible`, because WebSocket has a close handshake of its
    own (RFC 6455 7.1.1), and many servers skip TLS's.

    Args:
        stream: the connection below TLS.
        context: a client's.
        hostname: the name that the certificate must hold for.
        progress: its phase is set to "tls".
        detachable: over a socket, let a transport take over the socket later.

    Raises:
        ConnectError: "tls": no certificate that holds for `hostname`, or no TLS at all.
    """
    progress.phase = "tls"
    hostname = hostname.removesuffix(".")  # neither certificates nor SNI have the dot of the root (RFC 6066 3)
    try:
        secure: trio.SSLStream[trio.abc.Stream] | TLSStream
        if detachable and isinstance(stream, trio.SocketStream):
            secure = TLSStream(stream, context, hostname)
        else:
            secure = trio.SSLStream(stream, context, server_hostname=hostname, https_compatible=True)
        await secure.do_handshake()
    except (trio.BrokenResourceError, OSError, ValueError) as error:
        # trio wraps the reason; SSLError is an OSError; a name that no certificate can have is a ValueError.
        reason = error.__cause__ or error
        plain = getattr(reason, "reason", None) in _NO_TLS
        hint = " (the server's port has no TLS, as it seems: try ws:// in place of wss://)" if plain else ""
        raise ConnectError("tls", f"with {hostname!r}: {reason}{hint}") from reason
    return secure
