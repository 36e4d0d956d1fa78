"""A peer that sends exactly the bytes of the test, as client or server."""

from __future__ import annotations

import contextlib
from collections.abc import Awaitable, Callable, Generator, Iterable
from contextlib import AbstractAsyncContextManager
from typing import TYPE_CHECKING, Final, Literal, Self, TypeAlias

import trio

from trio_ws.codes import CloseCode
from trio_ws.errors import ConnectionRejected, HeaderSource
from trio_ws.runtime.background import open_background
from trio_ws.testing.raw_frame import MASK_KEY, Opcode, RawFrame, close_payload, frame_bytes, join_bytes
from trio_ws.testing.raw_head import (
    HANDSHAKE_KEY,
    InvalidHead,
    RawRequest,
    RawResponse,
    accept_token,
    request_bytes,
    response_bytes,
)
from trio_ws.testing.raw_input import READ_BYTES, RawConnectionEnded, RawInput
from trio_ws.testing.raw_output import RawOutput
from trio_ws.testing.raw_reader import RawFrameRules
from trio_ws.testing.timeouts import check_timeout

if TYPE_CHECKING:
    from types import TracebackType

__all__ = ["DEFAULT_TIMEOUT", "RawPeer", "RawSide"]

RawSide: TypeAlias = Literal["client", "server"]

DEFAULT_TIMEOUT: Final = 5.0
"""Seconds that each wait of a raw peer may take by default, as those of the test client."""


class _Handed:
    """The result of a send: awaited, it waits until the network has taken everything."""

    __slots__ = ("_wait",)

    def __init__(self, wait: Callable[[], Awaitable[None]]) -> None:
        self._wait = wait

    def __await__(self) -> Generator[object, object, None]:
        return self._wait().__await__()


class RawPeer:
    """One end of a connection whose bytes are those of the test.

    `async with client.raw("/path") as peer` connects one to the server of a test client, `raw_connect` one to a
    socket, `RawServer.accept` gives one to a client. `async with RawPeer(stream) as peer` takes any stream.

    Sending never waits: the bytes go to the network at once as far as it takes them, the rest is sent by a task in the
    block of the peer. `await peer.send(...)` waits until the network has taken everything, and raises what prevents
    it. A peer that is not entered has no task; then each send has to be awaited.

    Each wait is bounded by `timeout`; `TestTimeout` names what had arrived. Cancellation of a receiving method loses
    nothing.

    Args:
        stream: connected; the peer closes it at the end of its block.
        side: which side the peer is: a client masks its frames.
        timeout: seconds that each wait may take; `math.inf` for no bound.
        check: whether frames of the other side that break RFC 6455 raise `InvalidFrame`.
        where: the name of the other side in messages.
        received: bytes that the test has read from the stream already, to be received first.

    Raises:
        ValueError: the timeout is invalid.

    Example:
        async with client.raw("/echo") as peer:
            peer.frame(Opcode.TEXT, "hello", rsv2=True)
            assert (await peer.receive_frame()).close_code == 1002
    """

    def __init__(
        self,
        stream: trio.abc.Stream,
        *,
        side: RawSide = "client",
        timeout: float = DEFAULT_TIMEOUT,
        check: bool = True,
        where: str = "the other side",
        received: bytes = b"",
    ) -> None:
        self.stream = stream
        """The stream, for bytes that the peer is not to see."""
        self.side: RawSide = side
        self.request: RawRequest | None = None
        """The request received, on a server."""
        self.response: RawResponse | None = None
        """The last response received, on a client."""
        self._rules = RawFrameRules(masked=side == "server")
        self._input = RawInput(stream, self._rules if check else None, where, check_timeout(timeout))
        self._input.unread += received
        self._output = RawOutput(stream)
        self._background: AbstractAsyncContextManager[trio.Nursery] | None = None

    async def __aenter__(self) -> Self:
        self._background = open_background()
        self._output.nursery = await self._background.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool | None:
        background, self._background = self._background, None
        self._output.nursery = None
        try:
            return None if background is None else await background.__aexit__(kind, error, trace)
        finally:
            await trio.aclose_forcefully(self.stream)

    @property
    def received(self) -> list[RawFrame]:
        """All frames received so far."""
        return self._input.frames

    @property
    def end(self) -> Literal["closed", "reset"] | None:
        """How the other side ended the connection, as far as it was received; None if it did not."""
        return self._input.end

    # --- sending -------------------------------------------------------------------------------------------------

    def send(self, *data: bytes) -> Awaitable[None]:
        """Send bytes as they are, several pieces as one.

        Raises:
            TypeError: a piece is text.
            trio.ClosedResourceError: this peer has ended its side.
            trio.BrokenResourceError: (awaited) the other side has closed or reset the connection.
            TestTimeout: (awaited) the other side did not read in time.
        """
        self._output.put(join_bytes(data))
        return _Handed(self._flush)

    def frame(
        self,
        opcode: int,
        payload: str | bytes = b"",
        *,
        fin: bool = True,
        rsv1: bool = False,
        rsv2: bool = False,
        rsv3: bool = False,
        masked: bool | None = None,
        mask: bytes = MASK_KEY,
        length: int | None = None,
        length_bytes: int | None = None,
    ) -> Awaitable[None]:
        """Send a frame, valid or not.

        Args:
            opcode: 0 to 15, such as `Opcode.TEXT`.
            payload: before masking; text is encoded as UTF-8.
            fin: whether the frame is the last of its message.
            rsv1: the first reserved bit.
            rsv2: the second reserved bit.
            rsv3: the third reserved bit.
            masked: whether the frame is masked; None for what the peer's side demands.
            mask: the four bytes of the masking key.
            length: the length that the header declares; None for that of the payload.
            length_bytes: bytes of the extended length, 0, 2 or 8; None for the shortest form.

        Raises:
            ValueError: the length does not fit its form, or the opcode its four bits.
            trio.ClosedResourceError: this peer has ended its side.
        """
        key = mask if (self.side == "client" if masked is None else masked) else None
        bits = {"rsv1": rsv1, "rsv2": rsv2, "rsv3": rsv3}
        return self.send(
            frame_bytes(opcode, payload, fin=fin, mask=key, length=length, length_bytes=length_bytes, **bits)
        )

    def message(self, content: str | bytes, *, fin: bool = True) -> Awaitable[None]:
        """Send a message in one frame, text or binary by the type of `content`; its first fragment unless `fin`."""
        return self.frame(Opcode.TEXT if isinstance(content, str) else Opcode.BINARY, content, fin=fin)

    def ping(self, payload: str | bytes = b"") -> Awaitable[None]:
        """Send a ping."""
        return self.frame(Opcode.PING, payload)

    def pong(self, payload: str | bytes = b"") -> Awaitable[None]:
        """Send a pong."""
        return self.frame(Opcode.PONG, payload)

    def close_frame(self, code: int | None = CloseCode.NORMAL_CLOSURE, reason: str | bytes = b"") -> Awaitable[None]:
        """Send a close frame; with None as code, one without payload.

        Raises:
            TypeError: the code is no number, or the reason neither text nor bytes.
            ValueError: the code does not fit its two bytes.
        """
        return self.frame(Opcode.CLOSE, close_payload(code, reason))

    def half_close(self) -> Awaitable[None]:
        """End this side of the network connection behind what was sent; receiving goes on.

        With TLS it is the TCP connection that ends, without a close_notify.

        Raises:
            TypeError: (awaited) the stream cannot do that.
        """
        self._output.end()
        return _Handed(self._flush)

    def reset(self) -> Awaitable[None]:
        """Reset the network connection; what the network has not taken yet is dropped.

        Raises:
            TypeError: the stream cannot be reset, because it is neither in memory nor a socket.
        """
        self._output.close(reset=True)
        return _Handed(self._aclose)

    def close(self) -> Awaitable[None]:
        """Close the network connection without a close frame; what the network has not taken yet is dropped."""
        self._output.close(reset=False)
        return _Handed(self._aclose)

    async def _aclose(self) -> None:
        await trio.aclose_forcefully(self.stream)

    async def _handed(self, sending: Awaitable[None]) -> None:
        """Leave a send to the task of the block, or wait for it.

        A broken connection is reported by the receiving methods.
        """
        if self._background is None:
            with contextlib.suppress(trio.BrokenResourceError):
                await sending

    async def _flush(self) -> None:
        with self._input.bounded("room to send"):
            await self._output.flush()

    # --- receiving -----------------------------------------------------------------------------------------------

    async def receive_some(self, max_bytes: int = READ_BYTES) -> bytes:
        """Return the next bytes, `b""` at the end of the connection; `end` tells a reset from a close.

        Raises:
            TestTimeout: nothing arrived in time.
        """
        return await self._input.receive_some(max_bytes)

    async def receive_bytes(self, count: int) -> bytes:
        """Return exactly `count` bytes.

        Raises:
            RawConnectionEnded: the connection ended before.
            TestTimeout: they did not arrive in time.
        """
        return await self._input.receive_bytes(count)

    async def receive_all(self) -> bytes:
        """Return all bytes up to the end of the connection.

        Raises:
            TestTimeout: it did not end in time.
        """
        return await self._input.receive_all()

    async def receive_frame(self) -> RawFrame:
        """Return the next frame.

        Raises:
            InvalidFrame: it breaks a rule of RFC 6455, unless `check` is False.
            RawConnectionEnded: the connection ended before.
            TestTimeout: it did not arrive in time.
        """
        return await self._input.receive_frame()

    async def receive_frames(self) -> list[RawFrame]:
        """Return all frames up to the end of the connection, which must not be within a frame.

        Raises:
            InvalidFrame: one breaks a rule of RFC 6455, unless `check` is False.
            RawConnectionEnded: the connection ended within a frame.
            TestTimeout: the next frame or the end did not arrive in time.
        """
        frames = []
        while True:
            try:
                frames.append(await self.receive_frame())
            except RawConnectionEnded as end:
                if end.unread:
                    raise
                return frames

    async def receive_close(self, *, answer: bool = True) -> list[RawFrame]:
        """Return all frames up to a close frame, which is the last one.

        Args:
            answer: send its code back, as RFC 6455 5.5.1 demands.

        Raises:
            InvalidFrame: a frame breaks a rule of RFC 6455, unless `check` is False.
            RawConnectionEnded: the connection ended before.
            TestTimeout: the next frame did not arrive in time.
        """
        frames = [await self.receive_frame()]
        while frames[-1].opcode != Opcode.CLOSE:
            frames.append(await self.receive_frame())
        if answer:
            await self._handed(self.frame(Opcode.CLOSE, frames[-1].payload[:2]))
        return frames

    # --- the opening handshake -----------------------------------------------------------------------------------

    async def handshake(
        self,
        target: str = "/",
        headers: HeaderSource = (),
        *,
        host: str = "localhost",
        without: Iterable[str] = (),
        early: bytes = b"",
    ) -> RawResponse:
        """Request a WebSocket as a client, and check the server's 101.

        Args:
            target: path and query.
            headers: further headers of the request.
            host: the Host header.
            without: names of headers of the handshake to leave out.
            early: bytes that are sent in one piece with the request.

        Raises:
            ConnectionRejected: the server answered with another status.
            InvalidHead: the response is none, or not the answer to this request.
            RawConnectionEnded: the connection ended before.
            TestTimeout: the response did not arrive in time.
        """
        await self._handed(self.send(request_bytes(target, headers, host=host, without=without) + early))
        response = await self.receive_response()
        if response.status != 101:
            raise ConnectionRejected(response.status, response.headers, bytes(self._input.unread))
        if response.headers.get("sec-websocket-accept") != accept_token(HANDSHAKE_KEY):
            raise InvalidHead(f"the Sec-WebSocket-Accept does not fit the key of the request: {response.headers!r}")
        return response

    async def receive_response(self) -> RawResponse:
        """Return the head of a response; its body is what `receive_some` returns next.

        Raises:
            InvalidHead: it is none.
            RawConnectionEnded: the connection ended before.
            TestTimeout: it did not arrive in time.
        """
        self.response = response = RawResponse.parse(await self._input.receive_head("a response"))
        self._rules.compressed = "permessage-deflate" in response.headers.get("sec-websocket-extensions", "")
        return response

    async def receive_request(self) -> RawRequest:
        """Return the head of a client's request.

        Raises:
            InvalidHead: it is none.
            RawConnectionEnded: the connection ended before.
            TestTimeout: it did not arrive in time.
        """
        self.request = RawRequest.parse(await self._input.receive_head("a request"))
        return self.request

    async def accept(self, headers: HeaderSource = (), *, without: Iterable[str] = (), early: bytes = b"") -> None:
        """Answer a client's request with 101, as a server; the request is received first if it was not yet.

        Args:
            headers: further headers of the response.
            without: names of headers of the handshake to leave out.
            early: bytes that are sent in one piece with the response.

        Raises:
            InvalidHead: the request is none for a WebSocket.
            RawConnectionEnded: the connection ended before.
            TestTimeout: the request did not arrive in time.
        """
        request = self.request or await self.receive_request()
        key = request.headers.get("sec-websocket-key")
        if key is None:
            raise InvalidHead(f"the request has no Sec-WebSocket-Key: {request}")
        response = response_bytes(key, headers, without=without)
        self._rules.compressed = b"permessage-deflate" in response
        await self.send(response + early)

    async def respond(self, status: int, headers: HeaderSource = (), body: bytes = b"") -> None:
        """Answer with another status than 101, as a server; the request is received first if it was not yet."""
        if self.request is None:
            await self.receive_request()
        await self.send(response_bytes(None, headers, status=status, body=body))
