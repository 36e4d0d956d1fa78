"""Tunnel: one stream of an HTTP/2 connection that looks like an HTTP/1.1 connection to who speaks over it.

A request that is written to it leaves as HEADERS, an upgrade as the extended CONNECT of RFC 8441; the answer is read
as an HTTP/1.1 response, what follows it as plain bytes. So whatever speaks HTTP/1.1 in the tests speaks HTTP/2 too.
"""

from __future__ import annotations

import contextlib

import h2.config
import h2.connection
import h2.errors
import h2.events
import h2.settings
import trio
from wsproto.utilities import generate_accept_token

READ_BYTES = 65536
CLOSE = 0x88
"""The first byte of a close frame (RFC 6455 5.2)."""
CONNECTION_HEADERS = (b"connection", b"upgrade", b"host", b"sec-websocket-key", b"keep-alive")
"""What is said in another way in HTTP/2 (RFC 9113 8.2.2, RFC 8441 5)."""


class Tunnel(trio.abc.HalfCloseableStream):
    """One HTTP/2 stream over a network connection of its own; `open` makes it.

    Args:
        network: connected to the server.
        secure: whether it is TLS.
    """

    def __init__(self, network: trio.abc.Stream, *, secure: bool = False) -> None:
        self._network = network
        self._scheme = b"https" if secure else b"http"
        config = h2.config.H2Configuration(client_side=True, header_encoding=None)
        self.http = h2.connection.H2Connection(config)
        self._request = bytearray()
        self._stream_id: int | None = None
        self._key = b""
        self._body_left = 0  # bytes of a request's body
        self._incoming = bytearray()
        self._ended = False
        self._network_over = False
        self._can_connect = False
        self.resets: list[int] = []
        """Error codes with which the server has reset the stream."""
        self._pumping = trio.Lock()
        self._writing = trio.Lock()
        self._turn = 0
        self._unparsed = bytearray()
        self.ends_with_close = True
        """Whether the server's close frame counts as the end of the stream."""

    @classmethod
    async def open(cls, network: trio.abc.Stream, *, secure: bool = False) -> Tunnel:
        """Say hello, and wait until the server has said that it takes the extended CONNECT."""
        tunnel = cls(network, secure=secure)
        try:
            tunnel.http.initiate_connection()
            await tunnel._flush()
            while not tunnel._can_connect:
                assert not tunnel._network_over, "the server does not speak HTTP/2"
                await tunnel._pump()
        except BaseException:
            await trio.aclose_forcefully(network)
            raise
        return tunnel

    # --- out -----------------------------------------------------------------------------------------------------

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """Send the request, then whatever belongs to it."""
        await trio.lowlevel.checkpoint()
        if self._stream_id is None:
            self._request += data
            head, end, rest = bytes(self._request).partition(b"\r\n\r\n")
            if not end:
                return
            await self._send_head(head, rest)
            data = rest
        await self._send_data(data)

    async def _send_head(self, head: bytes, rest: bytes) -> None:
        first, *lines = head.split(b"\r\n")
        method, target, _ = first.split(b" ")
        fields = [(name.strip().lower(), value.strip()) for name, _, value in (line.partition(b":") for line in lines)]
        given = dict(fields)
        upgrade = given.get(b"upgrade", b"").lower() == b"websocket"
        pseudo = [(b":method", b"CONNECT" if upgrade else method)]
        if upgrade:
            pseudo.append((b":protocol", b"websocket"))
        pseudo += [(b":scheme", self._scheme), (b":path", target), (b":authority", given.get(b"host", b""))]
        self._key = given.get(b"sec-websocket-key", b"")
        self._stream_id = self.http.get_next_available_stream_id()
        self._body_left = int(given.get(b"content-length", b"0"))
        has_body = upgrade or self._body_left > 0
        headers = pseudo + [field for field in fields if field[0] not in CONNECTION_HEADERS]
        self.http.send_headers(self._stream_id, headers, end_stream=not has_body)
        await self._flush()

    async def _send_data(self, data: bytes | bytearray | memoryview) -> None:
        stream_id = self._stream_id
        left = memoryview(data)
        while left and stream_id is not None:
            if self._network_over or self.resets:
                raise trio.BrokenResourceError("the stream has ended")
            try:
                room = min(self.http.local_flow_control_window(stream_id), self.http.max_outbound_frame_size)
                if room <= 0:
                    await self._pump()
                    continue
                ends = 0 < self._body_left <= min(room, len(left))
                self.http.send_data(stream_id, bytes(left[:room]), end_stream=ends)
                self._body_left = max(0, self._body_left - room)
            except h2.exceptions.ProtocolError as error:
                raise trio.BrokenResourceError("the stream has ended") from error
            left = left[room:]
            await self._flush()

    async def wait_send_all_might_not_block(self) -> None:
        await trio.lowlevel.checkpoint()

    async def send_eof(self) -> None:
        """End our side of the stream."""
        with contextlib.suppress(h2.exceptions.ProtocolError, trio.BrokenResourceError):
            if self._stream_id is not None:
                self.http.end_stream(self._stream_id)
            await self._flush()

    async def reset(self) -> None:
        """Reset the stream, and leave the connection open."""
        assert self._stream_id is not None
        self.http.reset_stream(self._stream_id, h2.errors.ErrorCodes.CANCEL)
        await self._flush()

    async def _flush(self) -> None:
        async with self._writing:
            data = self.http.data_to_send()
            if data:
                await self._network.send_all(data)

    # --- in ------------------------------------------------------------------------------------------------------

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        """Return what has come on the stream; `b""` at its end."""
        await trio.lowlevel.checkpoint()
        while not self._incoming and not self._ended and not self._network_over:
            await self._pump()
        if self.resets and not self._incoming:
            raise trio.BrokenResourceError(f"the stream was reset: {self.resets}")
        most = READ_BYTES if max_bytes is None else max_bytes
        taken = bytes(self._incoming[:most])
        del self._incoming[:most]
        return taken

    async def _pump(self) -> None:
        """Read from the network once, or wait for another task that does."""
        turn = self._turn
        async with self._pumping:
            if turn != self._turn:
                return
            try:
                data = await self._network.receive_some(READ_BYTES)
            except trio.BrokenResourceError:
                data = b""
            self._turn += 1
            if not data:
                self._network_over = True
                return
            for event in self.http.receive_data(bytes(data)):
                self._heed(event)
        with contextlib.suppress(trio.BrokenResourceError, trio.ClosedResourceError):
            await self._flush()

    def _heed(self, event: h2.events.Event) -> None:
        match event:
            case h2.events.RemoteSettingsChanged():
                self._can_connect = bool(self.http.remote_settings.enable_connect_protocol)
            case h2.events.ResponseReceived():
                self._incoming += self._head(event.headers)
            case h2.events.DataReceived():
                self._incoming += event.data
                self._ended |= self._closed_by(event.data)
                self.http.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
            case h2.events.StreamEnded():
                self._ended = True
            case h2.events.StreamReset():
                self._ended = True
                self.resets.append(event.error_code)
            case h2.events.ConnectionTerminated():
                self._network_over = True

    def _closed_by(self, data: bytes) -> bool:
        """Say whether a close frame has come whole: the last one, but hypercorn does not always end the stream then."""
        if not self._key:
            return False
        frames = self._unparsed
        frames += data
        while len(frames) >= 2:
            size, start = frames[1], 2
            if size >= 126:
                start = 4 if size == 126 else 10
                size = int.from_bytes(frames[2:start])
            if len(frames) < start + size:
                return False
            if frames[0] == CLOSE:
                return self.ends_with_close
            del frames[: start + size]
        return False

    def _head(self, headers: list[tuple[bytes, bytes]]) -> bytes:
        (_, status), *fields = headers
        if status != b"200":
            self._key = b""  # what follows is a page
        if self._key:
            status = b"101"
            fields.append((b"upgrade", b"websocket"))
            fields.append((b"connection", b"upgrade"))
            fields.append((b"sec-websocket-accept", generate_accept_token(self._key)))
        elif b"content-length" not in dict(fields):
            fields.append((b"connection", b"close"))
        lines = [b"HTTP/1.1 %s x" % status, *(b"%s: %s" % field for field in fields), b"", b""]
        return b"\r\n".join(lines)

    async def aclose(self) -> None:
        """End the network connection."""
        self._network_over = True
        await self._network.aclose()
