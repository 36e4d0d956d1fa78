"""The interface of endpoints, which answer requests with a body."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from trio_ws.handler.service import Response
    from trio_ws.http.request import Request

__all__ = ["PostEndpoint", "find_endpoint"]


class PostEndpoint(Protocol):
    """Answers the POSTs for one path.

    Attributes:
        max_body: bytes of a request's body, at most.
    """

    max_body: int

    def refusal(self, request: Request) -> Response | None:
        """Return the answer to a request whose body is not to be read, else None."""

    async def answer(self, request: Request, body: bytes) -> Response:
        """Return the answer to a request with its body."""


def find_endpoint(responder: object, method: str, path: str) -> PostEndpoint | None:
    """Return the endpoint for a request; None if it is for a page.

    Args:
        responder: has endpoints if it has the method `endpoint`, which takes a path.
        method: of the request.
        path: of the request, percent-encoded.
    """
    find: Callable[[str], PostEndpoint | None] | None = getattr(responder, "endpoint", None)
    return find(path) if method == "POST" and find is not None else None
