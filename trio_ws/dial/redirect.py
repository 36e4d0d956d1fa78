"""Redirects of the opening handshake: where one leads, and what must not go there.

Only the answer is judged here; `connect` makes the next attempt.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from trio_ws.errors import RemoteProtocolError
from trio_ws.headers import Headers
from trio_ws.url import URL

__all__ = ["REDIRECTS", "redirect_target", "without_credentials"]

REDIRECTS = frozenset({301, 302, 303, 307, 308})
"""RFC 9110 15.4. All five mean the same for a handshake, which is a GET."""

# No list of names is complete, so all that sounds like a secret counts as one: a harmless header that is not
# sent costs a feature, a secret that is sent costs an account. A Host is meant for one origin by its nature.
_PRIVATE = re.compile(r"^host$|auth|cookie|token|secret|key|session|credential|password|signature|jwt|csrf")


def redirect_target(url: URL, status: int, headers: Headers) -> URL:
    """Find where a redirect leads.

    Args:
        url: where the redirect came from; a relative Location is resolved against it.
        status: the answer's HTTP status, one of `REDIRECTS`.
        headers: the answer's headers.

    Returns:
        The next URL, http and https taken as ws and wss.

    Raises:
        RemoteProtocolError: no Location, or one that is no WebSocket URL, or from wss to ws, where everyone
            on the way could read what was to be secret.
    """
    location = headers.get("location")
    if location is None:
        raise RemoteProtocolError(f"a redirect ({status}) without a Location", status)
    try:
        target = url.join(location)
    except ValueError as error:
        raise RemoteProtocolError(f"a redirect ({status}) to no WebSocket URL: {error}", status) from error
    if url.secure and not target.secure:
        raise RemoteProtocolError(f"a redirect ({status}) from wss to ws", status)
    return target


def without_credentials(headers: Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
    """Return the headers that another origin than the one they were meant for may see.

    Host, Authorization, Proxy-Authorization and Cookie stay behind, and all headers whose names speak of
    keys, tokens, sessions and the like, as `X-Api-Key` does.
    """
    return [(name, value) for name, value in headers if not _PRIVATE.search(name.lower())]
