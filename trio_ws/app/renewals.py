"""Messages by which clients renew their credentials, on any route of an application."""

from __future__ import annotations

import inspect
import re
from collections.abc import Awaitable, Callable
from functools import partial
from typing import TYPE_CHECKING, Any, Final, Protocol, Self

import attrs
import trio

from trio_ws.app.errors import ParameterError, RegistrationError
from trio_ws.app.exchange import Exchange, reference_in
from trio_ws.app.listener import Listener
from trio_ws.app.listener_options import ListenerOptions
from trio_ws.app.parameters.annotations import get_label
from trio_ws.app.replies import Forbidden, Ok
from trio_ws.app.route import PlannedCall
from trio_ws.connection.intercepted import intercept_channel
from trio_ws.connection.serialization import from_json
from trio_ws.errors import InvalidMessage
from trio_ws.options import check_text
from trio_ws.runtime.threads import underlying
from trio_ws.websocket.credentials import AnotherUser, Credentials, epoch_seconds

if TYPE_CHECKING:
    from contextlib import AbstractAsyncContextManager

    from trio_ws.app.exchange import BoundListener
    from trio_ws.app.route import Target
    from trio_ws.websocket.websocket import WebSocket

__all__ = ["Renewal", "watch_renewals"]

_NAME: Final = re.compile(r"[A-Za-z0-9_.:-]{1,64}")
"""Text that all encoders of JSON write alike."""
_MOST: Final = 16 * 1024
"""Characters of a renewal: a token passes as a header, too."""
_OPTIONS: Final = ListenerOptions()


@attrs.frozen(eq=False, repr=False)
class Renewal:
    """A type of messages, and the function that checks their credentials.

    Args:
        type: the value of the member that tells it.
        member: the name of that member.
        call: of the function.
    """

    type: str
    member: str
    call: PlannedCall

    @classmethod
    def of(cls, function: Callable[..., Any], type: str, member: str) -> Self:  # noqa: A002 - the member's name
        """Plan the calls of a function.

        Raises:
            RegistrationError: it yields, or a parameter has no source.
            TypeError: a name is no text.
            ValueError: a name has other characters than letters, digits and `_.:-`, or is too long.
        """
        for name, value in (("type", type), ("member", member)):
            check_text(name, value)
            if not _NAME.fullmatch(value):
                raise ValueError(f"{name} of a renewal has 1 to 64 letters, digits and _.:- only, not {value!r:.80}")
        where, target = f"renewal({type!r})", underlying(function)
        if inspect.isgeneratorfunction(target) or inspect.isasyncgenfunction(target):
            raise RegistrationError(f"{where}: {get_label(function)} yields: it returns Credentials, or a time")
        call = PlannedCall.of(function, path_names={}, method=False, where=where, takes_body=True)
        return cls(type, member, attrs.evolve(call, brief=True))

    def message(self, message: str | bytes) -> dict[str, Any] | None:
        """Return the object of a message that is a renewal; None for any other message."""
        if len(message) > _MOST or not self._is_likely(message):
            return None
        try:
            value = from_json(message)
        except InvalidMessage:
            return None
        return value if isinstance(value, dict) and value.get(self.member) == self.type else None

    def _is_likely(self, message: str | bytes) -> bool:
        """Return True if the text of the type is in a message, which nearly no other message has."""
        name = f'"{self.type}"'
        return name in message if isinstance(message, str) else name.encode() in message


class Renewable(Protocol):
    """The run of a route for one connection."""

    @property
    def target(self) -> Target:
        """The function or listener of the route."""

    def known_revocations(self) -> int:
        """Return the number of revocations that have arrived so far."""

    def bind(self, call: PlannedCall, options: ListenerOptions) -> AbstractAsyncContextManager[BoundListener]:
        """Return the callbacks for one message, with all other arguments resolved."""


def watch_renewals(websocket: WebSocket, renewal: Renewal | None, run: Renewable) -> None:
    """Take the messages of a connection that renew its credentials, from its acceptance on."""
    if renewal is None:
        return
    context = websocket.context
    then = context.on_accept

    def on_accept() -> None:
        intercept_channel(context.open_channel(), _Renewals(websocket, renewal, run).intercept)
        if then is not None:
            then()

    context.on_accept = on_accept


class _Renewals:
    """The renewals of one connection, one after the other.

    Each is a task of the connection: later messages do not wait for it, and a cancelled `receive` does not end it.
    """

    __slots__ = ("_done", "_renewal", "_run", "_websocket")

    def __init__(self, websocket: WebSocket, renewal: Renewal, run: Renewable) -> None:
        self._websocket = websocket
        self._renewal = renewal
        self._run = run
        self._done: trio.Event | None = None  # of the one that is being checked

    def intercept(self, message: str | bytes) -> Awaitable[None] | None:
        """Implement `connection.intercepted.Intercept`."""
        value = self._renewal.message(message)
        nursery = self._websocket.context.nursery
        if value is None or nursery is None:
            return None
        return self._begin(nursery, message, value, self._run.known_revocations())

    async def _begin(self, nursery: trio.Nursery, message: str | bytes, value: dict[str, Any], since: int) -> None:
        if self._done is not None:
            await self._done.wait()
        self._done = trio.Event()
        nursery.start_soon(self._check, message, value, since)

    async def _check(self, message: str | bytes, value: dict[str, Any], since: int) -> None:
        """Call the function with a message, renew, and reply."""
        websocket, done = self._websocket, self._done
        try:
            async with self._run.bind(self._renewal.call, _OPTIONS) as bound:
                receive = partial(self._receive, bound.receive, since)
                callbacks = attrs.evolve(bound, receive=receive, output=None)
                exchange = Exchange(websocket, message, callbacks, websocket.context.open_channel().writer.send)
                exchange.reference = {self._renewal.member: self._renewal.type, **self._reference(value)}
                await exchange.run()
        except Exception as error:
            if not websocket.context.is_own_disconnect(error):
                raise
        finally:
            self._done = None
            if done is not None:
                done.set()

    async def _receive(self, function: Callable[[Any], Any], since: int, body: Any) -> Ok:
        """Call the function, and renew with its result; return the reply.

        Raises:
            Forbidden: the credentials are another user's.
            TypeError: the result is neither credentials nor a time.
        """
        result = function(body)
        if inspect.isawaitable(result):
            result = await result
        websocket = self._websocket
        if not isinstance(result, Credentials):
            seconds = epoch_seconds(f"{self._renewal.call.signature.label} returns Credentials or a time:", result)
            result = attrs.evolve(websocket.credentials or Credentials(), expires_at=seconds)
        try:
            websocket.context.use_credentials(websocket, result, since)
        except AnotherUser:
            raise Forbidden("these credentials are of another user") from None
        return Ok({"expiresAt": result.expires_at})

    def _reference(self, value: dict[str, Any]) -> dict[str, Any]:
        """Return the member of the message that replies of the route's listener repeat."""
        target = self._run.target
        name = target.options.reference if isinstance(target, Listener) else None
        try:
            return (name and reference_in(value, name)) or {}
        except ParameterError:
            return {}
