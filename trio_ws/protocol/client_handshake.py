"""The client's side of the opening handshake (RFC 6455 4.1): `ClientHandshake` asks, and reads the answer.

The server's side is in `handshake`. wsproto writes the request and checks the accept token and the
subprotocol of the answer, which h11 parses and the rest of which is checked here.
"""

from __future__ import annotations

import base64
from collections.abc import Sequence
from typing import cast

import attrs
import h11
import wsproto.events
import wsproto.utilities
from wsproto.connection import ConnectionType
from wsproto.handshake import H11Handshake

from trio_ws.config import Limits
from trio_ws.errors import HeaderSource, RemoteProtocolError
from trio_ws.headers import Headers, is_token
from trio_ws.http.head import HeadParser, MalformedHead, elements, excerpt, not_plain
from trio_ws.http.response import extra_headers
from trio_ws.http.url import URL, split_host
from trio_ws.protocol.server_handshake import OWNED_HEADERS
from trio_ws.protocol.switching import NegotiatedExtension

__all__ = ["MAX_BODY", "AcceptedHandshake", "ClientHandshake", "RejectedHandshake"]

MAX_BODY = 64 * 1024
"""Bytes of a refusal's body that are kept; a page with an error message is smaller."""
_MAX_INFORMATIONAL = 16  # responses before the response: 103 Early Hints comes once or twice


@attrs.frozen
class AcceptedHandshake:
    """The server switched to WebSocket."""

    headers: Headers
    subprotocol: str | None
    """The one that the server chose of ours."""
    extensions: str
    """The values of Sec-WebSocket-Extensions joined by commas, in ASCII, not yet parsed; `""` for none."""


@attrs.frozen
class RejectedHandshake:
    """The server answered with a status other than 101."""

    status: int
    headers: Headers
    body: bytes
    """At most `MAX_BODY` bytes of it."""


class ClientHandshake:
    """One attempt to open a WebSocket.

    Args:
        url: the address. Its username and password become an Authorization header unless one is given.
        headers: further headers of the request. A Host among them replaces the URL's.
        subprotocols: our offer, the preferred one first.
        extensions: the value of the offer in Sec-WebSocket-Extensions, None for none.
        limits: bounds of the answer's head.

    Raises:
        ValueError: a header cannot be sent or is one that the handshake sets itself, or a subprotocol is no
            token or occurs twice.
    """

    def __init__(
        self,
        url: URL,
        *,
        headers: HeaderSource = (),
        subprotocols: Sequence[str] = (),
        extensions: str | None = None,
        limits: Limits | None = None,
    ) -> None:
        extra = extra_headers(headers, OWNED_HEADERS)
        _check_subprotocols(subprotocols)
        self._limits = limits or Limits()
        self._offers_extensions = extensions is not None
        self._splitter = HeadParser(_plausible, self._limits)
        self._informational = 0
        self._refusal: h11.Response | None = None
        self._body = bytearray()
        self.leftover: bytes = b""
        """After `AcceptedHandshake`: the bytes that came behind the answer. They belong to the frames."""
        self._http = _waiting_for_response()
        self._handshake = H11Handshake(ConnectionType.CLIENT)
        self._request = self._handshake.send(
            wsproto.events.Request(
                host=_HostHeader(_take_host(extra) or url.netloc),
                target=url.target,
                subprotocols=list(subprotocols),
                extensions=[] if extensions is None else [NegotiatedExtension(extensions)],
                extra_headers=_authorization(extra, url) + extra,
            )
        )

    def request(self) -> bytes:
        """Return the request, which has a key of its own (RFC 6455 4.1)."""
        return self._request

    def feed(self, data: bytes | bytearray | memoryview) -> AcceptedHandshake | RejectedHandshake | None:
        """Take bytes, none of them for the end of the stream, and return the answer when it is complete.

        Responses before the final one (100, 103) are skipped. The body of a refusal ends where it is cut off or
        malformed: the status is the answer. After an answer or an error, do not feed it again.

        Raises:
            RemoteProtocolError: the answer's head is malformed, too large, cut off, or breaks RFC 6455 4.1.
                Nothing else is raised.
        """
        if self._refusal is not None:
            self._http.receive_data(bytes(data))
            return self._read_body()
        if not data:
            raise RemoteProtocolError("the server closed the connection before it answered")
        while (head := self._split(data)) is not None:
            answer = self._read_head(head)
            if answer is not None:
                return answer
            if self._refusal is not None:
                return self._begin_body()
            data = self._splitter.leftover
            self._splitter = HeadParser(_plausible, self._limits)
        return None

    def _split(self, data: bytes | bytearray | memoryview) -> bytes | None:
        try:
            return self._splitter.feed(data)
        except MalformedHead as error:
            raise RemoteProtocolError(f"malformed answer: {error.message}") from None

    def _read_head(self, head: bytes) -> AcceptedHandshake | None:
        self._http.receive_data(head)
        event = self._next_event()
        if isinstance(event, h11.Response):
            self._refusal = event
            return None
        response = cast("h11.InformationalResponse", event)  # a whole head is a response or an error
        if response.status_code == 101:
            self.leftover = self._splitter.leftover
            return self._accepted(response)
        self._informational += 1
        if self._informational > _MAX_INFORMATIONAL:
            raise RemoteProtocolError("the server sends one informational response after the other")
        return None

    def _next_event(self) -> h11.Event | type[h11.NEED_DATA] | type[h11.PAUSED]:
        try:
            return self._http.next_event()
        except h11.RemoteProtocolError as error:
            raise RemoteProtocolError(f"malformed answer: {excerpt(str(error))}") from None

    def _begin_body(self) -> RejectedHandshake | None:
        if self._splitter.leftover:  # h11 takes no bytes for the end of the stream
            self._http.receive_data(self._splitter.leftover)
        return self._read_body()

    def _read_body(self) -> RejectedHandshake | None:
        while len(self._body) < MAX_BODY:
            try:
                event = self._next_event()
            except RemoteProtocolError:
                break
            if event is h11.NEED_DATA:
                return None
            if not isinstance(event, h11.Data):
                break
            self._body += event.data
        return self.refusal

    @property
    def refusal(self) -> RejectedHandshake | None:
        """The server's refusal, its body as far as it has come; None if there is none so far."""
        if self._refusal is None:
            return None
        return RejectedHandshake(
            self._refusal.status_code, Headers(self._refusal.headers), bytes(self._body[:MAX_BODY])
        )

    def _accepted(self, response: h11.InformationalResponse) -> AcceptedHandshake:
        headers = Headers(response.headers)
        if response.http_version != b"1.1":
            raise RemoteProtocolError("the server switched protocols in another HTTP version than 1.1")
        _check_switch(headers)
        extensions = headers.get_list("sec-websocket-extensions")
        if extensions and not self._offers_extensions:
            raise RemoteProtocolError("the server chose an extension, none was offered")
        return AcceptedHandshake(headers, self._check_token(headers), ", ".join(extensions))

    def _check_token(self, headers: Headers) -> str | None:
        """Let wsproto check the accept token and the subprotocol, and return the latter."""
        lines = ["HTTP/1.1 101 ", "Upgrade: websocket", "Connection: Upgrade"]
        for name in ("Sec-WebSocket-Accept", "Sec-WebSocket-Protocol"):
            lines += [f"{name}: {value}" for value in headers.get_list(name)]
        try:
            self._handshake.receive_data("\r\n".join([*lines, "", ""]).encode("ascii"))
        except wsproto.utilities.RemoteProtocolError as error:
            raise RemoteProtocolError(f"the server's answer is wrong: {excerpt(str(error))}") from None
        return cast("wsproto.events.AcceptConnection", next(self._handshake.events())).subprotocol


def _plausible(beginning: bytes) -> bool:
    return b"HTTP/1.".startswith(beginning[:7])


def _waiting_for_response() -> h11.Connection:
    """An h11 connection that sent a request for an upgrade; only so does it take a 101."""
    connection = h11.Connection(h11.CLIENT)
    headers = [("Host", "x"), ("Connection", "Upgrade"), ("Upgrade", "websocket")]
    connection.send(h11.Request(method="GET", target="/", headers=headers))
    connection.send(h11.EndOfMessage())
    return connection


def _check_switch(headers: Headers) -> None:
    """Check what RFC 6455 4.1 demands of the 101, but for the accept token and the subprotocol."""
    name = not_plain(headers)
    if name is not None:
        raise RemoteProtocolError(f"header {excerpt(name)} has characters outside printable ASCII")
    for name in ("upgrade", "sec-websocket-accept", "sec-websocket-protocol"):
        if len(headers.get_list(name)) > 1:
            raise RemoteProtocolError(f"header {name} occurs more than once")
    if headers.get("upgrade", "").lower() != "websocket":
        raise RemoteProtocolError(f"header Upgrade must be 'websocket', not {excerpt(headers.get('upgrade', ''))}")
    if "upgrade" not in [option.lower() for option in elements(headers.get_list("connection"))]:
        raise RemoteProtocolError("header Connection must name 'upgrade'")


def _check_subprotocols(names: Sequence[str]) -> None:
    if isinstance(names, str):
        raise TypeError("subprotocols is a sequence of names, not one string")
    for name in names:
        if not is_token(name):
            raise ValueError(f"subprotocol {name!r} is not a token (RFC 6455 4.1)")
    if len(set(names)) < len(names):
        raise ValueError(f"a subprotocol is offered twice: {list(names)}")


def _take_host(headers: list[tuple[bytes, bytes]]) -> str | None:
    """Take Host out of the user's headers, if it is there."""
    hosts = [pair for pair in headers if pair[0].lower() == b"host"]
    if not hosts:
        return None
    headers[:] = [pair for pair in headers if pair[0].lower() != b"host"]
    if len(hosts) > 1:
        raise ValueError("header 'Host' is given more than once")
    host = hosts[0][1].decode("latin-1")
    try:
        split_host(host)
    except ValueError as error:
        raise ValueError(f"header 'Host' cannot be sent: {error}") from None
    return host


def _authorization(headers: list[tuple[bytes, bytes]], url: URL) -> list[tuple[bytes, bytes]]:
    """The URL's username and password as basic authentication (RFC 7617), unless it is given in `headers`."""
    if url.username is None or any(name.lower() == b"authorization" for name, _ in headers):
        return []
    credentials = f"{url.username}:{url.password or ''}".encode()
    return [(b"Authorization", b"Basic " + base64.b64encode(credentials))]


class _HostHeader(str):
    """A Host header in ASCII, which wsproto would encode with IDNA once more, port and brackets included."""

    __slots__ = ()

    def encode(self, encoding: str = "ascii", errors: str = "strict") -> bytes:
        return super().encode("ascii", errors)
