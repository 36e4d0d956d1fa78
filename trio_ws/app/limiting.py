"""Budgets of one connection, and replies to messages beyond them."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from trio_ws.app.errors import ParameterError
from trio_ws.app.exchange import reference_in
from trio_ws.app.listener import Listener
from trio_ws.app.replies import Reply, encode_reply
from trio_ws.connection.budgeted import limit_channel
from trio_ws.connection.incremental_json import read_json
from trio_ws.errors import InvalidMessage

if TYPE_CHECKING:
    from typing import Any

    from trio_ws.app.route import Route, Target
    from trio_ws.app.services import AppServices
    from trio_ws.connection.budgeted import MakeReply
    from trio_ws.connection.serialization import Payload
    from trio_ws.websocket.context import ConnectionContext
    from trio_ws.websocket.websocket import WebSocket

__all__ = ["limit_connection"]

TOO_MANY_REQUESTS = 429


def limit_connection(websocket: WebSocket, route: Route, services: AppServices) -> None:
    """Let a connection pay for its messages, from its acceptance on; instruments observe those that are paid.

    Raises:
        Exception: raised by the function that tells whose budget it is.
    """
    context, own = websocket.context, route.options.budget
    budgets = services.find_budgets() if own is None else own
    if not budgets:
        return
    book, backplane = services.budgets, services.rooms.backplane
    accounts = [book.account(each, each.key_of(websocket), backplane) for each in budgets]
    make_reply = refusal_maker(route.target, context)
    then = context.on_accept

    def on_accept() -> None:
        limit_channel(context.open_channel(), accounts, make_reply)
        if then is not None:
            then()

    context.on_accept = on_accept


def refusal_maker(target: Target, context: ConnectionContext) -> MakeReply:
    """Return a function that makes the reply to a message beyond a budget.

    Args:
        target: of the route; a listener's replies have the reference of the message.
        context: of the connection.
    """
    name = target.options.reference if isinstance(target, Listener) else None

    async def make_reply(message: str | bytes, seconds: float) -> Payload:
        reference: dict[str, Any] | None = None
        if name is not None:
            try:
                reference = reference_in(await read_json(message, context.open_channel()), name)
            except (InvalidMessage, ParameterError):
                reference = None
        reply = Reply(TOO_MANY_REQUESTS, {"retryAfter": math.ceil(seconds * 1000) / 1000})
        return encode_reply(reply, "json", reference=reference, encode=context.encode_json)

    return make_reply
