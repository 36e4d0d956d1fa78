"""One message of a listener, from its decoding to the replies."""

from __future__ import annotations

import inspect
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator, Iterable, Sequence
from contextlib import closing
from functools import partial
from typing import TYPE_CHECKING, Any, Final, TypeAlias, assert_never

import attrs

from trio_ws.app.errors import ErrorDetail, ParameterError
from trio_ws.app.replies import NotAReply, Reply, encode_reply
from trio_ws.connection.incremental_json import PIECE, read_json
from trio_ws.connection.serialization import as_bytes, as_text, from_json, to_json
from trio_ws.errors import InvalidMessage
from trio_ws.runtime.unwinding import use_and_close
from trio_ws.websocket.close_code import leaves

if TYPE_CHECKING:
    from trio_ws.app.failures import Failures
    from trio_ws.app.listener_options import ListenerOptions
    from trio_ws.app.output import Output
    from trio_ws.app.parameters.validation import Validator
    from trio_ws.app.reply_makers import ReplyMaker
    from trio_ws.connection.channel import Channel
    from trio_ws.connection.encoders import ToJSON
    from trio_ws.connection.serialization import Payload
    from trio_ws.runtime.threads import Limiters
    from trio_ws.websocket.websocket import WebSocket

__all__ = ["BoundListener", "Exchange", "reference_in"]

Send: TypeAlias = "Callable[[Payload], Awaitable[None]]"

_MAX_REFERENCE: Final = 256
"""Characters of a reference: every reply repeats it, and a client chooses it."""
_MOST: Final = 2**64
"""More than any whole number that is a reference: identifiers have 64 bits."""


@attrs.frozen(eq=False, repr=False)
class BoundListener:
    """A listener's callbacks for one connection, with bound parameters."""

    receive: Callable[[Any], Any]
    """Called with a body that was validated; its result is the reply, awaited if it can be."""
    body: Validator | None
    """Validates a body; None takes it as it is."""
    options: ListenerOptions
    name: str
    """Of the function that is called, for the log."""
    failures: Failures
    """The application's replies to errors."""
    limiters: Limiters
    """Bound the threads of plain functions."""
    output: Output | None = None
    """Narrows replies; None sends all that there is."""
    encode_json: ToJSON = to_json
    """Encodes replies."""


@attrs.define(eq=False)
class Exchange:
    """A message and the replies to it.

    Args:
        websocket: the connection.
        message: as it came.
        callbacks: the listener's.
        send: sends a reply, in its turn.
    """

    websocket: WebSocket
    message: str | bytes
    callbacks: BoundListener
    send: Send
    reference: dict[str, Any] | None = attrs.field(init=False, default=None)
    """The member of the message that every reply repeats; None without one."""

    async def run(self) -> None:
        """Call back with the message, and send the replies.

        Raises:
            Exception: raised by the callback, and no reply; or as `run_listener` raises it.
        """
        channel = self.websocket.context.open_channel()
        channel.callbacks += 1
        if channel.closing.observer is not None:
            channel.closing.observer.on_read_after_end()  # it has a callback's time, even if the peer left before it
        try:
            try:
                body = await self._decode(channel)
            except ParameterError as error:
                await self._answer_invalid(error)
            else:
                await self._send_result(self.callbacks.receive(body), self.callbacks.output)
        except Exception as error:
            await self.fail(error)
        finally:
            channel.callbacks -= 1

    async def fail(self, error: Exception) -> None:
        """Send the reply to an error of the callback, and raise the error if it has none."""
        if not await self._answer_error(error):
            raise error

    # --- the message ---------------------------------------------------------------------------------------------

    async def _decode(self, channel: Channel) -> Any:
        """Return the validated body; large JSON is decoded in pieces."""
        message = self.message
        if self.callbacks.options.encoding != "json":
            return self.decode_now()
        if len(message) <= PIECE:
            channel.reader.count_work(len(message))
            return self.decode_now()
        try:
            return self._validated(await read_json(message, channel))
        except InvalidMessage as error:
            raise _invalid_json(error) from None

    def decode_now(self) -> Any:
        """Return the validated body, decoded in one step.

        Raises:
            ParameterError: it is not JSON, or does not validate.
            UnexpectedMessage: the message is of the wrong kind.
        """
        message, body = self.message, self.callbacks.body
        match self.callbacks.options.encoding:
            case "text":
                text = as_text(message)
                return text if body is None else body.from_text(text)
            case "bytes":
                data = as_bytes(message)
                return data if body is None else body.from_body(data)
            case "json":
                try:
                    if body is not None and self.callbacks.options.reference is None:
                        return body.from_json(message)
                    return self._validated(from_json(message))
                except InvalidMessage as error:
                    raise _invalid_json(error) from None
            case other:
                assert_never(other)

    def _validated(self, value: Any) -> Any:
        """Return the body for the value of a message."""
        reference, body = self.callbacks.options.reference, self.callbacks.body
        if reference is not None:
            self.reference = reference_in(value, reference)
        return value if body is None else body.from_json(self.message, value=value)

    async def _read_again(self) -> Any:
        """Return the message for a function that makes a reply: its value, or as it came if it is not JSON."""
        if self.callbacks.options.encoding != "json":
            return self.message
        try:
            return await read_json(self.message, self.websocket.context.open_channel())
        except InvalidMessage:
            return self.message

    # --- replies to errors ---------------------------------------------------------------------------------------

    async def _answer_invalid(self, error: ParameterError) -> None:
        options = self.callbacks.options
        if options.explain is not None:
            await self._send_result(await self._made(options.explain, error), None)
            return
        await self._send_reply(Reply(400, error.body()), None)
        if options.on_invalid == "close":
            raise InvalidMessage("body does not validate", self.message)

    async def _answer_error(self, error: Exception) -> bool:
        """Send the reply to an error of the callback; return False if it has none."""
        causes = [*leaves(error)]
        if any(map(self.websocket.context.is_own_disconnect, causes)):
            return False
        maker = common_maker(self.callbacks.failures, causes)
        if maker is None:
            return False
        try:
            result = await self._made(maker, causes[0])
            await self._send_result(result, self.callbacks.output if result is causes[0] else None)
        except Reply as reply:  # raised by the function that was to make one
            await self._send_reply(reply, None)
        forget_frames(causes)
        return True

    async def _made(self, maker: ReplyMaker, error: Any) -> Any:
        message = await self._read_again() if maker.takes_message else None
        return maker.call(self.websocket, self.callbacks.limiters, error, message)

    # --- sending -------------------------------------------------------------------------------------------------

    async def _send_result(self, result: Any, output: Output | None) -> None:
        """Send a function's result: one reply, several yielded ones, or none."""
        if inspect.isawaitable(result):
            result = await result
        if isinstance(result, AsyncGenerator):
            await use_and_close(self.websocket.context, result, partial(self._send_all, result, output))
        elif isinstance(result, Generator):
            with closing(result):
                for reply in result:
                    await self._send_reply(reply, output)
        else:
            await self._send_reply(result, output)

    async def _send_all(self, replies: AsyncGenerator[Any, Any], output: Output | None) -> None:
        async for reply in replies:
            await self._send_reply(reply, output)

    async def _send_reply(self, reply: Any, output: Output | None) -> None:
        if reply is None:
            return
        callbacks, options = self.callbacks, self.callbacks.options
        try:
            await self.send(encode_reply(reply, options.encoding, output, self.reference, callbacks.encode_json))
        except (NotAReply, UnicodeEncodeError) as error:
            raise NotAReply(f"{callbacks.name}: {error}") from None


def _invalid_json(error: InvalidMessage) -> ParameterError:
    return ParameterError([ErrorDetail((), "json_invalid", str(error))])


def common_maker(failures: Failures, causes: Sequence[BaseException]) -> ReplyMaker | None:
    """Return the function that makes the one reply to all these errors, None if they have none in common."""
    makers = [failures.reply_maker_for(cause) for cause in causes]
    if any(maker is not makers[0] for maker in makers):
        return None
    replies = [cause for cause in causes if isinstance(cause, Reply)]
    return makers[0] if all(reply == replies[0] for reply in replies) else None


def forget_frames(causes: Iterable[BaseException]) -> None:
    """Drop the tracebacks of replies: one that is raised again and again would hold the frames of all connections."""
    for cause in causes:
        if isinstance(cause, Reply):
            cause.__traceback__ = cause.__context__ = cause.__cause__ = None


def reference_in(value: Any, name: str) -> dict[str, Any] | None:
    """Return the member of a message that its replies repeat, with its name; None if there is none.

    Raises:
        ParameterError: it is neither text nor a number, or too long.
    """
    reference = value.get(name) if isinstance(value, dict) else None
    match reference:
        case None:
            return None
        case bool():
            pass
        case str() if len(reference) <= _MAX_REFERENCE:
            return {name: reference}
        case int() if abs(reference) < _MOST:
            return {name: reference}
        case float():
            return {name: reference}
    problem = f"Input should be a number, or a text of at most {_MAX_REFERENCE} characters"
    raise ParameterError([ErrorDetail((name,), "reference", problem)])
