"""The close codes that a route's clients have to expect, with their meaning."""

from __future__ import annotations

import inspect
import re
from typing import TYPE_CHECKING, Final

from trio_ws.app.listener import Listener
from trio_ws.codes import EXPIRED_CODE, CloseCode
from trio_ws.connection.serialization import resolve_types

if TYPE_CHECKING:
    from trio_ws.app.route import Route
    from trio_ws.app.services import AppServices

__all__ = ["close_codes_of"]

_EVERYWHERE: Final = {
    CloseCode.NORMAL_CLOSURE: "The handler has returned.",
    CloseCode.GOING_AWAY: "The server shuts down.",
    CloseCode.PROTOCOL_ERROR: "The client broke the protocol.",
    CloseCode.MESSAGE_TOO_BIG: "A message was too large.",
    CloseCode.INTERNAL_ERROR: "An unexpected error of the server, or no answer to its pings.",
    CloseCode.SERVICE_RESTART: "The server restarts: connect again.",
    CloseCode.TRY_AGAIN_LATER: "The client is too slow, or the server overloaded.",
}
_EXPIRED: Final = "The client's credentials have expired, or were revoked."
_WORDS: Final = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")


def close_codes_of(route: Route, services: AppServices) -> dict[str, str]:
    """Return the codes as texts, in their order."""
    found: dict[int, str] = {int(code): meaning for code, meaning in _EVERYWHERE.items()}
    target, options = route.target, route.options
    listens = isinstance(target, Listener)
    kind = target.options.encoding if isinstance(target, Listener) else _received(route)
    if kind in ("text", "bytes"):
        found[CloseCode.UNSUPPORTED_DATA] = f"A message was not {'text' if kind == 'text' else 'binary'}."
    if not listens or (isinstance(target, Listener) and target.options.on_invalid == "close"):
        found[CloseCode.INVALID_PAYLOAD] = "A message was invalid."
    else:
        found[CloseCode.INVALID_PAYLOAD] = "A text was not UTF-8."
    for error, code in services.failures.close_codes().items():
        found[code] = _meaning(error)
    if services.find_renewal() is not None:
        found[EXPIRED_CODE] = _EXPIRED
    found |= options.close_codes
    return {str(code): found[code] for code in sorted(found)}


def _received(route: Route) -> str | None:
    options = route.options
    return resolve_types(options.receive_type, options.send_type, options.value_type)[0]


def _meaning(error: type[BaseException]) -> str:
    """Return the first line of an error's docstring, or its name in words."""
    own = error.__dict__.get("__doc__")
    if own:
        return inspect.cleandoc(own).partition("\n")[0]
    return " ".join(_WORDS.sub(" ", error.__name__).split()).capitalize() + "."
