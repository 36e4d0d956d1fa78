"""Plain HTTP answers on the network, whole or piece by piece with backpressure."""

from __future__ import annotations

from contextlib import aclosing
from typing import TYPE_CHECKING

from trio_ws.handler.service import Streamed
from trio_ws.http.response import response

if TYPE_CHECKING:
    from trio_ws.handler.service import Response
    from trio_ws.server.request_receiver import RequestReceiver
    from trio_ws.transport.base import Transport

__all__ = ["send_answer", "send_body"]


def send_answer(receiver: RequestReceiver, transport: Transport, answer: Response, *, head_only: bool) -> None:
    """Send an answer, unless one was sent; of a `Streamed` one only its head.

    Args:
        receiver: of the connection.
        transport: of the connection.
        answer: to the request.
        head_only: the request is a HEAD.
    """
    length = answer.length if isinstance(answer, Streamed) else None
    send = receiver.send_answer if head_only or length is None else receiver.send_head
    send(transport, response(answer.status, answer.headers, answer.body, head_only=head_only, length=length))


async def send_body(receiver: RequestReceiver, transport: Transport, answer: Streamed, *, patience: float) -> None:
    """Send the body after its head, then half-close; close at once if the body stays incomplete.

    Args:
        receiver: of the connection.
        transport: of the connection.
        answer: yields its `pieces`, each when there is room for it.
        patience: seconds in which the client must take some bytes.

    Raises:
        Exception: an error of `pieces`.
        trio.Cancelled: the connection is closed.
    """
    left = answer.length
    try:
        async with aclosing(answer.pieces()) as pieces:
            async for piece in pieces:
                if not await receiver.write(transport, piece, patience):
                    break
                left -= len(piece)
    finally:
        if left:  # the client counts the bytes, and detects that some are missing
            receiver.network_ended()
            transport.close()
        else:
            transport.finish()
