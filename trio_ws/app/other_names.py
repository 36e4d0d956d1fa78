"""Names that other frameworks have for parts of an application, and what does the same here."""

from __future__ import annotations

from typing import Final

__all__ = ["hint_for"]

_PAGE: Final = "app.page(path, function) answers GETs; other methods are for an HTTP framework beside it"
_LIFESPAN: Final = "App(lifespan=...) runs code before and after all connections"
_ERRORS: Final = "app.close_on(Error, code) closes with a code, and @app.on_error is called for others"
_MIDDLEWARE: Final = "App(guards=[...]) refuses handshakes, App(instruments=[...]) observes connections"
_ROUTE: Final = "app.websocket(path)(function) registers a view"


def _each(names: str, hint: str) -> dict[str, str]:
    return dict.fromkeys(names.split(), hint)


_ELSEWHERE: Final = {
    **_each("include_router register_blueprint register_router", "include(router) does that"),
    **_each("add_websocket_route add_api_websocket_route add_route add_api_route route add_url_rule ws", _ROUTE),
    **_each("get post put delete patch head api_route", _PAGE),
    **_each("on_event add_event_handler on_startup on_shutdown startup shutdown", _LIFESPAN),
    **_each("before_serving after_serving while_serving before_startup", _LIFESPAN),
    **_each("exception_handler add_exception_handler exception_handlers error_handler errorhandler", _ERRORS),
    **_each("middleware add_middleware user_middleware before_request before_websocket", _MIDDLEWARE),
    **_each("after_request teardown_request teardown_websocket", _MIDDLEWARE),
    "mount": "include(app) includes an App, and app.static(prefix, folder) serves files",
    "dependency_overrides": "app.test_client(overrides={function: substitute}) does that",
    "websocket_connect": "app.test_client().websocket_connect(path) does that",
    **_each("serve_forever listen start", "await app.serve(host, port) does that, or app.run()"),
    **_each("openapi openapi_url", "app.asyncapi() is the document of its WebSockets"),
    "url_path_for": "app.url_for(name, **parameters) does that",
    "router": "an App is a Router itself: app.websocket(path), app.include(router)",
    "host": "hosts= of App has the names that it answers to; include(app) includes an App",
}


def hint_for(name: str) -> str:
    """Return a hint with our name for a name of another framework, "" without one."""
    return f": {_ELSEWHERE[name]}" if name in _ELSEWHERE else ""
