"""The body of a request, for an endpoint of the responder."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from trio_ws.http.head import MalformedRequest

if TYPE_CHECKING:
    from trio_ws.handler.post_endpoint import PostEndpoint
    from trio_ws.handler.service import Response
    from trio_ws.http.parser import RequestHead
    from trio_ws.http.request import Request
    from trio_ws.server.request_receiver import RequestReceiver
    from trio_ws.transport.base import Transport

__all__ = ["answer_post"]

_LENGTH: Final = re.compile(r"[0-9]{1,18}")
_CONTINUE: Final = b"HTTP/1.1 100 Continue\r\n\r\n"


async def answer_post(
    endpoint: PostEndpoint, request: Request, head: RequestHead, receiver: RequestReceiver, transport: Transport
) -> Response | None:
    """Return the answer of an endpoint; None if the client leaves before its body is complete.

    A request that is refused by its head alone is answered without its body.

    Raises:
        MalformedRequest: 411 for a body without a length, 413 for one that is too large, 400 for a wrong length.
    """
    refusal = endpoint.refusal(request)
    if refusal is not None:
        return refusal
    size = _length(head, endpoint.max_body)
    if head.headers.get("expect", "").lower() == "100-continue" and head.http_version != "1.0":
        transport.write(_CONTINUE)  # RFC 9110 10.1.1
    body = await receiver.read_body(transport, size)
    return None if body is None else await endpoint.answer(request, body)


def _length(head: RequestHead, most: int) -> int:
    lengths = head.headers.get_list("content-length")
    if "transfer-encoding" in head.headers or not lengths:
        raise MalformedRequest(411, "a body needs a Content-Length, and no Transfer-Encoding")
    if len(lengths) > 1 or not _LENGTH.fullmatch(lengths[0]):
        raise MalformedRequest(400, "a request has one Content-Length, a number")
    if int(lengths[0]) > most:
        raise MalformedRequest(413, f"the body is larger than {most} bytes")
    return int(lengths[0])
