"""Names that other frameworks have for parts of an application, and what does the same here."""

from __future__ import annotations

from typing import Final

__all__ = ["hint_for"]

_PAGE: Final = "app.page(path, function) answers GETs; other methods are for an HTTP framework beside it"
_LIFESPAN: Final = "App(lifespan=...) runs code before and after all connections"
_ERRORS: Final = "app.close_on(Error, code) closes with a code, and @app.on_error is called for others"
_MIDDLEWARE: Final = "App(guards=[...]) refuses handshakes, App(instruments=[...]) observes connections"
_ROUTE: Final = "app.websocket(path)(function) registers a view"

_ELSEWHERE: Final = {
    **dict.fromkeys(("include_router", "register_blueprint", "register_router"), "include(router) does that"),
    **dict.fromkeys(("add_websocket_route", "add_api_websocket_route", "add_route", "add_api_route", "route"), _ROUTE),
    **dict.fromkeys(("get", "post", "put", "delete", "patch", "head", "api_route"), _PAGE),
    **dict.fromkeys(("on_event", "add_event_handler", "on_startup", "on_shutdown", "startup", "shutdown"), _LIFESPAN),
    **dict.fromkeys(("exception_handler", "add_exception_handler", "error_handler", "errorhandler"), _ERRORS),
    **dict.fromkeys(("middleware", "add_middleware", "before_request", "before_websocket"), _MIDDLEWARE),
    "mount": "include(app) includes an App, and app.static(prefix, folder) serves files",
    "dependency_overrides": "give App(...) other services in a test, or set what `app.state` holds",
    "url_path_for": "app.url_for(name, **parameters) does that",
    "ws": _ROUTE,
}


def hint_for(name: str) -> str:
    """Return a hint with our name for a name of another framework, "" without one."""
    return f": {_ELSEWHERE[name]}" if name in _ELSEWHERE else ""
