"""The target of a redirect of the opening handshake.

Only the answer is checked here; `connector` makes the next attempt, and `plan` decides what is sent with it.
"""

from __future__ import annotations

from urllib.parse import quote

from trio_ws.errors import RemoteProtocolError
from trio_ws.headers import Headers
from trio_ws.http.url import URL

__all__ = ["REDIRECTS", "redirect_target"]

REDIRECTS = frozenset({301, 302, 303, 307, 308})
"""RFC 9110 15.4. All five mean the same for a handshake, which is a GET."""

_PRINTABLE = "".join(map(chr, range(0x21, 0x7F)))


def redirect_target(url: URL, status: int, headers: Headers) -> URL:
    """Return the target of a redirect.

    Bytes that no URL holds as they are (spaces, UTF-8) are percent-encoded, as browsers do.

    Args:
        url: where the redirect came from; a relative Location is resolved against it.
        status: the answer's HTTP status, one of `REDIRECTS`.
        headers: the answer's headers.

    Returns:
        The next URL, http and https taken as ws and wss.

    Raises:
        RemoteProtocolError: no Location, or several, or one that is no WebSocket URL, or from wss to ws, which
            would send secrets unencrypted.
    """
    locations = set(filter(None, map(str.strip, headers.get_list("location"))))
    if len(locations) != 1:
        wrong = "with several" if locations else "without a"
        raise RemoteProtocolError(f"a redirect ({status}) {wrong} Location", status)
    try:
        target = url.join(quote(locations.pop().encode("latin-1"), safe=_PRINTABLE))
    except ValueError as error:
        raise RemoteProtocolError(f"a redirect ({status}) to no WebSocket URL: {error}", status) from error
    if url.secure and not target.secure:
        raise RemoteProtocolError(f"a redirect ({status}) from wss to ws", status)
    return target
