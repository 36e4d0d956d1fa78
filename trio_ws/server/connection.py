"""One accepted network connection of a server, from its first byte to its last."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import trio

from trio_ws.handler.opener import Opener
from trio_ws.handler.runner import HandlerRunner
from trio_ws.runtime.log import ConnectionLog
from trio_ws.server.handshake import ServerHandshake

if TYPE_CHECKING:
    from trio_ws.addresses import Address
    from trio_ws.connection.connection import Connection
    from trio_ws.http.head import MalformedRequest
    from trio_ws.runtime.timers import Timers
    from trio_ws.server.context import ServerContext
    from trio_ws.transport.base import Transport

__all__ = ["ServerConnection"]


class ServerConnection(Opener):
    """A network connection with two phases: the handshake, then the WebSocket and its handler.

    Its task is `HandlerRunner.run`, which opens and closes it through the methods of `Opener`.

    Args:
        context: of the server.
        transport: of the client.
        number: identifies the connection in logs and task names.
        client: the address of the peer, which may be a proxy.
        secure: whether the connection uses TLS.
        refusal: the answer to every request, because the server has no room; None to serve it.
    """

    __slots__ = ("_context", "_handshake", "_runner", "_transport", "admitted", "client", "connection", "log")

    def __init__(
        self,
        context: ServerContext,
        transport: Transport,
        *,
        number: int,
        client: Address,
        secure: bool,
        refusal: MalformedRequest | None = None,
    ) -> None:
        self._context = context
        self._transport = transport
        self.admitted: bool = refusal is None
        """Whether the server has room for it."""
        self.client: Address = client
        self.log: ConnectionLog = ConnectionLog(number, client)
        self._runner: HandlerRunner | None = HandlerRunner(self)  # until the end
        self.connection: Connection | None = None
        """The WebSocket's connection; None before the 101."""
        self._handshake: ServerHandshake | None = ServerHandshake(
            context,
            transport,
            self._runner,
            log=self.log,
            secure=secure,
            refusal=refusal,
            on_accept=self._begin_websocket,
        )
        transport.log = self.log

    @property
    def status(self) -> int:
        """The HTTP status of the answer, 0 before it."""
        if self._handshake is None:
            return 101
        return self._handshake.status

    def start(self, nursery: trio.Nursery) -> None:
        """Start the task of the connection. It is called once."""
        nursery.start_soon(cast("HandlerRunner", self._runner).run, name=self.log.task_name)

    def _begin_websocket(self, connection: Connection) -> None:
        """Enter the second phase: the handshake was answered with 101."""
        self.connection = connection
        self._handshake = None  # an idle connection has no use for it

    # --- called by the runner ------------------------------------------------------------------------------------

    @property
    def timers(self) -> Timers:
        """The timers of the server."""
        return self._context.timers

    async def open(self) -> bool:
        """Read the request; return True if it is for a WebSocket, else answer it."""
        self._transport.start(cast("trio.Nursery", trio.lowlevel.current_task().parent_nursery))
        self._transport.read_at_once()  # a request has often come with its connection
        return await cast("ServerHandshake", self._handshake).open()

    async def finish(self) -> None:
        """Wait a bounded time for the client to read an answer that refuses the handshake."""
        if self._handshake is not None:
            await self._handshake.linger()

    def on_failure(self, failure: Exception) -> Exception:
        """Log an error outside of the handler, such as a lack of buffers in the kernel."""
        self.log.exception("unexpected error in connection %s, closing it")
        return failure

    async def close(self, error: Exception | None) -> None:
        """Close the network connection, and report its end to the server."""
        if self._handshake is not None:
            self._handshake.stop()
        try:
            await self._transport.aclose()
        finally:
            self._context.on_closed(self, error)
            self._runner = None  # it refers to this object: memory is freed without the garbage collector

    def result(self, error: Exception | None) -> Exception | None:
        """Raise the error under a strict server, which it ends."""
        if error is not None and self._context.strict:
            raise error
        return None

    # --- called by the server ------------------------------------------------------------------------------------

    def drop(self) -> bool:
        """End a refused connection without an answer; return whether its descriptor is free already."""
        return cast("ServerHandshake", self._handshake).drop()

    def drain(self, code: int, reason: str, patience: float) -> None:
        """Begin to end the connection: with a close frame, or with a 503 before the handshake is answered.

        Args:
            code: the close code.
            reason: the close reason.
            patience: seconds that the client has to take what was sent before.
        """
        if self._handshake is not None:
            self._handshake.drain()
        elif self.connection is not None:
            self.connection.closing.drain(code, reason, patience)

    def cancel(self, why: str) -> None:
        """Cancel the handler, or the making of a page; bytes on their way to the client have little time left."""
        if self._handshake is not None:
            self._handshake.cancel(why)
        elif self.connection is not None:
            self.connection.closing.shorten_grace()
            if self._runner is not None:
                self._runner.cancel_handler(why)
