"""The blocking connection and room of plain `def` handlers."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Iterator
from functools import partial
from typing import TYPE_CHECKING, Any, Final, Self, TypeAlias, TypeVar, cast

import trio

from trio_ws.blocking.view import BlockingView
from trio_ws.codes import EXPIRED_CODE, CloseCode
from trio_ws.errors import HeaderSource, LocalProtocolError, WebSocketDisconnect

if TYPE_CHECKING:
    from datetime import datetime
    from types import TracebackType

    from trio_ws.messages import WebSocketMessage
    from trio_ws.rooms import Member, Room
    from trio_ws.websocket.credentials import Credentials
    from trio_ws.websocket.typed_message import JSONMode
    from trio_ws.websocket.websocket import WebSocket

__all__ = ["BlockingRoom", "BlockingWebSocket", "expect_reading"]

T = TypeVar("T")

_ELSEWHERE: Final = object()
"""Returned to a thread of another event loop instead of a result."""

Excluded: TypeAlias = "BlockingWebSocket | Iterable[BlockingWebSocket | WebSocket] | WebSocket"
"""One or several connections that a message is not sent to; `member.websocket` is one."""


class BlockingWebSocket(BlockingView):
    """The `WebSocket` of a plain handler, for threads beside the event loop's.

    Every method does what its namesake on `WebSocket` does, blocks until that is done, and raises the same errors. When
    the handler is cancelled, the method that waits in a thread of Trio's, as the handler's is, raises `trio.Cancelled`:
    let it pass. A thread that Trio has not started cannot be cancelled with the handler: a method that waits there
    goes on until the connection ends, and after the end of the event loop every method raises
    `trio.RunFinishedError`.
    """

    __slots__ = ("_asynchronous", "_token")

    def __init__(self, websocket: WebSocket) -> None:
        super().__init__(websocket)
        self._asynchronous = websocket
        self._token = trio.lowlevel.current_trio_token() if trio.lowlevel.in_trio_run() else None

    def _run(self, method: Callable[..., Awaitable[T]], *args: Any) -> T:
        token = self._token
        if _is_trios_thread():
            done = trio.from_thread.run(_run_within, token, method, *args)
            if done is not _ELSEWHERE:
                return cast("T", done)
        return trio.from_thread.run(method, *args, trio_token=token)

    def accept(self, subprotocol: str | None = None, headers: HeaderSource = ()) -> None:
        """Answer the handshake with yes."""
        self._run(self._asynchronous.accept, subprotocol, headers)
        expect_reading(self._asynchronous)

    def reject(self, status: int = 403, headers: HeaderSource = (), body: bytes = b"") -> None:
        """Answer the handshake with an HTTP status; the handler ends here."""
        self._run(self._asynchronous.reject, status, headers, body)

    # --- messages ------------------------------------------------------------------------------------------------

    def receive(self) -> Any:
        """Return the next message."""
        return self._run(self._asynchronous.receive)

    def receive_text(self) -> str:
        """Return the next message, which must be text."""
        return self._run(self._asynchronous.receive_text)

    def receive_bytes(self) -> bytes:
        """Return the next message, which must be binary."""
        return self._run(self._asynchronous.receive_bytes)

    def receive_json(self, mode: JSONMode | None = None) -> Any:
        """Return the value of the next message, which must be JSON."""
        return self._run(self._asynchronous.receive_json, mode)

    def recv(self) -> WebSocketMessage | None:
        """Return the next message, then the peer's close, then None."""
        return self._run(self._asynchronous.recv)

    def __iter__(self) -> Iterator[Any]:
        while True:
            try:
                message = self.receive()
            except WebSocketDisconnect as end:
                if self._asynchronous.context.is_normal_close(end.code):
                    return
                raise
            yield message

    def send(self, data: Any) -> None:
        """Send a message."""
        self._run(self._asynchronous.send, data)

    def send_text(self, text: str) -> None:
        """Send a text message."""
        self._run(self._asynchronous.send_text, text)

    def send_bytes(self, data: bytes | bytearray | memoryview) -> None:
        """Send a binary message."""
        self._run(self._asynchronous.send_bytes, data)

    send_binary = send_bytes

    def send_json(self, value: Any, mode: JSONMode = "text") -> None:
        """Send a value as JSON."""
        self._run(self._asynchronous.send_json, value, mode)

    def ping(self, payload: bytes | None = None) -> float:
        """Send a ping, wait for its pong, and return the seconds between."""
        return self._run(self._asynchronous.ping, payload)

    # --- credentials ---------------------------------------------------------------------------------------------

    def expires_at(self, time: datetime | float, code: int = EXPIRED_CODE, **options: Any) -> None:
        """Close the connection at a time; `options` are those of `WebSocket.expires_at`."""

        async def expire() -> None:
            self._asynchronous.expires_at(time, code, **options)

        self._run(expire)

    def renew(self, credentials: Credentials | datetime | float, /) -> None:
        """Replace the credentials, or their time."""
        self._run(self._asynchronous.renew, credentials)

    # --- rooms ---------------------------------------------------------------------------------------------------

    def join(self, room: Room | str, /, *, since: str | None = None, **info: Any) -> BlockingRoom:
        """Join a room until the handler has ended, or for a block: `with ws.join(app.room(...)) as room`.

        It is what `WebSocket.join` is for an `async def` handler, and raises the same errors.

        Args:
            room: to join, or its name.
            since: the id of the last message that the peer has seen.
            info: anything about the member.
        """
        invocation: Any = self._asynchronous.context.invocation
        if invocation is None:
            raise LocalProtocolError("join() needs an App behind the connection, whose handler has not ended")
        joined, new = self._run(invocation.stays.join, room, since, info)
        return BlockingRoom(joined, self._run, invocation.leave if new else None)

    def leave(self, room: Room | str, /) -> None:
        """Leave a room that `join` or the route's `rooms=` has joined."""
        self._run(self._asynchronous.leave, room)

    # --- ending --------------------------------------------------------------------------------------------------

    def close(self, code: int = CloseCode.NORMAL_CLOSURE, reason: str | None = "") -> None:
        """Close the connection."""
        self._run(self._asynchronous.close, code, reason)

    def ensure_closed(self, code: int = CloseCode.NORMAL_CLOSURE, reason: str | None = "") -> None:
        """Close the connection if it is open."""
        self._run(self._asynchronous.ensure_closed, code, reason)

    def __enter__(self) -> Self:
        if not self.accepted:
            self.accept()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        return self._run(self._asynchronous.__aexit__, kind, error, trace)


async def _run_within(
    token: trio.lowlevel.TrioToken | None, method: Callable[..., Awaitable[object]], *args: Any
) -> object:
    """Await `method`, unless this event loop is another one than the connection's."""
    if token is not None and token is not trio.lowlevel.current_trio_token():
        return _ELSEWHERE
    return await method(*args)


def _is_trios_thread() -> bool:
    """Return True if the current thread is one of Trio's.

    Trio cancels such a thread with the task that waits for it.
    """
    try:
        trio.from_thread.check_cancelled()
    except RuntimeError:
        return False
    except trio.Cancelled:  # for the method to raise, at its own checkpoint
        pass
    return True


class BlockingRoom:
    """The `Room` of a plain handler, for threads beside the event loop's; `with` leaves it at the end of the block."""

    __slots__ = ("_leave", "_room", "_run")

    def __init__(
        self, room: Room, run: Callable[..., Any], leave: Callable[[Room], Awaitable[None]] | None = None
    ) -> None:
        self._room = room
        self._run = run
        self._leave = leave

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._leave is not None:
            self._run(self._leave, self._room)

    @property
    def name(self) -> str:
        """The room's name."""
        return self._room.name

    @property
    def members(self) -> list[Member]:
        """The current members in the order of their joins."""
        return self._room.members

    @property
    def count(self) -> int:
        """How many are in the room now, in this process."""
        return self._room.count

    def total(self) -> int:
        """Return how many are in the room now, in all processes."""
        return int(self._run(self._room.total))

    def publish(self, message: Any, *, exclude: Excluded | None = None, key: str | None = None) -> str:
        """Send a message to every member without waiting; see `Room.publish`."""
        entry_id: str = self._run(partial(self._room.publish, message, exclude=_unwrapped(exclude), key=key))
        return entry_id

    def disconnect(self, member_id: str, *, code: int = CloseCode.POLICY_VIOLATION, reason: str = "") -> None:
        """Close the connection of one member, in whichever process it is; see `Room.disconnect`."""
        self._run(partial(self._room.disconnect, member_id, code=code, reason=reason))

    def close(self, *, code: int = CloseCode.NORMAL_CLOSURE, reason: str = "") -> None:
        """Close the connections of all members, in all processes; see `Room.close`."""
        self._run(partial(self._room.close, code=code, reason=reason))


def _unwrapped(excluded: Any) -> Any:
    """Return the `exclude` argument of `Room.publish` for `Excluded`."""
    if isinstance(excluded, BlockingWebSocket):  # which can be iterated over, too
        return excluded._asynchronous
    return [_unwrapped(each) for each in excluded] if isinstance(excluded, Iterable) else excluded


def expect_reading(websocket: WebSocket) -> None:
    """Mark the connection as one with a handler that reads messages.

    Between two calls it waits for nothing. Without this a client that leaves at once would cancel it there, before the
    client's messages are read.
    """
    channel = websocket.context.channel
    if channel is not None:
        channel.reader.reads = True
